"""Step time under Flat-LoRA's noise: ours, the same on a PEFT model, our LoRA and PEFT's, and add-and-subtract.

    python benchmarks/flat_step_time.py --dtype fp32 bf16 --out docs/results/flat-step-time.json
    python benchmarks/flat_step_time.py --dtype fp32 --keep-blocks --out docs/results/flat-step-time-kept.json
    python benchmarks/flat_step_time.py --compile --out docs/results/flat-step-time-compiled.json

All in turns in one process. bf16: the model held in bf16, the adapters in fp32, no autocast, for all alike. A ratio is
the median of the rounds' own ratios. An idle machine is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from add_and_subtract import AddAndSubtract
from contest import ALPHA, SHAPES, R, Shape, backbone, in_turns, options, ratios, write
from lowland.flat import arm
from lowland.ground.runtime import keep_large_blocks
from lowland.lora import LoRAConfig, add_lora

RHO = 0.05
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def ours(shape: Shape, dtype: torch.dtype, dropout: float) -> nn.Module:
    """Our LoRA."""
    return add_lora(backbone(shape).to(dtype), LoRAConfig(r=R, alpha=ALPHA, dropout=dropout))


def pefts(shape: Shape, dtype: torch.dtype, dropout: float) -> nn.Module:
    """PEFT's plain LoRA; it holds its adapters in float32 by itself."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=dropout, target_modules="all-linear")
    return get_peft_model(backbone(shape).to(dtype), config)


def armed(model: nn.Module) -> Any:
    """Under our noise, of full strength at every step."""
    return arm(model, rho=RHO, schedule="constant")


CONTESTANTS: Mapping[
    str, tuple[Callable[[Shape, torch.dtype, float], nn.Module], Callable[[nn.Module], Any] | None]
] = {
    "peft": (pefts, None),
    "lora": (ours, None),
    "flat": (ours, armed),
    "peft, flat": (pefts, armed),
    "add-subtract": (pefts, lambda model: AddAndSubtract(model, RHO)),
}
"""By name: the model, and the noise."""


class Step:
    """One contestant's optimizer step: noise, forward, backward, AdamW, on random tokens."""

    def __init__(self, name: str, shape: Shape, dtype: str, dropout: float, compiled: bool = False) -> None:
        make, noise = CONTESTANTS[name]
        model = make(shape, DTYPES[dtype], dropout)
        learned = [one for one in model.parameters() if one.requires_grad]
        self.noise = noise(model) if noise else None
        self.model: Any = torch.compile(model) if compiled else model
        self.tokens = torch.randint(0, 30_000, (shape.batch, shape.tokens))  # (batch, tokens)
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4)
        self.number = 0

    def __call__(self) -> None:
        """Take one step."""
        if self.noise is not None:
            self.noise.begin_step(self.number)
        hidden: Tensor = self.model(input_ids=self.tokens).last_hidden_state
        hidden.float().square().mean().backward()
        if self.noise is not None:
            self.noise.end_step()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.number += 1


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["fp32"])
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0], help="of the adapters")
    parser.add_argument("--keep-blocks", action="store_true", help="have the C library keep freed memory")
    parser.add_argument("--compile", action="store_true", help="under torch.compile")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    kept = given.keep_blocks and keep_large_blocks()
    rows: list[dict[str, Any]] = []
    print(
        f"{'shape':16}{'dtype':6}{'dropout':>8}  {'contestant':14}{'median s':>9}{'/ PEFT':>8}{'/ LoRA':>8}{'/ add':>8}"
    )
    for shape in given.shapes:
        for dtype in given.dtype:
            for dropout in given.dropout:
                torch.manual_seed(0)
                steps = {
                    name: Step(name, SHAPES[shape], dtype, dropout, given.compile)
                    for name in given.contestants
                }
                seconds = in_turns(steps, given.rounds)
                found = {
                    one: ratios(seconds, one) for one in ("peft", "lora", "add-subtract") if one in seconds
                }
                for name, values in seconds.items():
                    told = "".join(f"{one[name]:8.3f}" for one in found.values())
                    print(f"{shape:16}{dtype:6}{dropout:8}  {name:14}{median(values):9.3f}{told}", flush=True)
                row = {"shape": shape, "dtype": dtype, "dropout": dropout, "compiled": given.compile}
                row |= {"blocks_kept": kept, "rounds": given.rounds, "ratio_to": found}
                row["median_seconds"] = {name: round(median(one), 4) for name, one in seconds.items()}
                row["seconds"] = {name: [round(x, 4) for x in one] for name, one in seconds.items()}
                rows.append(row)
                write(given.out, "step time under noise", rows)


if __name__ == "__main__":
    main()
