"""Records of finished runs: what they ask for, and whether the weights are those that the run saved."""

from __future__ import annotations

from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.provenance import hashes_in
from lowland.ground.record_files import read_record
from lowland.ground.records import RunRecord
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData, TaskFields
from lowland.tasks.table import load_data, task_fields, task_named

WEIGHTS_FOLDERS = ("adapter", "model")
"""Folders in that of a run that hold what it trained; it has one of them."""


def fields_of(record: RunRecord) -> TaskFields:
    """Return the task fields of a run's request."""
    return task_fields(**record.asked["task"])


def data_of(
    folder: Path, record: RunRecord, data: Path | None = None, test_data: Path | None = None
) -> TaskData:
    """Read the data of a run again, as they were.

    Args:
        folder: of the run.
        record: its record.
        data: the data file, if it has moved.
        test_data: the file with the test set, if it has moved.

    Raises:
        Mistake: if the data cannot be read, or their content has changed.
    """
    moved = {name: str(path) for name, path in (("data", data), ("test_data", test_data)) if path is not None}
    try:
        task_data = load_data(task_fields(**{**record.asked["task"], **moved}))
    except Mistake as mistake:
        hint = f"the run in {folder} was tested on these data; say with --data (and --test-data) where they are now"
        raise Mistake(*mistake.problems, hint) from None
    recorded = str(record.data.get("sha256"))
    if task_data.sha256 != recorded:
        raise Mistake(
            f"the data of task {task_data.task} ({task_data.source}) have SHA-256 {task_data.sha256[:12]}…, and"
            f" the run in {folder} was trained and tested on {recorded[:12]}…;"
            " give them with --data as they were then"
        )
    return task_data


def check_same_model(folder: Path, record: RunRecord, source: ModelSource) -> None:
    """Check by SHA-256 that a model is the one that a run was trained on.

    Raises:
        Mistake: if it is not, or the record does not say.
    """
    for part, words in (("sha256", "weights"), ("files_sha256", "config and tokenizer")):
        if part not in record.model:
            raise Mistake(
                f"the record in {folder} has no {part} of the base model; it was written by an older lowland: run it"
                f" again, or name {folder / 'adapter'}, which is not compared with its base"
            )
        if source.describe()[part] != record.model[part]:
            raise Mistake(
                f"the {words} of the base model {source.title} have SHA-256 {source.describe()[part]};"
                f" the run in {folder} was trained on {record.model[part]}"
            )


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
