"""Runs that are used together: they are of one study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.deploy.runs import finished_record
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord, title_of
from lowland.tasks.table import task_named


@dataclass(frozen=True)
class TrainedRun:
    """Finished run: its folder and its record."""

    folder: Path
    record: RunRecord

    def __str__(self) -> str:
        return f"{self.record.method}, seed {self.record.seed}"


def read_runs(folders: Sequence[Path], purpose: str | None = None) -> list[TrainedRun]:
    """Read the runs of some folders, which must be of one study, without a method and seed twice.

    Args:
        folders: folders of runs.
        purpose: verb with what it does to texts, for the sentence on runs of images: "stress adapter damages texts".
            None if the runs may be of any task.

    Raises:
        Mistake: naming each folder without a finished run, and everything that sets the runs apart.
    """
    runs: list[TrainedRun] = []
    problems: list[str] = []
    for folder in folders:
        try:
            runs.append(TrainedRun(folder, finished_record(folder)))
        except Mistake as mistake:
            problems += mistake.problems
            continue
        if not any((folder / kept).is_dir() for kept in ("model", "adapter")):
            problems.append(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    problems += _differences(runs)
    tasks = {run.record.task for run in runs}
    task = task_named(tasks.pop()) if len(tasks) == 1 else None
    if purpose is not None and task is not None and task.reads != "text":
        problems = [
            f"{purpose}, and the runs are of {task.name}, which reads {task.reads}s;"
            " give runs of a task of texts"
        ]
    if problems:
        raise Mistake(*problems)
    return runs


def _differences(runs: Sequence[TrainedRun]) -> list[str]:
    """Return sentences on what keeps runs from being compared."""
    problems = []
    traits: Mapping[str, Callable[[RunRecord], str]] = {
        "task": lambda record: record.task,
        "data": lambda record: str(record.data["sha256"])[:12],
        "base model": lambda record: f"{title_of(record.model)} ({record.model['sha256'][:12]})",
    }
    for trait, value_of in traits.items():
        folders = {value_of(run.record): run.folder for run in runs}
        if len(folders) > 1:
            values = ", ".join(f"{value} in {folder}" for value, folder in folders.items())
            problems.append(f"the runs differ in their {trait}: {values}; give runs of one study at a time")
            break  # other tasks have other data
    problems += _different_settings(runs)
    names = [str(run) for run in runs]
    return problems + [
        f"{name} is given {names.count(name)} times; give one run of a method and seed"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _different_settings(runs: Sequence[TrainedRun]) -> list[str]:
    """Return sentences on runs of one method with different settings: they are not seeds of the same thing."""
    problems = []
    first: dict[str, TrainedRun] = {}
    for run in runs:
        other = first.setdefault(run.record.method, run)
        ours, theirs = _settings(run), _settings(other)
        different = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        if different:
            values = ", ".join(f"{name} {theirs.get(name)} and {ours.get(name)}" for name in different)
            problems.append(
                f"the runs of {run.record.method} in {other.folder} and {run.folder} have different settings"
                f" ({values}); give runs of one study at a time"
            )
    return problems


def _settings(run: TrainedRun) -> dict[str, Any]:
    """Return the settings that a run was trained with, without its seed."""
    asked = run.record.asked
    return {**asked["method"], "max_length": asked["max_length"]}
