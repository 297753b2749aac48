"""Flat-LoRA in your own loop in plain PyTorch, on lowland's LoRA layers (PEFT's work as well).

python examples/own_loop.py --model FOLDER_OR_ID (default: a tiny model)
"""

import argparse

import tiny
import torch

from lowland import LoRAConfig, add_lora
from lowland.flat import arm


def main() -> None:
    """Train, and print the first and the last loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or id of a causal language model")
    parser.add_argument("--rho", type=float, default=0.05)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = tiny.language_model(args.model)
    model = add_lora(model, LoRAConfig(r=8)).to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2 if args.model is None else 2e-4)
    batches = [tokenizer(tiny.TEXTS[i::6], return_tensors="pt").to(device) for i in range(6)] * 5

    losses = []
    with arm(model, rho=args.rho, total_steps=len(batches)) as noise:
        for step, batch in enumerate(batches):
            noise.begin_step(step)
            loss = model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            noise.end_step()  # no noise until the next step: evaluate or save here
            losses.append(loss.item())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
