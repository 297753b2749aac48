"""Tokens per second of the base, the base with an adapter, and the merged model, in turns in one process.

    python benchmarks/inference.py --out docs/results/inference.json

Merged must be as fast as the base: it is the same network with other numbers in it.
"""

from __future__ import annotations

from functools import partial
from statistics import median

import torch
from torch import nn

from contest import ALPHA, SHAPES, R, Shape, backbone, in_turns, options, ratios, write
from lowland.lora import LoRAConfig, add_lora, lora_layers, merge_lora


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    rows = []
    print(f"{'shape':16}{'model':14}{'tokens / s':>11}{'time / base':>12}")
    for shape in given.shapes:
        size = SHAPES[shape]
        torch.manual_seed(0)
        ids = torch.randint(0, 30_000, (size.batch, size.tokens))  # (batch, tokens)
        models = {
            "base": backbone(size),
            "adapter": _learned(size),
            "merged": merge_lora(_learned(size), keep=False),
        }
        calls = {name: partial(_answer, model.eval(), ids) for name, model in models.items()}
        seconds = in_turns(calls, given.rounds)
        relative = ratios(seconds, "base")
        rate = {name: round(size.batch * size.tokens / median(one)) for name, one in seconds.items()}
        for name in models:
            print(f"{shape:16}{name:14}{rate[name]:11,}{relative[name]:12.3f}", flush=True)
        rows.append(
            {"shape": shape, "rounds": given.rounds, "tokens_per_second": rate, "time_to_base": relative}
        )
        write(given.out, "inference", rows)


@torch.inference_mode()
def _answer(model: nn.Module, ids: torch.Tensor) -> None:
    model(input_ids=ids)


def _learned(size: Shape) -> nn.Module:
    """A model with adapters that do something: B is not zero."""
    model = add_lora(backbone(size), LoRAConfig(r=R, alpha=ALPHA))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.01)
    return model


if __name__ == "__main__":
    main()
