"""The fine-tuned runs that a stress test asks, and the data that they were tested on, both as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.deploy.find import finished_record
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.tasks.classification import TextData
from lowland.tasks.table import load_task


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and its record."""

    folder: Path
    record: RunRecord

    def __str__(self) -> str:
        return f"{self.record.method}, seed {self.record.seed}"


def runs_of(folders: Sequence[Path]) -> list[Run]:
    """The runs of some folders, which must belong together: one study's, no method and seed twice.

    Raises:
        Mistake: naming each folder that is none of a finished run, and all that sets the runs apart.
    """
    runs: list[Run] = []
    problems: list[str] = []
    for folder in map(Path, folders):
        try:
            runs.append(Run(folder, finished_record(folder)))
        except Mistake as mistake:
            problems += mistake.problems
            continue
        if not any((folder / kept).is_dir() for kept in ("model", "adapter")):
            problems.append(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    if not folders:
        problems.append("no run is given; name the folders of a study's runs")
    problems += _apart(runs)
    if problems:
        raise Mistake(*problems)
    return runs


def data_of(runs: Sequence[Run], data: Path | None = None, test_data: Path | None = None) -> TextData:
    """The data that the runs were tested on, read again; `Mistake` if they cannot be had, or are others by content."""
    folder, record = runs[0].folder, runs[0].record
    moved = {"data": data, "test_data": test_data}
    asked = {**record.asked["data"], **{name: str(path) for name, path in moved.items() if path is not None}}
    try:
        task = load_task(record.asked["task"], asked)
    except Mistake as mistake:
        hint = f"the run in {folder} was tested on these data; say with --data (and --test-data) where they are now"
        raise Mistake(*mistake.problems, hint) from None
    if task.sha256 != record.data["sha256"]:
        raise Mistake(
            f"the data of task {task.task} ({task.source}) have SHA-256 {task.sha256[:12]}…, and the run in {folder}"
            f" was trained and tested on {record.data['sha256'][:12]}…; give them with --data as they were then"
        )
    return task


def _apart(runs: Sequence[Run]) -> list[str]:
    """What keeps runs from being compared."""
    problems = []
    wanted: Mapping[str, Callable[[RunRecord], str]] = {
        "task": lambda record: str(record.asked["task"]),
        "data": lambda record: str(record.data["sha256"])[:12],
        "base model": lambda record: f"{record.model['name']} ({record.model['sha256'][:12]})",
    }
    for what, of in wanted.items():
        if len(found := {of(one.record): one.folder for one in runs}) > 1:
            told = ", ".join(f"{value} in {folder}" for value, folder in found.items())
            problems.append(f"the runs are of different {what}: {told}; give runs of one study at a time")
            break  # other tasks have other data
    problems += _settings_apart(runs)
    named = [str(one) for one in runs]
    return problems + [
        f"{one} is given {named.count(one)} times; give one run of a method and seed"
        for one in dict.fromkeys(named)
        if named.count(one) > 1
    ]


def _settings_apart(runs: Sequence[Run]) -> list[str]:
    """Runs of one method with other settings: its seeds would be told as one, though they are not."""
    problems = []
    first: dict[str, Run] = {}
    for one in runs:
        other = first.setdefault(one.record.method, one)
        ours, theirs = _settings(one), _settings(other)
        differ = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        if differ:
            told = ", ".join(f"{name} {theirs.get(name)} and {ours.get(name)}" for name in differ)
            problems.append(
                f"the runs of {one.record.method} in {other.folder} and {one.folder} have different settings"
                f" ({told}); give runs of one study at a time"
            )
    return problems


def _settings(run: Run) -> dict[str, Any]:
    """What a run was trained with, beside its method and seed."""
    asked = run.record.asked
    return {**asked.get("training", {}), **asked.get("options", {}), "max_length": asked.get("max_length")}
