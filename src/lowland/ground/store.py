"""Where records lie: one folder a run, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from filelock import FileLock

from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord, StressRecord, read_record, read_stress_record


def key_of(asked: Mapping[str, Any]) -> str:
    """The key of what was asked: SHA-256 of its canonical JSON, 16 hexadecimal digits."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


class Store:
    """A folder of runs.

    A run is written beside its place and renamed into it when it is whole, so a reader never meets half a run, and
    a run that is killed leaves nothing that counts. One process at a time works on a run (`claim`).

    Args:
        root: the folder; it is made when the first run is written.
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
        """The record of a finished run, or stress test, of that name, or None. A failed one does not count."""
        folder = self.root / name
        if not folder.is_dir():
            return None
        record = read_record(folder) if kind is RunRecord else read_stress_record(folder)
        return record if record.status == "finished" else None

    @contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Hold a run against other processes; what a killed one left unfinished is cleared away.

        The lock is the operating system's: it ends with the process, however that ends.
        """
        locks = self.root / ".locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Mistake(f"out is {self.root}, which is a file; name a folder") from None
        with FileLock(locks / f"{name}.lock"):
            self._clear(name)
            yield

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A folder to write a claimed run into. It takes its place, or an earlier one's, when the block ends well.

        When the block raises, what it wrote is removed, and an earlier run of that name stays as it was.
        """
        partial, replaced, place = self._partial(name), self._replaced(name), self.root / name
        partial.mkdir(parents=True)
        try:
            yield partial
            _sync(partial)
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


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole, or as it was before."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Have the system put a folder's files on the disk before the folder takes its place."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
