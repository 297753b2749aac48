"""Time of a study of nine runs: one after another, and side by side in worker processes, in turns.

    python benchmarks/study.py --rounds 3 --out docs/results/study.json

Each study is a command of its own, from its start to its table, on the embedded data set with an empty folder of runs.
An idle machine is asked for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from contest import write

ROOT = Path(__file__).resolve().parents[1]
STUDIES: Mapping[str, Sequence[str]] = {"one after another": ("--workers", "1"), "side by side": ()}


def seconds_of(options: Sequence[str], further: Sequence[str]) -> float:
    """Seconds of one study."""
    with TemporaryDirectory() as folder:
        recipe = ROOT / "recipes" / "financial-demo.yaml"
        words = ["compare", "--config", str(recipe), "--out", folder, *options, *further]
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lowland.cli.main", *words], check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", nargs="*", default=[], help="further options of lowland compare")
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in STUDIES}
    for number in range(arguments.rounds):
        for name in list(STUDIES)[:: 1 if number % 2 else -1]:
            seconds[name].append(seconds_of(STUDIES[name], arguments.options))
            print(f"round {number + 1}: {name}, {seconds[name][-1]:.0f} s", flush=True)
    first, second = (seconds[name] for name in STUDIES)
    ratio = median(apart / alone for alone, apart in zip(first, second, strict=True))
    print(f"side by side / one after another: {ratio:.2f}")
    rows = [
        {
            "runs": 9,
            "rounds": arguments.rounds,
            "options": arguments.options,
            "ratio": round(ratio, 3),
            "seconds": seconds,
        }
    ]
    write(arguments.out, "study", rows)


if __name__ == "__main__":
    main()
