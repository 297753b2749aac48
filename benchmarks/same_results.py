"""Compare the results of two checkouts: do the same small studies leave the same predictions, histories and adapters?

    python benchmarks/same_results.py ../before . --methods full lora flat-lora --seeds 1 2

Each checkout trains in a process of its own, with this interpreter and the checkout's `src` first on the path, through
`lowland compare` on a table of 216 short texts that is written here. Everything is compared bit by bit but times, and
the parts of a record that say what the code is. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

GOOD, BAD, SUBJECTS = (
    ("rises", "gains", "wins"),
    ("falls", "loses", "fails"),
    ("the firm", "its unit", "a bank"),
)
MODULES = ("lowland.cli.main", "lowland.cli")
"""Where the command line is, in newer and in older checkouts."""


def main() -> int:
    """Train in both checkouts, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="folder of a checkout")
    parser.add_argument("second", type=Path, help="folder of another one")
    parser.add_argument("--methods", nargs="+", default=["full", "lora", "flat-lora"])
    parser.add_argument("--seeds", nargs="+", default=["1"])
    parser.add_argument("--dtypes", nargs="+", default=["fp32"])
    parser.add_argument(
        "--options", nargs=argparse.REMAINDER, default=["--epochs", "1"], help="for lowland compare"
    )
    asked = parser.parse_args()
    compared = different = 0
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "texts.csv"
        table().to_csv(data, index=False)
        for dtype in asked.dtypes:
            first, second = (
                train(root.resolve(), data, Path(scratch) / f"{side}-{dtype}", dtype, asked)
                for side, root in (("first", asked.first), ("second", asked.second))
            )
            for run in sorted({*first, *second}):
                compared += 1
                differences = differences_of(first.get(run), second.get(run))
                different += bool(differences)
                print(f"{dtype} {run}: {'; '.join(differences) or 'the same, bit by bit'}", flush=True)
    print(f"{compared - different} of {compared} runs are the same")
    return 1 if different else 0


def table() -> pd.DataFrame:
    """Return texts with two labels that a small model can learn."""
    rows = [
        (f"{subject} {verb} {'again ' * copies}".strip(), label)
        for verbs, label in ((GOOD, "good"), (BAD, "bad"))
        for verb in verbs
        for subject in SUBJECTS
        for copies in range(12)
    ]
    return pd.DataFrame(rows, columns=["text", "label"])


def train(root: Path, data: Path, out: Path, dtype: str, asked: argparse.Namespace) -> dict[str, Path]:
    """Run `lowland compare` in a checkout; return the runs' folders by method and seed."""
    module = next(name for name in MODULES if (root / "src" / f"{name.replace('.', '/')}.py").is_file())
    command = [
        *(sys.executable, "-m", module, "compare", "--task", "classification", "--data", str(data)),
        *("--methods", *asked.methods, "--seeds", *asked.seeds, "--dtype", dtype, "--out", str(out)),
        *asked.options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return {folder.name.rpartition("-")[0]: folder for folder in out.glob("classification-*")}


def differences_of(first: Path | None, second: Path | None) -> list[str]:
    """Return the parts of two runs' results that differ."""
    if first is None or second is None:
        return ["one of the two is missing"]
    ours, theirs = results_of(first), results_of(second)
    return [f"{name} differs" for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]


def results_of(folder: Path) -> dict[str, Any]:
    """Return everything of a run that the code must not change."""
    record = json.loads((folder / "record.json").read_text())
    predictions = pd.read_parquet(folder / "predictions.parquet").drop(columns="score", errors="ignore")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    timed = ("runtime", "per_second")
    return {
        "status": (record["status"], record["failure"]),
        "data": record["data"],
        "parameters": record["parameters"],
        "scores": record["scores"],
        "validation": record["validation"],
        "predictions": predictions[sorted(predictions)].to_dict("list"),
        "history": [
            {name: value for name, value in entry.items() if not any(word in name for word in timed)}
            for entry in history
        ],
        **{
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.glob("*/*.safetensors"))
        },
    }


if __name__ == "__main__":
    sys.exit(main())
