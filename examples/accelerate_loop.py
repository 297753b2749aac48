"""Flat-LoRA in a loop with Accelerate and gradient accumulation; the micro-batches of a step share one draw.

accelerate launch examples/accelerate_loop.py --model FOLDER_OR_ID (default: a tiny model)
"""

import argparse
import math

import tiny
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from lowland.flat import arm

EPOCHS, ACCUMULATION = 6, 5


def main() -> None:
    """Train, and print the first and the last loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or id of an encoder")
    parser.add_argument("--rho", type=float, default=0.05)
    args = parser.parse_args()
    accelerator = Accelerator(gradient_accumulation_steps=ACCUMULATION)
    model, tokenizer = tiny.classifier(args.model)
    model = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="SEQ_CLS")
    )
    rows = [{**tokenizer(text), "labels": label} for text, label in zip(tiny.TEXTS, tiny.LABELS, strict=True)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2 if args.model is None else 5e-4)
    loader = DataLoader(rows, batch_size=2, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    step, begins, losses = 0, True, []
    total = EPOCHS * math.ceil(len(loader) / ACCUMULATION)
    with arm(accelerator.unwrap_model(model), rho=args.rho, total_steps=total) as noise:
        for _ in range(EPOCHS):
            model.train()
            for batch in loader:
                if begins:  # the first micro-batch of an optimizer step
                    noise.begin_step(step)
                with accelerator.accumulate(model):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                losses.append(loss.item())
                begins = accelerator.sync_gradients  # also at an epoch's end, after fewer micro-batches
                if begins:
                    noise.end_step()
                    step += 1
    first, last = losses[: len(loader)], losses[-len(loader) :]
    accelerator.print(
        f"steps {step} of {total}; loss {sum(first) / len(first):.3f} -> {sum(last) / len(last):.3f}"
    )


if __name__ == "__main__":
    main()
