"""Records of finished runs: what they ask for, and whether the weights are those that the run saved."""

from __future__ import annotations

from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.provenance import hashes_in
from lowland.ground.record_files import read_record
from lowland.ground.records import RunRecord
from lowland.tasks.examples import TaskFields
from lowland.tasks.table import task_fields, task_named

WEIGHTS_FOLDERS = ("adapter", "model")
"""Folders in that of a run that hold what it trained; it has one of them."""


def fields_of(record: RunRecord) -> TaskFields:
    """Return the task fields of a run's request."""
    return task_fields(**record.asked["task"])


def check_weights(folder: Path, record: RunRecord) -> None:
    """Check by SHA-256 that a run's adapter or model is the one that it saved.

    Args:
        folder: folder of the run.
        record: its record; one without hashes is not checked.

    Raises:
        Mistake: if a file is missing or differs.
    """
    for part in WEIGHTS_FOLDERS:
        saved = {name: sha256 for name, sha256 in record.files.items() if name.startswith(f"{part}/")}
        now = {f"{part}/{name}": sha256 for name, sha256 in hashes_in(folder / part).items()}
        if changed := [name for name, sha256 in saved.items() if now.get(name) != sha256]:
            raise Mistake(
                f"{', '.join(str(folder / name) for name in changed)}: missing, or changed since the run saved it;"
                f" restore it, run again with --fresh, or name {folder / part}, which is compared with no record"
            )


def finished_record(folder: Path) -> RunRecord:
    """Return the record of a finished run.

    Raises:
        Mistake: if there is no record, or the run failed.
    """
    record = read_record(folder)
    if record.status != "finished":
        failure = (record.failure or "no reason is recorded").splitlines()[0]
        raise Mistake(f"the run in {folder} failed ({failure}); run it again")
    if problem := _damage(record):
        raise Mistake(f"the record in {folder} {problem}; run it again with --fresh")
    return record


def _damage(record: RunRecord) -> str | None:
    """Return what a record lacks of what its model is loaded by; None if it is all there."""
    asked = record.asked
    model, revision, length = asked.get("model"), asked.get("revision", ...), asked.get("max_length")
    if not isinstance(model, str) or not isinstance(revision, str | None):
        return f"holds {model!r:.60} for the model, and {'no' if revision is ... else repr(revision)[:60]} revision"
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        return f"holds {length!r:.60} for max_length"
    labels = record.data.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return f"holds {labels!r:.60} for the labels"
    if task_named(record.task).has_classes and (len(labels) < 2 or len(set(labels)) < len(labels)):
        return f"holds {labels!r:.60} for the labels, which are at least two"
    return None
