"""Time of an adapter's singular values: by QR of the factors, and by SVD of the formed BA, in turns.

    python benchmarks/singular_values.py --out docs/results/singular-values.json

Both give all singular values of s·BA in float32; the SVD computes values alone, no vectors. Forming BA is part of its
time. The time is the processor's, of one thread, so that a busy machine does not count. QR takes about a millisecond,
so a round calls it many times. QR takes O((in + out) r²) operations, the SVD O(in · out · min(in, out)).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch

from contest import write
from lowland.lora.spectrum import LowRank, spectra

LAYERS = ("384x384", "384x1536", "640x2048", "1024x4096", "2048x2048")
"""Layers (out x in) of MiniLM, Gemma 3 270M, and larger models."""


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), help="sizes, such as 384x1536")
    parser.add_argument("--ranks", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=50, help="calls of QR in a round")
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'layer':12}{'r':>4}{'QR, ms':>10}{'SVD, ms':>12}{'SVD / QR':>10}{'largest error':>15}")
    for layer in arguments.layers:
        out, ins = map(int, layer.split("x"))
        for r in arguments.ranks:
            factors = _factors(out, ins, r)
            seconds: dict[str, list[float]] = {"qr": [], "svd": []}
            for number in range(arguments.rounds + 1):  # the first round is not counted
                fast, slow = (
                    _seconds(_by_factors, factors, arguments.repeats),
                    _seconds(_by_product, factors, 1),
                )
                if number:
                    seconds["qr"].append(fast)
                    seconds["svd"].append(slow)
            ratios = [slow / fast for slow, fast in zip(seconds["svd"], seconds["qr"], strict=True)]
            low, middle, high = quantiles(ratios, n=4)
            error = (_by_factors(factors) - _by_product(factors)[:r]).abs().max() / _by_product(factors)[0]
            fast, slow = (1000 * median(seconds[name]) for name in ("qr", "svd"))
            print(f"{layer:12}{r:4}{fast:10.2f}{slow:12.1f}{middle:10.0f}{float(error):15.1e}", flush=True)
            rows.append(
                {
                    "layer": layer,
                    "r": r,
                    "seconds": {
                        name: [round(duration, 6) for duration in times] for name, times in seconds.items()
                    },
                    "svd_to_qr": round(middle, 1),
                    "quartiles": [round(low, 1), round(high, 1)],
                    "largest_relative_error": float(error),
                }
            )
            write(arguments.out, "singular-values", rows)


def _factors(out: int, ins: int, r: int) -> LowRank:
    draw = torch.Generator().manual_seed(0)
    return LowRank(torch.randn(r, ins, generator=draw), torch.randn(out, r, generator=draw), 2.0)


def _seconds(action: Callable[[LowRank], torch.Tensor], factors: LowRank, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        action(factors)
    return (time.process_time() - started) / times


def _by_factors(factors: LowRank) -> torch.Tensor:
    return torch.tensor(spectra({"layer": factors})["layer"].singular_values)


def _by_product(factors: LowRank) -> torch.Tensor:
    values: torch.Tensor = torch.linalg.svdvals(factors.matrix())
    return values


if __name__ == "__main__":
    main()
