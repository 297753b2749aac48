"""Tests in which fine-tuned runs answer the same texts: a finished test is found again, and so is each run's part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.deploy.study_runs import TrainedRun
from lowland.ground.mistakes import plural
from lowland.ground.progress import Bar, Progress
from lowland.ground.provenance import code, utc_now
from lowland.ground.record_files import write_rows, write_stress_record
from lowland.ground.records import StressRecord
from lowland.ground.store import Store
from lowland.train.environment import environment

ANSWERS = ("predicted", "seconds")
"""Columns of a run's answers in addition to the inputs; `seconds` is the time for all of them."""

Ask = Callable[[TrainedRun, int, Bar], pd.DataFrame]
"""Function that returns a run's answers; takes the run, the number of runs left, and the bar to step."""
Make = Callable[[Path], tuple[pd.DataFrame, StressRecord]]
"""Function that returns the rows and the record of a test; takes the folder for answers that are kept meanwhile."""


def find_or_make(name: str, store: Store, progress: Progress, make: Make, *, fresh: bool) -> Path:
    """Return the folder of a finished test; make the test first if there is none.

    Args:
        name: name of the folder.
        store: where tests are kept.
        progress: says if the test was made before.
        make: makes the test.
        fresh: make it even if it is there.
    """
    place, beside = store.root / name, store.root / ".unfinished" / name
    store.prepare([name], fresh=fresh)
    with store.claim(name):
        if fresh:
            shutil.rmtree(beside, ignore_errors=True)
        elif (finished := store.find(name, StressRecord)) is not None:
            progress.say(f"found, {finished.counts['scored']:,} answers in {place}")
            return place
        beside.mkdir(parents=True, exist_ok=True)
        rows, record = make(beside)
        with store.writing(name) as folder:
            write_rows(folder, rows)
            write_stress_record(folder, record)
        shutil.rmtree(beside, ignore_errors=True)
    return place


def answers_of_runs(
    runs: Sequence[TrainedRun],
    inputs: pd.DataFrame,
    beside: Path,
    ask: Ask,
    progress: Progress,
    *,
    about: str = "",
) -> list[pd.DataFrame]:
    """Return each run's answers to the inputs, with the input columns and `ANSWERS`.

    The answers of a run are stored as soon as it is done, so that an interrupted test goes on from there.

    Args:
        runs: the runs.
        inputs: different inputs, a row for each.
        beside: folder for the answers of each run.
        ask: asks a run.
        progress: reports the inputs that are done.
        about: beginning of the line that says what is left to do.
    """
    parts = [beside / f"{run.record.key}.parquet" for run in runs]
    stored = [_stored(part, inputs) for part in parts]
    left = sum(answers is None for answers in stored)
    progress.say(f"{about}{plural(len(inputs), 'different text')} a run; {plural(left, 'run')} left to test")
    with progress.bar(left * len(inputs), unit="texts") as bar:
        for place, run in enumerate(runs):
            if stored[place] is None:
                answers = ask(run, left, bar)
                answers.to_parquet(parts[place].with_suffix(".partial"), index=False)
                parts[place].with_suffix(".partial").replace(parts[place])
                stored[place], left = answers, left - 1
    return [answers for answers in stored if answers is not None]


def _stored(part: Path, inputs: pd.DataFrame) -> pd.DataFrame | None:
    """Return a run's stored answers; None if there are none, or they are damaged or for other inputs."""
    names = [str(name) for name in inputs]
    try:
        answers = pd.read_parquet(part)
    except (OSError, ValueError):
        return None
    if not {*names, *ANSWERS} <= set(answers.columns):
        return None
    return answers if answers[names].to_numpy().tolist() == inputs.to_numpy().tolist() else None


def record_of_runs(
    runs: Sequence[TrainedRun],
    rows: pd.DataFrame,
    answers: Sequence[pd.DataFrame],
    *,
    key: str,
    asked: Mapping[str, Any],
    items: Mapping[str, Any],
    started: str,
    notes: Sequence[Mapping[str, Any]] | None = None,
) -> StressRecord:
    """Return the record of a test of fine-tuned runs.

    Args:
        runs: the runs, of one base model.
        rows: rows of all runs.
        answers: answers of each run.
        key: key of the test.
        asked: the request, as plain values.
        items: what was asked about.
        started: time at which the test began.
        notes: further entries for each run.
    """
    described = [
        {
            "folder": run.folder.name,
            "key": run.record.key,
            "method": run.record.method,
            "seed": run.record.seed,
            "trained_in": run.record.environment.get("dtype"),
            **note,
        }
        for run, note in zip(runs, notes or [{}] * len(runs), strict=True)
    ]
    model = runs[0].record.model
    named: dict[str, Any] = {name: model[name] for name in ("name", "title", "sha256") if name in model}
    return StressRecord(
        key=key,
        asked=dict(asked),
        status="finished",
        items=dict(items),
        model={**named, "runs": described},
        counts={"expected": len(rows), "scored": len(rows), "failed": 0},
        code=code(),
        environment=environment(runs[0].record.environment.get("dtype", "fp32")),
        cost={
            "requests": sum(map(len, answers)),
            "seconds": sum(float(table["seconds"].iloc[0]) for table in answers),
        },
        when={"started": started, "ended": utc_now()},
    )
