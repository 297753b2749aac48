"""Step time of a PEFT model as it comes, with adapters in the base's data type, and fused, in turns in one process.

    python benchmarks/fuse.py --out docs/results/fuse.json
    python benchmarks/fuse.py --cases "gemma-3-270m bf16, 4x128" --dropout 0 0.05

Gemma's case needs the extra lowland[gemma]. A ratio is the median of the rounds' own ratios to PEFT as it comes. The
frozen base alone, forward and backward, is the floor. An idle machine is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from contest import ALPHA, SHAPES, R, backbone, in_turns, options, ratios, write
from lowland import fuse
from lowland.ground.runtime import keep_large_blocks
from lowland.models.find import find_model

Case = tuple[Callable[[], nn.Module], int, int]
"""Makes the base model; number of texts in a batch, and of tokens in each."""


def gemma() -> nn.Module:
    """Gemma 3 270M in bf16."""
    from transformers import AutoModelForCausalLM

    folder = find_model("gemma-3-270m").folder
    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return model.train()


CASES: Mapping[str, Case] = {
    "gemma-3-270m bf16, 4x128": (gemma, 4, 128),
    **{
        f"bert-base fp32, {shape.batch}x{shape.tokens}": (partial(backbone, shape), shape.batch, shape.tokens)
        for name, shape in SHAPES.items()
        if shape.width == 768
    },
}


def adapted(base: nn.Module, dropout: float, same_type: bool, fused: bool) -> nn.Module:
    """The base with PEFT's adapters on all linear layers; B is not zero, as after the first step."""
    config = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=dropout, target_modules="all-linear")
    torch.manual_seed(0)
    model: Any = get_peft_model(base, config, autocast_adapter_dtype=not same_type)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=1e-3)
    if fused:
        fuse(model)
    return model.train()


def frozen(base: nn.Module) -> nn.Module:
    """The floor: the base without adapters, whose first norm alone is trained."""
    base.requires_grad_(False)
    first = next(module for module in base.modules() if "Norm" in type(module).__name__)
    first.requires_grad_(True)
    return base


CONTESTANTS: Mapping[str, tuple[bool, bool]] = {
    "peft": (False, False),
    "peft, adapters as the base": (True, False),
    "fused": (False, True),
    "fused, adapters as the base": (True, True),
}
"""Whether the adapters have the base's data type, and whether the layers are fused."""
REFERENCE = "peft"


class Step:
    """One optimizer step: forward, backward, AdamW, on random tokens."""

    def __init__(self, model: nn.Module, texts: int, tokens: int) -> None:
        self.model, self.writes = model, any("lm_head" in name for name, _ in model.named_modules())
        self.ids = torch.randint(0, 30_000, (texts, tokens))  # (texts, tokens)
        learned = [value for value in model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4)

    def __call__(self) -> None:
        """Take one step."""
        if self.writes:
            loss = self.model(input_ids=self.ids, labels=self.ids).loss
        else:
            loss = self.model(input_ids=self.ids).last_hidden_state.square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.05], help="of the adapters")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    kept = keep_large_blocks()
    rows: list[dict[str, Any]] = []
    print(f"{'case':28}{'dropout':>8}  {'contestant':30}{'median s':>9}{'/ PEFT':>8}")
    for case in arguments.cases:
        make, texts, tokens = CASES[case]
        for dropout in arguments.dropout:
            models = {name: adapted(make(), dropout, *how) for name, how in CONTESTANTS.items()}
            models["frozen base"] = frozen(make())
            steps = {name: Step(model, texts, tokens) for name, model in models.items()}
            seconds = in_turns(steps, arguments.rounds)
            relative = ratios(seconds, REFERENCE)
            for name, values in seconds.items():
                print(
                    f"{case:28}{dropout:8}  {name:30}{median(values):9.3f}{relative[name]:8.3f}", flush=True
                )
            rows.append(
                {
                    "case": case,
                    "dropout": dropout,
                    "blocks_kept": kept,
                    "rounds": arguments.rounds,
                    "ratio_to_peft": relative,
                    "ratio_to_peft_with_adapters_as_the_base": ratios(seconds, "peft, adapters as the base"),
                    "median_seconds": {name: round(median(values), 4) for name, values in seconds.items()},
                    "seconds": {name: [round(x, 4) for x in values] for name, values in seconds.items()},
                }
            )
            write(arguments.out, "fuse", rows)


if __name__ == "__main__":
    main()
