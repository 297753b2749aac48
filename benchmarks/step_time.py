"""Step time of our LoRA, PEFT's, full fine-tuning, and the frozen base alone, in turns in one process.

    python benchmarks/step_time.py --dtype fp32 bf16 --out docs/results/step-time.json
    python benchmarks/step_time.py --dtype fp32 bf16 --keep-blocks --out docs/results/step-time-kept.json

A ratio is the median of the rounds' own ratios. An idle machine is asked for; a busy one still tells which is faster.
"""

from __future__ import annotations

from statistics import median

import torch

from contest import CONTESTANTS, REFERENCE, SHAPES, Step, in_turns, options, ratios, write
from lowland.ground.runtime import keep_large_blocks


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--dtype", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0], help="of the adapters")
    parser.add_argument(
        "--keep-blocks", action="store_true", help="have the C library keep freed memory, as `lowland` does"
    )
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    kept = given.keep_blocks and keep_large_blocks()
    rows = []
    print(f"{'shape':16}{'dtype':6}{'dropout':>8}  {'contestant':14}{'median s':>9}{'/ PEFT':>8}")
    for shape in given.shapes:
        for dtype in given.dtype:
            for dropout in given.dropout:
                torch.manual_seed(0)
                steps = {name: Step(name, SHAPES[shape], dtype, dropout) for name in CONTESTANTS}
                seconds = in_turns(steps, given.rounds)
                relative = ratios(seconds, REFERENCE)
                for name, values in seconds.items():
                    told = (
                        f"{shape:16}{dtype:6}{dropout:8}  {name:14}{median(values):9.3f}{relative[name]:8.3f}"
                    )
                    print(told, flush=True)
                rows.append(
                    {
                        "shape": shape,
                        "dtype": dtype,
                        "dropout": dropout,
                        "blocks_kept": kept,
                        "rounds": given.rounds,
                        "ratio_to_peft": relative,
                        "median_seconds": {name: round(median(one), 4) for name, one in seconds.items()},
                        "seconds": {name: [round(x, 4) for x in one] for name, one in seconds.items()},
                    }
                )
                write(given.out, "step time", rows)


if __name__ == "__main__":
    main()
