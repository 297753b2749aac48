"""Time of a whole comparison, LoRA and Flat-LoRA over seeds: scripted with Trainer and PEFT, and by `lowland compare`.

    python benchmarks/main_job.py --data Sentences_50Agree.txt --train 1000 --out docs/results/main-job.json

Contestants are commands of their own from their start to their scores, in turns: a script that pads to 256 tokens
(batch 8), the same with dynamic padding and batches of similar lengths (batch 16), and lowland (batch 16), also without
some of what makes it fast. They train on the same examples of Financial PhraseBank for as many epochs with the same
seeds. An idle machine is asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from contest import write
from lowland.ground.record_files import read_record
from lowland.models.find import find_model
from lowland.models.packages import DEFAULT_MODEL
from lowland.tasks.table import load_data, task_fields

TASK = "financial-phrasebank"
Scores = Mapping[str, list[float]]


def script(
    arguments: argparse.Namespace, folder: Path, padding: str, batch_size: int, seeds: int | None = None
) -> Scores:
    """Run `plain_script.py`, with the first seeds only if their number is given; return each method's accuracies."""
    out = folder / "scores.json"
    model = find_model(DEFAULT_MODEL).folder
    words = ["--data", str(arguments.splits), "--model", str(model), "--padding", padding, "--out", str(out)]
    words += ["--batch-size", str(batch_size), "--epochs", str(arguments.epochs)]
    words += ["--seeds", *map(str, arguments.seeds[:seeds])]
    here = Path(__file__).parent
    subprocess.run([sys.executable, str(here / "plain_script.py"), *words], check=True, capture_output=True)
    scores: Scores = json.loads(out.read_text("utf-8"))
    return scores


def ours(arguments: argparse.Namespace, folder: Path, *options: str) -> Scores:
    """Run `lowland compare` with some options, and return the accuracies of each method."""
    words = ["compare", "--task", TASK, "--data", str(arguments.data), "--max-train", str(arguments.train)]
    words += ["--methods", "lora", "flat-lora", "--lr", "5e-4", "--epochs", str(arguments.epochs)]
    words += ["--seeds", *map(str, arguments.seeds), "--out", str(folder), *options]
    subprocess.run([sys.executable, "-m", "lowland.cli.main", *words], check=True, capture_output=True)
    records = [read_record(path.parent) for path in sorted(folder.glob("[!.]*/record.json"))]
    return {
        method: [
            record.scores["test"]["accuracy"]
            for record in records
            if record.asked["method"]["label"] == method
        ]
        for method in ("lora", "flat-lora")
    }


CONTESTANTS: Mapping[str, Callable[[argparse.Namespace, Path], Scores]] = {
    "padded script": lambda arguments, folder: script(arguments, folder, "length", 8, arguments.padded_seeds),
    "good script": lambda arguments, folder: script(arguments, folder, "longest", 16),
    "lowland": ours,
    "lowland, one run at a time": lambda arguments, folder: ours(arguments, folder, "--workers", "1"),
    "lowland in fp32": lambda arguments, folder: ours(arguments, folder, "--dtype", "fp32"),
}


def write_splits(arguments: argparse.Namespace, folder: Path) -> Path:
    """Write lowland's splits as train.csv, validation.csv and test.csv."""
    data = load_data(task_fields(TASK, data=str(arguments.data), max_train=arguments.train))
    for name in ("train", "validation", "test"):
        split = data.splits[name]
        table = pd.DataFrame({"text": split["text"], "label": split["label"]})
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def scale(arguments: argparse.Namespace, scores: Scores) -> float:
    """Return the number of seeds that were asked for, as a multiple of those that were run."""
    return len(arguments.seeds) / len(scores["lora"])


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Sentences_50Agree.txt")
    parser.add_argument("--train", type=int, default=1000, help="number of training examples")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 1337])
    parser.add_argument(
        "--padded-seeds",
        type=int,
        help="number of seeds that the padded script runs; its time is scaled to all seeds",
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in arguments.contestants}
    scores: dict[str, Scores] = {}
    with TemporaryDirectory() as splits:
        arguments.splits = write_splits(arguments, Path(splits))
        for number in range(arguments.rounds):
            for name in arguments.contestants[:: 1 if number % 2 else -1]:
                with TemporaryDirectory() as folder:
                    started = time.perf_counter()
                    scores[name] = CONTESTANTS[name](arguments, Path(folder))
                    seconds[name].append((time.perf_counter() - started) * scale(arguments, scores[name]))
                print(f"round {number + 1}: {name}, {seconds[name][-1]:.1f} s", flush=True)
    rows: list[dict[str, Any]] = []
    for name in arguments.contestants:
        times = [other / own for other, own in zip(seconds[name], seconds["lowland"], strict=True)]
        rows.append(
            {
                "contestant": name,
                "times lowland": round(median(times), 2),
                "accuracy": {method: round(mean(values), 4) for method, values in scores[name].items()},
                "accuracies": scores[name],
                "seconds": seconds[name],
            }
        )
        print(f"{name}: {rows[-1]['times lowland']} times lowland's, accuracy {rows[-1]['accuracy']}")
    asked = {
        name: getattr(arguments, name) for name in ("train", "seeds", "padded_seeds", "epochs", "rounds")
    }
    write(arguments.out, "main job", [{"asked": asked}, *rows])


if __name__ == "__main__":
    main()
