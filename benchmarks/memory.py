"""Peak memory of a training step: our LoRA, PEFT's, full fine-tuning, and the frozen base alone.

    python benchmarks/memory.py --dropout 0 0.05 --out docs/results/memory.json
    python benchmarks/memory.py --noise --dropout 0 --out docs/results/flat-memory.json  # under Flat-LoRA's noise

Each in a process of its own, the second step after the first: the resident set's high-water mark, which holds the
program and the model, too, and its growth over what was resident before the step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import contest
import flat_step_time
from contest import REFERENCE, SHAPES, options, write
from lowland.ground.runtime import keep_large_blocks
from lowland.train.cost import Meter

MIB = 2**20


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--dtype", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.05], help="of the adapters")
    parser.add_argument("--keep-blocks", action="store_true", help="have the C library keep freed memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--noise", action="store_true", help="the contestants of flat_step_time.py")
    parser.add_argument("--one", help="only this one, as JSON")
    given = parser.parse_args()
    if given.one:
        asked = (given.one, given.shapes[0], given.dtype[0], given.dropout[0], given.keep_blocks, given.noise)
        print(json.dumps(_one(*asked)))
        return
    contestants = flat_step_time.CONTESTANTS if given.noise else contest.CONTESTANTS
    rows = []
    heading = f"{'shape':16}{'dtype':6}{'dropout':>8}  {'contestant':14}"
    print(f"{heading}{'peak MiB':>9}{'/ PEFT':>8}{'step MiB':>9}{'/ PEFT':>8}")
    for shape in given.shapes:
        for dtype in given.dtype:
            for dropout in given.dropout:
                found = {
                    name: [
                        _process(name, shape, dtype, dropout, given.keep_blocks, given.noise)
                        for _ in range(given.rounds)
                    ]
                    for name in contestants
                }
                mib = {
                    name: {what: round(median(one[what] for one in several) / MIB) for what in several[0]}
                    for name, several in found.items()
                }
                for name, one in mib.items():
                    peak, step = (one[what] / mib[REFERENCE][what] for what in ("peak", "step"))
                    told = f"{one['peak']:9}{peak:8.3f}{one['step']:9}{step:8.3f}"
                    print(f"{shape:16}{dtype:6}{dropout:8}  {name:14}{told}", flush=True)
                rows.append({"shape": shape, "dtype": dtype, "dropout": dropout, "mib": mib})
                rows[-1] |= {"blocks_kept": given.keep_blocks, "rounds": given.rounds}
                write(given.out, "peak memory of a step", rows)


def _process(name: str, shape: str, dtype: str, dropout: float, keep: bool, noise: bool) -> dict[str, int]:
    command = [sys.executable, __file__, "--one", name, "--shapes", shape, "--dtype", dtype]
    command += ["--dropout", str(dropout), *(["--keep-blocks"] if keep else [])]
    command += ["--noise"] if noise else []
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, int] = json.loads(told.splitlines()[-1])
    return found


def _one(
    name: str, shape: str, dtype: str, dropout: float, keep: bool, noise: bool = False
) -> dict[str, int]:
    """Bytes at the peak of the second step, and how many of them the step added."""
    if keep:
        keep_large_blocks()
    make = flat_step_time.Step if noise else contest.Step
    step = make(name, SHAPES[shape], dtype, dropout)
    step()
    with Meter() as meter:
        before = _resident()
        step()
    return {"peak": meter.peak_bytes, "step": meter.peak_bytes - before}


def _resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
