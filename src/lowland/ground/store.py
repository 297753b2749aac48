"""Store of records: one folder per run, written completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, overload

from filelock import FileLock, Timeout

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import UnreadableRecord, read_record, read_stress_record, renewal
from lowland.ground.records import RunRecord, StressRecord
from lowland.ground.visible import visible


def key_of(asked: Mapping[str, Any]) -> str:
    """Return the key of a request: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


class InUse(Mistake):
    """A process works on a run."""


class Store:
    """Folder of runs.

    A run is written to a hidden `.partial` folder and renamed when it is complete. A reader therefore never sees a
    partial run. A killed run leaves only the hidden folder, which the next `claim` removes. One process at a time works
    on a run (`claim`).

    Args:
        root: the folder; it is made when the first run is claimed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @overload
    def find(self, name: str) -> RunRecord | None: ...

    @overload
    def find(self, name: str, kind: type[StressRecord]) -> StressRecord | None: ...

    def find(
        self, name: str, kind: type[RunRecord] | type[StressRecord] = RunRecord
    ) -> RunRecord | StressRecord | None:
        """Return the record of a finished run, or stress test, of that name; None if it is missing or not finished.

        Raises:
            Mistake: if its folder has no record of this kind and version that can be read.
        """
        return self._find(name, kind)

    @overload
    def find_to_replace(self, name: str, kind: type[RunRecord] = RunRecord) -> RunRecord | None: ...

    @overload
    def find_to_replace(self, name: str, kind: type[StressRecord]) -> StressRecord | None: ...

    @overload
    def find_to_replace(
        self, name: str, kind: type[RunRecord] | type[StressRecord]
    ) -> RunRecord | StressRecord | None: ...

    def find_to_replace(
        self, name: str, kind: type[RunRecord] | type[StressRecord] = RunRecord
    ) -> RunRecord | StressRecord | None:
        """Return what `find` does, of a record that is about to be replaced; None, too, where it cannot be read."""
        try:
            return self._find(name, kind)
        except Mistake:
            return None

    @contextmanager
    def claim(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Lock a run against other processes, and remove incomplete folders that a killed process left.

        The lock is the operating system's: it ends with the process, however that ends.

        Args:
            name: of the run.
            wait: whether to wait for a process that works on the run.

        Raises:
            Mistake: if the store's folder is a file.
            InUse: if a process works on the run, and this one does not wait.
        """
        lock = self._lock(name)
        self._make(lock.parent)
        held = FileLock(lock, timeout=-1 if wait else 0)
        try:
            held.acquire()
        except Timeout:
            raise InUse(in_use(self.root / name)) from None
        try:
            self._clear(name)
            yield
        finally:
            held.release()

    def is_claimed(self, name: str) -> bool:
        """Return whether a process works on a run; nothing is written."""
        return is_locked(self._lock(name))

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a folder to write a claimed run into; it becomes the run's folder when the block ends without an error.

        An earlier run of that name is replaced. When the block raises, the folder is removed, and an earlier run stays.
        """
        partial, replaced, place = self._partial(name), self._replaced(name), self.root / name
        try:
            partial.mkdir(parents=True)
            yield partial
            flush_files(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        try:
            if place.exists():
                place.rename(replaced)
            partial.rename(place)
        except BaseException:
            self._clear(name)
            raise
        shutil.rmtree(replaced, ignore_errors=True)

    def prepare(self, names: Sequence[str], *, fresh: bool = False) -> int:
        """Get ready for runs of these names, before any of them is begun.

        Args:
            names: names of the runs.
            fresh: whether all of them will be written, also those that are finished.

        Returns:
            The number of finished runs that were fetched from elsewhere: here 0.

        Raises:
            Mistake: if the store's folder is a file, or its URL cannot be read or written.
        """
        self._make(self.root)
        return 0

    def fetch(self, name: str) -> bool:
        """Bring a claimed run into this folder, if it is elsewhere; return whether there is one."""
        return (self.root / name / "record.json").is_file()

    def checkpoints(self, name: str) -> Path:
        """Return the hidden folder for what an unfinished run goes on from."""
        return self.root / f".{name}.checkpoints"

    def begun(self, name: str) -> Path:
        """Return the hidden folder for the note that a run leaves until it ends: its record, as far as it is known."""
        return self.root / f".{name}.begun"

    def leftovers(self, name: str) -> list[Path]:
        """Return the hidden folders of a run that is not finished, or was not while it was run again."""
        hidden = (self._partial(name), self._replaced(name), self.checkpoints(name), self.begun(name))
        places = (*hidden, self.root / ".unfinished" / name)
        return [path for path in places if path.is_dir() and not path.is_symlink()]

    def remove(self, name: str) -> None:
        """Remove a claimed run, and what is hidden beside it; its folder is gone at once."""
        place, partial = self.root / name, self._partial(name)
        if place.exists():
            place.rename(partial)  # if this process is killed now, the next claim removes the rest
        for path in self.leftovers(name):
            shutil.rmtree(path)

    def publish_checkpoints(self, name: str) -> None:
        """Copy the checkpoints of a run to where other machines find them: for this store, they are there already."""

    def remove_checkpoints(self, name: str) -> None:
        """Remove the checkpoints of a run, if it has any."""
        shutil.rmtree(self.root / f".{name}.checkpoints", ignore_errors=True)

    def _find(self, name: str, kind: type[RunRecord] | type[StressRecord]) -> RunRecord | StressRecord | None:
        folder = self.root / name
        if not folder.is_dir():
            return None
        try:
            record = read_record(folder) if kind is RunRecord else read_stress_record(folder)
        except UnreadableRecord as error:
            raise Mistake(f"{error.reason}; {renewal(folder)}") from None
        return record if record.status == "finished" else None

    def _lock(self, name: str) -> Path:
        return self.root / ".locks" / f"{name}.lock"

    def _make(self, folder: Path) -> None:
        """Make the store's folder, or one in it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Mistake(f"out is {self.root}, which is a file; name a folder") from None

    def _partial(self, name: str) -> Path:
        return self.root / f".{name}.partial"

    def _replaced(self, name: str) -> Path:
        return self.root / f".{name}.replaced"

    def _clear(self, name: str) -> None:
        shutil.rmtree(self._partial(name), ignore_errors=True)
        replaced, place = self._replaced(name), self.root / name
        if replaced.exists() and not place.exists():
            replaced.rename(place)  # killed between the two renames: the earlier run comes back
        shutil.rmtree(replaced, ignore_errors=True)


def is_locked(lock: Path) -> bool:
    """Return whether a process holds a lock; a file that is not there is none, and nothing is written."""
    if not lock.is_file() or not os.access(lock, os.W_OK):
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def in_use(folder: Path) -> str:
    """Return the sentence for a run that a process works on."""
    return f"a process works on {visible(str(folder))}; wait until it has ended, or end it"


def expand_runs(folders: Sequence[Path], kind: type[RunRecord] | type[StressRecord]) -> tuple[Path, ...]:
    """Replace each folder of runs by the finished runs in it; a folder without any stays, to be refused by name.

    Args:
        folders: of runs, or that hold folders of runs.
        kind: of the runs that are wanted; others are left out.
    """
    runs: list[Path] = []
    for folder in folders:
        inside = [] if (folder / "record.json").exists() else finished_in(folder, kind)
        known = {run.resolve() for run in runs}
        runs += [run for run in inside if run.resolve() not in known] or ([] if inside else [folder])
    return tuple(runs)


def finished_in(folder: Path, kind: type[RunRecord] | type[StressRecord]) -> list[Path]:
    """Return the finished runs, or stress tests, in the folder of a store."""
    store = Store(folder)
    names = sorted(path.parent.name for path in folder.glob("[!.]*/record.json"))
    return [folder / name for name in names if store.find_to_replace(name, kind) is not None]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically, a text in UTF-8; if writing fails, an existing file is unchanged."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        if isinstance(content, str):
            partial.write_text(content, encoding="utf-8")
        else:
            partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def making_parents(out: Path) -> Iterator[None]:
    """Make the parent folders of a path; remove the new ones after the block if they are empty."""
    made = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in made:  # the innermost comes first
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def flush_files(folder: Path) -> None:
    """Flush a folder's files to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
