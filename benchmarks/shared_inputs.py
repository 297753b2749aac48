"""What could be gained if layers of one input shared the adapter's products: queries, keys and values; gate and up.

    python benchmarks/shared_inputs.py --out docs/results/shared-inputs.json

A layer's adapter has three products with A: x Aᵀ, dA = gᵀ x and the branch's part of dx, g A. Layers of one input could
take each once, with all A's stacked. Apart and stacked products are timed in turns, and beside them the products of all
linear layers of a block with their frozen weights, forward and backward. The saving divided by the latter is more than
a training step could gain, since a step also has attention, norms, logits, B's products and the optimizer. The time is
the processor's, of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from contest import R, write


@dataclass(frozen=True)
class Block:
    """Linear layers of a block, grouped by their input.

    Attributes:
        tokens: rows of the input.
        dtype: number format.
        layers: number of inputs, then the numbers of outputs of the layers that read it, for each group.
    """

    tokens: int
    dtype: torch.dtype
    layers: tuple[tuple[int, tuple[int, ...]], ...]


def _bert(tokens: int, width: int) -> Block:
    groups = ((width, (width,) * 3), (width, (width,)), (width, (4 * width,)), (4 * width, (width,)))
    return Block(tokens, torch.float32, groups)


GEMMA = ((640, (1024, 256, 256)), (1024, (640,)), (640, (2048, 2048)), (2048, (640,)))
BLOCKS = {
    "Gemma 3 270M bf16, 4 x 128": Block(512, torch.bfloat16, GEMMA),
    "BERT-base fp32, 8 x 128": _bert(1024, 768),
    "BERT-base fp32, 16 x 256": _bert(4096, 768),
}


def actions_of(block: Block) -> dict[str, Callable[[], object]]:
    """Return the products of a block: of the frozen weights, and of A, apart and stacked."""
    frozen: list[tuple[Tensor, Tensor]] = []
    apart: list[tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]] = []

    def draw(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns).to(block.dtype)

    for ins, outs in block.layers:
        x = draw(block.tokens, ins)
        frozen += [(x, draw(out, ins)) for out in outs]
        if len(outs) > 1:
            apart.append((x, [draw(R, ins) for _ in outs], [draw(block.tokens, R) for _ in outs]))
    gradients = [draw(block.tokens, len(weight)) for _, weight in frozen]
    stacked = [(x, torch.cat(list(a)), torch.cat(list(g), dim=1)) for x, a, g in apart]
    return {
        "frozen": lambda: [(x @ w.T, g @ w) for (x, w), g in zip(frozen, gradients, strict=True)],
        "apart": lambda: [
            (x @ a.T, g.T @ x, g @ a) for x, all_a, all_g in apart for a, g in zip(all_a, all_g, strict=True)
        ],
        "stacked": lambda: [(x @ a.T, g.T @ x, g @ a) for x, a, g in stacked],
    }


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5, help="calls in a round")
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    print(f"{'block':30}{'frozen, ms':>12}{'apart, ms':>12}{'stacked, ms':>13}{'saving / frozen':>17}")
    for name, block in BLOCKS.items():
        actions = actions_of(block)
        seconds: dict[str, list[float]] = {action: [] for action in actions}
        for number in range(arguments.rounds + 1):  # the first round is not counted
            for action, call in actions.items():
                started = time.process_time()
                for _ in range(arguments.repeats):
                    call()
                if number:
                    seconds[action].append((time.process_time() - started) / arguments.repeats)
        middle = {action: median(times) for action, times in seconds.items()}
        saving = (middle["apart"] - middle["stacked"]) / middle["frozen"]
        shown = [f"{1000 * middle[action]:.2f}" for action in actions]
        print(f"{name:30}{shown[0]:>12}{shown[1]:>12}{shown[2]:>13}{saving:>17.1%}", flush=True)
        rows.append(
            {
                "block": name,
                "seconds": {action: round(value, 6) for action, value in middle.items()},
                "saving": round(saving, 4),
            }
        )
        write(arguments.out, "shared-inputs", rows)


if __name__ == "__main__":
    main()
