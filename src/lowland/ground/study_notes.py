"""Notes of the studies that run in a folder: which runs each of them makes, so that others can follow it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lowland.ground.provenance import utc_now
from lowland.ground.store import is_locked, key_of, write_whole

FOLDER = ".studies"
"""Hidden folder of the notes, in a folder of runs; it is there while studies run."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study makes: the name of its folder, the label of its method, and its seed."""

    name: str
    method: str
    seed: int


@dataclass(frozen=True)
class StudyNote:
    """Note of a study that runs.

    Attributes:
        started: UTC time, in ISO 8601.
        fresh: whether runs that were finished before are run again.
        runs: its runs, in their order.
        is_held: whether its process is alive; a killed one leaves its note behind.
    """

    started: str
    fresh: bool
    runs: tuple[PlannedRun, ...]
    is_held: bool = True


@contextmanager
def study_note(root: Path, runs: Sequence[PlannedRun], *, fresh: bool = False) -> Iterator[None]:
    """Leave a note of a study in its folder of runs until the block ends.

    A lock, which ends with the process, says that the note holds. If another process runs the same study there, its
    note is enough.

    Args:
        root: the folder of runs.
        runs: the runs of the study.
        fresh: whether runs that were finished before are run again.

    Raises:
        OSError: if the note cannot be written.
    """
    folder = root / FOLDER
    key = key_of({"runs": [run.name for run in runs]})
    folder.mkdir(parents=True, exist_ok=True)
    note, lock = folder / f"{key}.json", FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        yield
        return
    try:
        planned = [asdict(run) for run in runs]
        write_whole(note, json.dumps({"started": utc_now(), "fresh": fresh, "runs": planned}))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        with suppress(OSError):  # another study has its note there
            folder.rmdir()


def read_study_notes(root: Path) -> list[StudyNote]:
    """Return the notes of the studies that run in a folder, and of those whose process was killed."""
    notes = []
    for path in sorted((root / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, LookupError, TypeError):  # it ends, or another version wrote it
            values = json.loads(path.read_text(encoding="utf-8"))
            runs = tuple(PlannedRun(**run) for run in values["runs"])
            is_held = is_locked(path.with_suffix(".lock"))
            notes.append(StudyNote(str(values["started"]), bool(values["fresh"]), runs, is_held))
    return notes
