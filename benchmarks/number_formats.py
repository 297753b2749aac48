"""Does LoRA in bf16 answer as well as LoRA in fp32? The same study in both formats, in pairs.

    python benchmarks/number_formats.py --task financial-phrasebank --data Sentences_50Agree.txt --seeds 1 2 3 4 5 6

LoRA in bf16 is called non-inferior if the whole interval lies above -0.5 points of accuracy. A run trained in bf16 is
judged twice: by its own answers, in bf16, and by those of `lowland predict`, which computes in fp32. Runs are kept in
--out, and a study that was stopped is continued.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers.utils import logging

from lowland.deploy.predict import load
from lowland.evidence.readers.runs import finished
from lowland.evidence.study import compare_with_reference
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_predictions, read_record, write_predictions
from lowland.ground.records import RunRecord
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.table import load_data, task_fields

MARGIN = 0.005
"""Loss of accuracy that is accepted in bf16, as a share."""


def main() -> None:
    """Run the studies, and print how the formats compare."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--task", default="financial-demo")
    parser.add_argument("--data")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=["fp32", "bf16"], help="number formats to train in")
    parser.add_argument("--out", default="runs")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    task = task_fields(options.task, data=options.data)
    runs: dict[Path, RunRecord] = {}
    for dtype in options.formats:
        recipe = Recipe(
            task=task,
            methods=["lora"],
            seeds=options.seeds,
            epochs=options.epochs,
            dtype=dtype,
            out=options.out,
        )
        folders = run_study(recipe, progress=Progress(sys.stderr))
        for folder, record in finished(folders).items():
            runs[folder] = _labelled(record, f"lora in {dtype}")
    for folder, record in runs.items():
        print(f"{record.method}, seed {record.seed}: {record.scores['test']['accuracy']:.4f}   {folder.name}")
    with TemporaryDirectory() as scratch:
        for folder, record in list(runs.items()):
            if record.method == "lora in bf16":
                copy = _answer_in_fp32(folder, Path(scratch) / folder.name)
                runs[copy] = _labelled(record, f"{record.method}, answered in fp32")
        _print_comparisons(runs)


def _labelled(record: RunRecord, label: str) -> RunRecord:
    """Return the record with another label of its method."""
    method = {**record.asked["method"], "label": label}
    return replace(record, asked={**record.asked, "method": method})


def _answer_in_fp32(folder: Path, copy: Path) -> Path:
    """Make a folder with a run's predictions as `lowland predict` answers."""
    table = read_predictions(folder)
    split = load_data(task_fields(**read_record(folder).asked["task"])).splits["test"]
    rows = table["split"] == "test"
    assert list(table[rows]["example"]) == list(split.examples)
    answers = load(folder).predict(list(split["text"]))
    table.loc[rows, "predicted"] = answers["predicted"].to_numpy()
    table.loc[rows, "score"] = (table.loc[rows, "predicted"] == table.loc[rows, "label"]).astype(float)
    copy.mkdir()
    write_predictions(copy, table)
    return copy


def _print_comparisons(runs: dict[Path, RunRecord]) -> None:
    for comparison in compare_with_reference(runs, "lora in fp32"):
        per_seed = ", ".join(f"{100 * difference:+.2f}" for difference in comparison.per_seed)
        print(f"{comparison.sentence()}\nby seed, points: {per_seed}")
        verdict = "non-inferior" if comparison.low > -MARGIN else "not shown to be non-inferior"
        print(
            f"{verdict} within {100 * MARGIN:g} points (the interval's lower end: {100 * comparison.low:.2f})"
        )


if __name__ == "__main__":
    main()
