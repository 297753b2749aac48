"""Does LoRA in bf16 answer as well as LoRA in fp32? The same study in both formats, in pairs.

    python benchmarks/number_formats.py --task financial-phrasebank --data Sentences_50Agree.txt --seeds 1 2 3 4 5 6

Non-inferior is said where the whole interval lies above -0.5 points of accuracy. A run trained in bf16 is judged twice:
as it answered itself, in bf16; and as `lowland predict` answers with what it learned, in fp32. Runs are kept in --out,
and a study that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lowland.ground.recipe import read_recipe
from transformers.utils import logging

from lowland.deploy.predict import load_classifier_of
from lowland.evidence.readers.runs import finished
from lowland.evidence.study import compare_with_reference
from lowland.ground.records import RunRecord, read_predictions, read_record, write_predictions
from lowland.study.progress import Progress
from lowland.study.run import run_study
from lowland.tasks.table import TASKS, load_task
from lowland.train.methods import method_named

MARGIN = 0.005
"""Accuracy, as a share: what bf16 may lose."""


def main() -> None:
    """Run what is missing, and say what the pairs show."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--task", default="financial-demo")
    parser.add_argument("--data")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=["fp32", "bf16"], help="to train in, in this process")
    parser.add_argument("--out", default="runs")
    given = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    runs: dict[Path, RunRecord] = {}
    for one in given.formats:
        asked = {"task": given.task, "data": given.data, "seeds": given.seeds, "epochs": given.epochs}
        asked |= {"methods": ["lora"], "dtype": one, "out": given.out}
        recipe = read_recipe(asked, tasks=TASKS, methods=method_named)
        folders = run_study(recipe, progress=Progress(sys.stderr))
        for folder, record in finished(folders).items():
            runs[folder] = _labelled(record, f"lora in {one}")
    for folder, record in runs.items():
        print(f"{record.method}, seed {record.seed}: {record.scores['test']['accuracy']:.4f}   {folder.name}")
    with TemporaryDirectory() as scratch:
        for folder, record in list(runs.items()):
            if record.method == "lora in bf16":
                again = _answered_in_fp32(folder, Path(scratch) / folder.name)
                runs[again] = _labelled(record, f"{record.method}, answered in fp32")
        _tell(runs)


def _labelled(record: RunRecord, label: str) -> RunRecord:
    """Return the record with another label of its method."""
    method = {**record.asked["method"], "label": label}
    return replace(record, asked={**record.asked, "method": method})


def _answered_in_fp32(folder: Path, copy: Path) -> Path:
    """A folder with a run's predictions as `lowland predict` makes them."""
    table = read_predictions(folder)
    asked = read_record(folder).asked
    split = load_task(asked["task"], asked["data"]).splits["test"]
    rows = table["split"] == "test"
    assert list(table[rows]["example"]) == list(split.examples)
    answers = load_classifier_of(folder).predict(list(split.texts))
    table.loc[rows, "predicted"] = answers["label"].to_numpy()
    table.loc[rows, "score"] = (table.loc[rows, "predicted"] == table.loc[rows, "label"]).astype(float)
    copy.mkdir()
    write_predictions(copy, table)
    return copy


def _tell(runs: dict[Path, RunRecord]) -> None:
    for found in compare_with_reference(runs, "lora in fp32"):
        per_seed = ", ".join(f"{100 * one:+.2f}" for one in found.per_seed)
        print(f"{found.sentence()}\nby seed, points: {per_seed}")
        word = "non-inferior" if found.low > -MARGIN else "not shown to be non-inferior"
        print(f"{word} within {100 * MARGIN:g} points (the interval's lower end: {100 * found.low:.2f})")


if __name__ == "__main__":
    main()
