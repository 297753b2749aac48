"""Folder behind a URL: in an object store, or in any other file system that fsspec knows."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar
from uuid import uuid4

from lowland.ground.mistakes import Mistake, reason_of

T = TypeVar("T")

RECORD_FILE = "record.json"
"""File that a run is complete with."""
STATE_FILE, ORIGIN_FILE = "trainer_state.json", "origin.json"
"""File that a checkpoint is complete with, and the one that says which code and environment checkpoints are of."""
LAST_FILES = (RECORD_FILE, STATE_FILE)
"""Files that are copied last: a folder that holds its own is complete, a run's or a checkpoint's."""
WITH_FOLDERS = {"file", "local", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs", "arrow_hdfs", "webdav"}
"""Protocols of file systems in which a file's folder is made before the file; an object store would make a bucket."""
ANSWER_SECONDS = 60.0
"""Seconds that a file system may take to answer for the first time."""


def is_url(place: object) -> bool:
    """Return whether a place is a URL, and not a path on this machine."""
    return isinstance(place, str) and "://" in place


def shown(url: str) -> str:
    """Return a URL as a person may see it: without user, password and query.

    Examples:
        >>> shown("ftp://me:secret@host/runs?token=1")
        'ftp://host/runs'
    """
    return re.sub(r"://(?:[^/:@]*:.*@|[^/]*@)", "://", url).partition("?")[0].rstrip("/")


class RemoteFolder:
    """Folder behind a URL, whose files are copied from and to folders of this machine.

    Every error of the file system becomes a `Mistake` of one sentence, without the secrets of the URL.

    Args:
        url: the URL; credentials come from where its file system looks for them, such as AWS_PROFILE.

    Raises:
        Mistake: if the URL's protocol is unknown, or needs a package that is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.shown = shown(url)
        with self._errors_of("opening"):
            from fsspec.core import url_to_fs

            self._system, self._path = url_to_fs(self.url, use_listings_cache=False)
        protocols = self._system.protocol
        self._has_folders = not WITH_FOLDERS.isdisjoint(
            [protocols] if isinstance(protocols, str) else protocols
        )

    def check_readable(self) -> None:
        """Check that the file system answers.

        Raises:
            Mistake: if it does not, or refuses access.
        """
        with self._errors_of("reading"):
            _within(ANSWER_SECONDS, lambda: self._system.exists(f"{self._path}/{RECORD_FILE}"))

    def check_writable(self) -> None:
        """Check that files can be written, by writing one and removing it.

        Raises:
            Mistake: if they cannot, as where the bucket does not exist.
        """
        place = f"{self._path}/.lowland-{uuid4().hex}"
        with self._errors_of("writing"):
            self._make_folder_of(place)
            _within(ANSWER_SECONDS, lambda: self._system.pipe_file(place, b"lowland"))
            self._system.rm_file(place)

    def folders(self) -> list[str]:
        """Return the names of the folders in this one, without hidden ones."""
        with self._errors_of("reading"):
            try:
                entries = self._system.ls(self._path, detail=True)
            except FileNotFoundError:
                return []
        names = [str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries]
        return sorted(name for name in names if name and not name.startswith("."))

    def files(self, name: str) -> dict[str, int]:
        """Return the files in a folder and its subfolders, by their path in it, with their sizes in bytes."""
        root = f"{self._path}/{name}"
        with self._errors_of("reading"):
            try:
                entries = self._system.find(root, detail=True)
            except FileNotFoundError:
                return {}
            files = {path.partition(f"{root}/")[2]: int(entry["size"]) for path, entry in entries.items()}
        if unsafe := [path for path in files if ".." in PurePosixPath(path).parts]:
            raise Mistake(
                f"{self.shown}/{name} holds a file {unsafe[0]!r}, which is outside of it; remove it"
            )
        return {path: size for path, size in files.items() if path}

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if there is none."""
        with self._errors_of("reading"):
            try:
                return bytes(self._system.cat_file(f"{self._path}/{path}"))
            except FileNotFoundError:
                return None

    def download(self, name: str, folder: Path) -> None:
        """Copy all files of a remote folder into a folder of this machine, `LAST_FILES` last."""
        with self._errors_of("reading"):
            for path in _last_files_last(self.files(name)):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                self._system.get_file(f"{self._path}/{name}/{path}", str(folder / path))

    def upload(self, folder: Path, name: str) -> None:
        """Make a remote folder equal to a folder of this machine: copy its files, `LAST_FILES` last, remove others."""
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        before = self.files(name)
        with self._errors_of("writing"):
            for path in _last_files_last(files):
                place = f"{self._path}/{name}/{path}"
                self._make_folder_of(place)
                self._system.put_file(str(folder / path), place)
        for path in before.keys() - set(files):
            self.remove(f"{name}/{path}")

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""
        with self._errors_of("writing"):
            try:
                self._system.rm_file(f"{self._path}/{path}")
            except FileNotFoundError:
                return

    def remove_folder(self, name: str) -> None:
        """Remove all files of a folder, `LAST_FILES` first."""
        for path in reversed(_last_files_last(self.files(name))):
            self.remove(f"{name}/{path}")

    def _make_folder_of(self, place: str) -> None:
        if self._has_folders:
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _errors_of(self, doing: str) -> Iterator[None]:
        """Turn every error of the file system into a sentence."""
        try:
            yield
        except Mistake:
            raise
        except Exception as error:
            raise Mistake(self._sentence(error, doing)) from None

    def _sentence(self, error: Exception, doing: str) -> str:
        """Return what went wrong, and what to do."""
        reason, kind = self._without_secrets(reason_of(error)), type(error).__name__
        if isinstance(error, ImportError):
            advice = "; pip install 'lowland[remote]'" if self.url.startswith("s3") else ""
            return f"{self.shown} needs a package that is not installed ({reason}){advice}"
        if "Protocol not known" in reason:
            return f"{self.shown} is of no file system that fsspec knows; name a folder, or a URL as s3://bucket/runs"
        if isinstance(error, FileNotFoundError):
            return f"{self.shown} does not exist ({reason}); make the bucket or the folder first, or name another"
        if isinstance(error, PermissionError):
            return f"{doing} {self.shown} is refused ({reason}); use credentials that are allowed to"
        if "Credentials" in kind:
            return f"{doing} {self.shown} needs credentials ({reason}); set them as for the store's own tools"
        return f"{doing} {self.shown} failed ({kind}: {reason}); see whether this machine can reach it"

    def _without_secrets(self, text: str) -> str:
        user = re.search(r"://(?:([^/:@]*:.*)@|([^/]*)@)", self.url)
        secrets = [part for part in (user.groups() if user else ()) if part]
        secrets += [part for secret in secrets for part in secret.split(":", 1)[1:]]
        secrets += filter(None, [self.url.partition("?")[2]])
        for secret in secrets:
            text = text.replace(secret, "…")
        return text


def _last_files_last(paths: Sequence[str] | dict[str, int]) -> list[str]:
    return sorted(paths, key=lambda path: (PurePosixPath(path).name in LAST_FILES, path))


def _within(seconds: float, act: Callable[[], T]) -> T:
    """Return what a function returns; raise TimeoutError if that takes longer.

    The function then goes on in a thread that does not keep the program from ending.
    """
    outcomes: list[T | Exception] = []

    def work() -> None:
        try:
            outcomes.append(act())
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcomes:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    (outcome,) = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
