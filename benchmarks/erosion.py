"""What is left of W after 300 steps under Flat-LoRA's noise: ours beside adding to W and subtracting again.

python benchmarks/erosion.py --out docs/results/erosion.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from add_and_subtract import AddAndSubtract
from contest import ALPHA, R, write
from lowland.flat import arm

STEPS, RHO, WIDTH, TOKENS = 300, 0.05, 768, 8
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def adapted(dtype: torch.dtype) -> nn.Module:
    """One linear layer of BERT-base's width with PEFT's LoRA."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(WIDTH, WIDTH)).to(dtype)
    nn.init.normal_(layer[0].weight, std=0.02)
    return get_peft_model(layer, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["0"])).train()


def change(way: str, dtype: torch.dtype, steps: int) -> dict[str, float]:
    """How far W lies from what it was: largest entry, relative Frobenius norm, share of entries changed."""
    model = adapted(dtype)
    weight = model.get_submodule("base_model.model.0").base_layer.weight
    before = weight.detach().clone()
    noise = arm(model, rho=RHO, schedule="constant") if way == "ours" else AddAndSubtract(model, RHO)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-4)
    x = torch.randn(TOKENS, WIDTH).to(dtype)
    for step in range(steps):
        noise.begin_step(step)
        model(x).float().square().mean().backward()
        noise.end_step()
        optimizer.step()
        optimizer.zero_grad()
    moved = weight.detach().double() - before.double()
    return {
        "largest": moved.abs().max().item(),
        "relative": (moved.norm() / before.double().norm()).item(),
        "entries_changed": (moved != 0).double().mean().item(),
    }


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    given = parser.parse_args()
    rows = []
    for dtype in DTYPES:
        for way in ("ours", "add-subtract"):
            found = change(way, DTYPES[dtype], given.steps)
            told = f"largest {found['largest']:.1e}, relative {found['relative']:.1e}"
            print(f"{dtype} {way:14}{told}, entries changed {found['entries_changed']:.1%}")
            rows.append({"dtype": dtype, "way": way, "steps": given.steps, "rho": RHO, **found})
    write(given.out, "what noise leaves of W", rows)


if __name__ == "__main__":
    main()
