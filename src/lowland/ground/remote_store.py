"""Store behind a URL: runs are written in a folder of this machine, and copied to the URL when they are complete."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator

from lowland.ground.cache_folder import cache_folder
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.records import RunRecord, StressRecord
from lowland.ground.remote import ORIGIN_FILE, RECORD_FILE, RemoteFolder, is_url, shown
from lowland.ground.store import Store

TRIES = 5
"""Number of times that a run is read which another machine replaces meanwhile."""


class RemoteStore(Store):
    """Folder of runs behind a URL, with a copy in the cache folder of this machine.

    A reader elsewhere sees a run when its `record.json` is there, which is copied last. The record behind the URL
    decides: `find` fetches a run whose copy is missing or differs, and copies a finished one that the URL lacks.
    Locks hold on this machine only.

    Args:
        url: the URL.

    Raises:
        Mistake: if its file system cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.remote = RemoteFolder(url)
        super().__init__(mirror_of(url))

    def prepare(self, names: Sequence[str], *, fresh: bool = False) -> int:
        """Fetch runs that are finished; unless all are, check that the URL can be written. See `Store.prepare`."""
        self.remote.check_readable()
        before = {name for name in names if (self.root / name / RECORD_FILE).exists()}
        unfinished = [name for name in names if self._find_claimed(name) is None]
        if fresh or unfinished or not names:
            self.remote.check_writable()
        return len(set(names) - before - set(unfinished))

    def fetch(self, name: str) -> bool:
        """Bring the copy of a claimed run up to date; return whether the URL holds the run.

        A failed run behind the URL does not replace a finished one here.

        Raises:
            Mistake: if it cannot be read, or another machine replaces it again and again.
        """
        for _ in range(TRIES):
            record, files = self.remote.read(f"{name}/{RECORD_FILE}"), self.remote.files(name)
            if record is None or self._is_better(name, record):
                return False
            if self._has(name, record, files):
                return True
            with super().writing(name) as partial:
                self.remote.download(name, partial)
                (partial / RECORD_FILE).write_bytes(record)
            if (
                self.remote.read(f"{name}/{RECORD_FILE}") == record
            ):  # so its other files are those of this record
                return True
        raise Mistake(f"{self.remote.shown}/{name} changes while it is read; wait until it is written")

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a folder to write a claimed run into, and copy it to the URL; see `Store.writing`."""
        with super().writing(name) as partial:
            yield partial
        self._publish(name)

    def checkpoints(self, name: str) -> Path:
        """Return the folder of an unfinished run's checkpoints, with those of another machine if it published any."""
        folder = super().checkpoints(name)
        if self.remote.files(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            self.remote.download(folder.name, folder)
        return folder

    def publish_checkpoints(self, name: str) -> None:
        """Copy the checkpoints of a run to the URL; those of another origin are removed there first."""
        folder = super().checkpoints(name)
        if self.remote.read(f"{folder.name}/{ORIGIN_FILE}") != (folder / ORIGIN_FILE).read_bytes():
            self.remote.remove_folder(folder.name)
        self.remote.upload(folder, folder.name)

    def remove_checkpoints(self, name: str) -> None:
        """Remove the checkpoints of a run, here and behind the URL."""
        super().remove_checkpoints(name)
        self.remote.remove_folder(super().checkpoints(name).name)

    def _find(self, name: str, kind: type[RunRecord] | type[StressRecord]) -> RunRecord | StressRecord | None:
        is_there = self.fetch(name)
        record = super()._find(name, kind)
        if record is not None and not is_there:
            self._publish(name)  # it was finished when the URL could not be reached
        return record

    def _find_claimed(self, name: str) -> RunRecord | None:
        with self.claim(name):
            return self.find_to_replace(name)

    def _has(self, name: str, record: bytes, files: dict[str, int]) -> bool:
        """Return whether the copy of a run has this record and files of these sizes."""
        folder = self.root / name
        try:
            sizes = {path: (folder / path).stat().st_size for path in files}
            return sizes == files and (folder / RECORD_FILE).read_bytes() == record
        except OSError:
            return False

    def _is_better(self, name: str, record: bytes) -> bool:
        """Return whether the copy of a run is finished, and the run behind the URL is not."""
        try:
            ours = (self.root / name / RECORD_FILE).read_bytes()
        except OSError:
            return False
        return _status(ours) == "finished" and _status(record) != "finished"

    def _publish(self, name: str) -> None:
        """Copy a run to the URL; until its record is there, readers see none."""
        try:
            self.remote.remove(f"{name}/{RECORD_FILE}")
            self.remote.upload(self.root / name, name)
        except Mistake as mistake:
            raise Mistake(f"{mistake}; {self.root / name} is kept, and the same command copies it") from None


def _status(record: bytes) -> str | None:
    try:
        return str(json.loads(record)["status"])
    except (ValueError, LookupError, TypeError):
        return None


def open_store(place: str | Path) -> Store:
    """Return the store in a folder, or behind a URL.

    Raises:
        Mistake: if the URL's file system cannot be opened.
    """
    return RemoteStore(str(place)) if is_url(place) else Store(place)


def mirror_of(url: str) -> Path:
    """Return the folder of this machine that holds copies of the runs behind a URL; it depends on no credentials."""
    name = shown(url)
    words = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:60]
    return cache_folder() / "runs" / f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def fetch_runs(url: str) -> list[Path]:
    """Fetch the run behind a URL, or all runs of the folder behind it; return the folders of their copies.

    Raises:
        Mistake: if there is no run.
    """
    store, names = _runs_behind(url)
    fetched = []
    for name in names:
        with store.claim(name):
            if store.fetch(name):
                fetched.append(store.root / name)
    if not fetched:
        raise Mistake(f"{shown(url)} holds no run; name the URL of a run, or of a folder of runs")
    return fetched


def folder_of_runs(value: Any) -> Any:
    """Return the folder of the copies if a value is the URL of a folder of runs; return another value as it is.

    Raises:
        Mistake: if there is no run.
    """
    if not is_url(value):
        return value
    fetch_runs(value)
    return mirror_of(value)


def _runs_behind(url: str) -> tuple[RemoteStore, list[str]]:
    """Return the store of a run and its name, or a store and the names of its runs."""
    folder, _, name = url.rstrip("/").rpartition("/")
    store = RemoteStore(folder)
    store.remote.check_readable()
    if store.remote.read(f"{name}/{RECORD_FILE}") is not None:
        return store, [name]
    store = RemoteStore(url)
    return store, [name for name in store.remote.folders() if RECORD_FILE in store.remote.files(name)]


def fetched(value: Any) -> Any:
    """Return the folder of a run's copy if a value is the run's URL; return another value as it is.

    Raises:
        Mistake: if there is no run, or several.
    """
    if not is_url(value):
        return value
    store, names = _runs_behind(value)
    if names and store.remote.url == value.rstrip("/"):
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise Mistake(
            f"{shown(value)} is a folder of {plural(len(names), 'run')}; name one of them: {listed}"
        )
    return fetch_runs(value)[0]


def _each_fetched(value: Any) -> Any:
    """Turn each URL among several folders into the folders of the copies of its runs."""
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(folder for place in values for folder in (fetch_runs(place) if is_url(place) else (place,)))


FromURL = BeforeValidator(fetched)
"""Lets a field that takes the folder of a run take its URL, too."""
EachFromURL = BeforeValidator(_each_fetched)
"""Lets a field that takes folders of runs take URLs, too."""
