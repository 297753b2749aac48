"""Flat-LoRA in a loop of your own, in plain PyTorch, on lowland's own LoRA layers (PEFT's would do as well).

python examples/own_loop.py --model FOLDER_OR_ID (default: a tiny model, in seconds)
"""

import argparse

import tiny
import torch

from lowland import LoRAConfig, add_lora
from lowland.flat import arm


def main() -> None:
    """Train, and say how the loss fell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a causal language model's folder or id")
    parser.add_argument("--rho", type=float, default=0.05)
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = tiny.language_model(asked.model)
    model = add_lora(model, LoRAConfig(r=8)).to(device).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2 if asked.model is None else 2e-4)
    batches = [tokenizer(tiny.TEXTS[i::6], return_tensors="pt").to(device) for i in range(6)] * 5

    losses = []
    with arm(model, rho=asked.rho, total_steps=len(batches)) as noise:
        for step, batch in enumerate(batches):
            noise.begin_step(step)
            loss = model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            noise.end_step()  # from here until the next step: no noise; evaluate, or save
            losses.append(loss.item())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
