"""Folders in which a study runs, made without training: what tests of running studies share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lowland.ground.record_files import read_record, write_record
from lowland.ground.records import RunRecord
from lowland.ground.store import Store
from lowland.ground.study_notes import FOLDER, PlannedRun, study_note
from tests.report.whole_studies import leave_study

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    """A time so many seconds before `NOW`."""
    return (NOW - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def leave_four_runs(root: Path) -> Path:
    """Two methods with two seeds, all finished."""
    return leave_study(root, methods=("lora", "full"), seeds=2, examples=12, steps=6)


def run(root: Path, method: str, seed: int) -> Path:
    """The folder of a run."""
    (folder,) = root.glob(f"toy-{method}-s{seed}-*")
    return folder


def planned(folder: Path) -> PlannedRun:
    """The plan of a run that is there."""
    record = read_record(folder)
    return PlannedRun(folder.name, record.method, record.seed)


def change(folder: Path, **changes: object) -> RunRecord:
    """Change the record of a run."""
    record = replace(read_record(folder), **changes)  # type: ignore[arg-type]
    write_record(folder, record)
    return record


def finish(folder: Path, took: float, ended: float = 0.0) -> None:
    """Say that a run took so many seconds, and ended so many before `NOW`."""
    change(folder, when={"started": at(ended + took), "ended": at(ended)})


def unfinish(folder: Path, since: float) -> Path:
    """Turn a finished run into one that was begun so many seconds before `NOW`; return the folder of its note."""
    begun = Store(folder.parent).begun(folder.name)
    write_record(
        folder,
        replace(
            read_record(folder), status="unfinished", scores={}, validation={}, when={"started": at(since)}
        ),
    )
    for path in folder.iterdir():
        if path.name != "record.json":
            path.unlink()
    return folder.rename(begun)


def leave_checkpoint(root: Path, name: str, log: Sequence[object], step: int = 10) -> None:
    """Leave a checkpoint with a training log."""
    folder = Store(root).checkpoints(name) / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))


def leave_note(root: Path, runs: Sequence[PlannedRun], started: str) -> None:
    """Leave the note of a study whose process was killed."""
    (root / FOLDER).mkdir()
    note = {"started": started, "fresh": False, "runs": [asdict(run) for run in runs]}
    (root / FOLDER / "0123.json").write_text(json.dumps(note))


@contextmanager
def at_work(
    root: Path, names: Sequence[str], runs: Sequence[PlannedRun], *, fresh: bool = False
) -> Iterator[None]:
    """Hold the locks of a study, and of the runs that it works on."""
    with ExitStack() as stack:
        stack.enter_context(study_note(root, runs, fresh=fresh))
        for name in names:
            stack.enter_context(Store(root).claim(name))
        yield
