"""Cache folder for what takes long to make: each entry is made by one process, completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lowland.ground.cache_folder import VARIABLE, cache_folder
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.progress import Progress
from lowland.ground.store import flush_files

SILENT_SECONDS = 2.0
"""Seconds of waiting for another process after which a person is informed."""


def made_once(
    name: str,
    make: Callable[[Path], None],
    is_intact: Callable[[Path], bool],
    *,
    size: int,
    progress: Progress,
) -> Path:
    """Return the folder of an entry of the cache; make the entry if it is missing or damaged.

    The entry is made in a folder `NAME.partial`, which is renamed when it is complete. A killed process leaves only
    that folder, which the next process removes. A second process waits for the first one, and uses its entry.

    Args:
        name: name of the entry's folder.
        make: fills the folder that it is given.
        is_intact: whether the folder of an entry holds what `make` wrote. It may be called without a lock.
        size: bytes that `make` needs on the disk, at most.
        progress: says that another process is being waited for, and that a damaged entry is made again.

    Raises:
        Mistake: if the cache folder cannot be written, or lacks the space.
    """
    place = cache_folder() / name
    if place.is_dir() and is_intact(place):
        return place
    with _as_mistake(place.parent, size):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place, progress):
            partial = place.with_name(f"{name}.partial")
            if place.is_dir() and is_intact(place):  # another process has made it meanwhile
                return place
            if place.exists():
                progress.say(f"{place} is damaged, and is made again")
            for leftover in (partial, place):
                _remove(leftover)
            partial.mkdir()
            try:
                make(partial)
                flush_files(partial)
                partial.rename(place)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    return place


@contextmanager
def _locked(place: Path, progress: Progress) -> Iterator[None]:
    """Lock an entry. The lock is the operating system's: it ends with the process, however that ends."""
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire(timeout=SILENT_SECONDS)
    except Timeout:
        progress.say(f"another process is making {place}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


@contextmanager
def _as_mistake(folder: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Mistake(
            f"the cache folder {folder} cannot be written ({error.strerror or reason_of(error)}); up to"
            f" {size / 1e6:,.0f} MB are needed: make space there, or name another folder in {VARIABLE}"
        ) from error
