"""Lists of what folders of runs hold: runs and stress tests that are finished, failed, unfinished or damaged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lowland.ground.mistakes import Mistake
from lowland.ground.names import nearest
from lowland.ground.record_files import OtherVersion, UnreadableRecord, read_any_record, read_record
from lowland.ground.records import RunRecord, StressRecord
from lowland.ground.store import Store
from lowland.ground.visible import visible

State = Literal["finished", "failed", "incomplete", "unfinished", "running", "damaged", "other version"]
"""State of a run or a stress test.

- "finished", "failed", and of a stress test "incomplete": as its record says;
- "unfinished": it was begun, and has no record; "running": the same, or failed before, and a process works on it;
- "damaged", "other version": it has a record that cannot be read.
"""

NAME = re.compile(r".+-[0-9a-f]{10}(-failed|-unfinished)?", re.DOTALL)
"""Names of the folders of runs and stress tests: they end in the beginning of a key."""
HIDDEN = re.compile(rf"\.({NAME.pattern})\.(partial|checkpoints|begun|replaced)", re.DOTALL)
"""Names of the hidden folders that an unfinished run leaves."""


@dataclass(frozen=True)
class Entry:
    """Run or stress test in a folder of runs.

    Attributes:
        folder: its folder; it need not exist, if the run is unfinished.
        state: its state.
        record: its record; of an unfinished run, what was known when it began; None if that cannot be read.
        reason: why a record cannot be read; "" if it can.
        has_checkpoints: whether an unfinished run has checkpoints that it can go on from.
    """

    folder: Path
    state: State
    record: RunRecord | StressRecord | None = None
    reason: str = ""
    has_checkpoints: bool = False

    @property
    def name(self) -> str:
        """Name of its folder, with invisible characters by their numbers."""
        return visible(self.folder.name)

    @property
    def store(self) -> Store:
        """The store that it is in."""
        return Store(self.folder.parent)

    def __str__(self) -> str:
        return visible(str(self.folder))


def list_folder(root: Path) -> list[Entry]:
    """Return the runs and stress tests in a folder, in the order of their names.

    Raises:
        Mistake: if it does not exist, or is a file.
    """
    try:
        names = {name for path in root.iterdir() if (name := _name_of(path))}
    except FileNotFoundError:
        raise Mistake(f"{visible(str(root))} does not exist; name a folder of runs") from None
    except NotADirectoryError:
        raise Mistake(f"{visible(str(root))} is a file; name a folder of runs") from None
    stress = root / ".unfinished"
    if stress.is_dir():
        names |= {path.name for path in stress.iterdir() if NAME.fullmatch(path.name) and path.is_dir()}
    return [_entry(root / name) for name in sorted(names)]


def entries_at(path: Path) -> list[Entry]:
    """Return a run or stress test, or those in a folder.

    Args:
        path: of one, which need not exist if the run is unfinished; or of a folder that holds them.

    Raises:
        Mistake: if there is neither.
    """
    path = path.resolve() if path.name in ("", "..") else path
    if _has_record(path):
        return [_entry(path)]
    if not path.exists() and path.parent.is_dir():
        inside = [entry for entry in list_folder(path.parent) if entry.folder.name == path.name]
        if inside:
            return inside
        if sentence := no_such_run(path):
            raise Mistake(sentence)
    if path.is_file() or not path.exists():
        what = "is a file" if path.exists() else "does not exist"
        raise Mistake(f"{visible(str(path))} {what}; name the folder of a run, or a folder of runs")
    return list_folder(path)


def no_such_run(path: Path) -> str | None:
    """Return the sentence for a path to a run that is not there, with the nearest name; None if no run is beside it."""
    states = (
        {entry.folder.name: entry.state for entry in list_folder(path.parent)} if path.parent.is_dir() else {}
    )
    if not states:
        return None
    near, here = nearest(path.name, list(states)), visible(str(path.parent))
    if state := states.get(path.name):
        advice = (
            "wait for its end" if state == "running" else f"lowland study retry {here} runs it to its end"
        )
        return f"the run {visible(path.name)} in {here} is {state}; {advice}"
    hint = f"did you mean {visible(near)}? " if near is not None else ""
    return f"{here} has no run {visible(path.name)}; {hint}lowland study ls {here} lists its runs"


def entry_at(path: Path) -> Entry:
    """Return the run or stress test at a path.

    Raises:
        Mistake: if there is none; of a folder of runs, the sentence names some of them.
    """
    entries = entries_at(path)
    if len(entries) == 1 and entries[0].folder.name == (path if path.name else path.resolve()).name:
        return entries[0]
    names = ", ".join(entry.name for entry in entries[:5]) + (", …" if len(entries) > 5 else "")
    here = visible(str(path))
    raise Mistake(
        f"{here} is a folder of runs; name one of them: {names}" if entries else f"{here} holds no record"
    )


def training_runs(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Split entries into those of training runs, and those of stress tests."""
    runs: list[Entry] = []
    stress: list[Entry] = []
    for entry in entries:
        (stress if is_stress(entry) else runs).append(entry)
    return runs, stress


def is_stress(entry: Entry) -> bool:
    """Return whether an entry is a stress test; what is unfinished is one if it is kept where these are."""
    if entry.record is not None:
        return isinstance(entry.record, StressRecord)
    return (entry.folder.parent / ".unfinished" / entry.folder.name).is_dir()


def finished_runs(entries: Sequence[Entry]) -> dict[Path, RunRecord]:
    """Return the records of the finished training runs among entries, by folder."""
    return {
        entry.folder: entry.record
        for entry in entries
        if entry.state == "finished" and isinstance(entry.record, RunRecord)
    }


def _name_of(path: Path) -> str | None:
    """Return the name of the run that a path in a folder of runs belongs to; None if it belongs to none."""
    if path.name.startswith("."):
        hidden = HIDDEN.fullmatch(path.name)
        return hidden[1] if hidden and path.is_dir() and not path.is_symlink() else None
    return path.name if _has_record(path) else None


def _has_record(folder: Path) -> bool:
    """Return whether a folder has a record; one that may not be looked into has none."""
    try:
        return (folder / "record.json").exists()
    except OSError:
        return False


def _entry(folder: Path) -> Entry:
    store, name = Store(folder.parent), folder.name
    if not folder.is_dir():
        return Entry(
            folder,
            "running" if store.is_claimed(name) else "unfinished",
            _begun(store.begun(name)),
            has_checkpoints=store.checkpoints(name).is_dir(),
        )
    try:
        record = read_any_record(folder)
    except OtherVersion as error:
        return Entry(folder, "other version", reason=visible(error.reason))
    except UnreadableRecord as error:
        return Entry(folder, "damaged", reason=visible(error.reason))
    if record.status == "finished":
        return Entry(folder, "finished", record)
    if store.is_claimed(name):
        return Entry(folder, "running", record)
    if record.status == "failed":
        return Entry(folder, "failed", record)
    if record.status == "incomplete" and isinstance(record, StressRecord):
        return Entry(folder, "incomplete", record)
    return Entry(
        folder,
        "damaged",
        reason=visible(f"{folder / 'record.json'} holds {record.status!r:.60} for 'status'"),
    )


def _begun(folder: Path) -> RunRecord | None:
    """Return the note of a run that was begun; None if there is none that can be read."""
    try:
        return read_record(folder)
    except Mistake:
        return None
