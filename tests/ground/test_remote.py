"""Folders behind URLs: what is copied arrives, complete files say so last, and secrets are never shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground import remote as remote_module
from lowland.ground.mistakes import Mistake
from lowland.ground.remote import RemoteFolder, is_url, shown

FILES = {"record.json": b"{}", "adapter/weights": b"w" * 1000, "history.jsonl": b"", "a [1] ä.txt": b"u"}


@pytest.fixture(params=["s3", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/some/runs"
    return f"file://{tmp_path}/remote/runs" if request.param == "file" else f"memory://{uuid4().hex}/runs"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_is_copied_there_comes_back(url: str, tmp_path: Path) -> None:
    there = RemoteFolder(url)
    there.check_readable()
    assert (there.folders(), there.files("run"), there.read("run/record.json")) == ([], {}, None)
    there.check_writable()
    there.upload(write(tmp_path / "here", FILES), "run")
    there.upload(write(tmp_path / "hidden", {"file": b"1"}), ".run.checkpoints")
    other = RemoteFolder(url)
    assert other.folders() == ["run"]
    assert other.files("run") == {path: len(content) for path, content in FILES.items()}
    assert other.read("run/record.json") == b"{}"
    other.download("run", tmp_path / "back")
    assert read(tmp_path / "back") == FILES


def test_a_folder_that_is_copied_again_loses_what_it_no_longer_has(url: str, tmp_path: Path) -> None:
    there = RemoteFolder(url)
    there.upload(write(tmp_path / "here", FILES), "run")
    there.upload(write(tmp_path / "new", {"record.json": b"{1}", "model/weights": b"v"}), "run")
    assert there.files("run") == {"record.json": 3, "model/weights": 1}
    there.remove("run/record.json")
    there.remove("run/record.json")
    assert there.files("run") == {"model/weights": 1}
    there.remove_folder("run")
    there.remove_folder("run")
    assert there.files("run") == {}


@pytest.mark.parametrize("last", ["record.json", "checkpoint-10/trainer_state.json"])
def test_the_file_that_completes_a_folder_is_copied_last_and_removed_first(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = RemoteFolder(f"memory://{uuid4().hex}/runs")
    files = {f"{letter}/{letter}.bin": b"1" for letter in "abxyz"} | {"z": b"", last: b"1"}
    folder = write(tmp_path / "here", {path: files[path] for path in files if path != "z"})
    calls: list[tuple[str, str]] = []
    for name, place in (("put_file", 1), ("get_file", 0), ("rm_file", 0)):
        monkeypatch.setattr(there._system, name, spied(there._system, name, place, calls))
    there.upload(folder, "run")
    there.download("run", tmp_path / "back")
    there.remove_folder("run")
    ends = {
        name: [path for other, path in calls if other == name] for name in ("put_file", "get_file", "rm_file")
    }
    assert {len(paths) for paths in ends.values()} == {6}
    assert ends["put_file"][-1].endswith(last)
    assert ends["get_file"][-1].endswith(last)
    assert ends["rm_file"][0].endswith(last)


def spied(system: Any, name: str, place: int, calls: list[tuple[str, str]]) -> Callable[..., Any]:
    real = getattr(system, name)

    def call(*arguments: Any) -> Any:
        calls.append((name, arguments[place]))
        return real(*arguments)

    return call


def test_files_outside_of_their_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = RemoteFolder(f"memory://{uuid4().hex}/runs")
    there.upload(write(tmp_path / "here", FILES), "run")
    root = f"{there._path}/run"
    monkeypatch.setattr(there._system, "find", lambda *a, **k: {f"{root}/../../evil": {"size": 1}})
    with pytest.raises(Mistake, match=r"holds a file '\.\./\.\./evil', which is outside of it"):
        there.download("run", tmp_path / "back")
    assert not (tmp_path / "back").exists()


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("s3://bucket/runs/", "s3://bucket/runs"),
        (f"ftp://me:{SECRET}@host/runs", "ftp://host/runs"),
        (f"ftp://{SECRET}@host/runs", "ftp://host/runs"),
        (f"ftp://me:p@{SECRET}@host:21/runs", "ftp://host:21/runs"),
        (f"ftp://me:p/{SECRET}@host/runs", "ftp://host/runs"),
        (f"https://host/runs?sig={SECRET}", "https://host/runs"),
        ("s3://bucket/me@home/runs", "s3://bucket/me@home/runs"),
    ],
)
def test_a_person_sees_no_secret(url: str, seen: str) -> None:
    assert shown(url) == seen
    assert is_url(url)


def test_paths_are_no_urls() -> None:
    assert not any(map(is_url, ("runs", "/a/b", "C:\\runs", Path("s3://bucket"), None)))


@given(st.text(alphabet="abc123@:!", min_size=6), st.sampled_from(["me", "user.name"]))
def test_no_password_is_shown_or_in_a_sentence(password: str, user: str) -> None:
    url = f"ftp://{user}:{password}@host/runs"
    assert shown(url) == "ftp://host/runs"
    there = object.__new__(RemoteFolder)
    there.url, there.shown = url, shown(url)
    sentence = there._sentence(OSError(f"{url} with {password} failed"), "reading")
    assert password not in sentence


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "s3://no-such-bucket/runs",
            r"s3://no-such-bucket/runs does not exist \(.*bucket does not exist\); make",
        ),
        (
            "foo://bucket/runs",
            "foo://bucket/runs is of no file system that fsspec knows; name a folder, or a URL",
        ),
        (
            f"ftp://me:{SECRET}@127.0.0.1:1/runs",
            r"opening ftp://127.0.0.1:1/runs failed \(ConnectionRefusedError",
        ),
        (f"s3://me:{SECRET}@bucket/runs", "writing s3://bucket/runs failed"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(url: str, sentence: str, bucket: str) -> None:
    with pytest.raises(Mistake, match=sentence) as caught:
        RemoteFolder(url).check_writable()
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__  # so that --debug shows no secret either


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImportError("Install s3fs to access S3"), r"needs a package .*\(Install s3fs .*lowland\[remote\]"),
        (
            PermissionError("Access Denied"),
            r"reading s3://bucket/runs is refused \(Access Denied\); use credentials",
        ),
        (
            type("NoCredentialsError", (Exception,), {})("Unable to locate"),
            "reading s3://bucket/runs needs credentials",
        ),
    ],
)
def test_other_errors_say_what_to_do(
    error: Exception, sentence: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = RemoteFolder("s3://bucket/runs")

    def fail(*rest: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(there._system, "exists", fail)
    with pytest.raises(Mistake, match=sentence):
        there.check_readable()


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "ANSWER_SECONDS", 0.05)
    there, answer = RemoteFolder(f"memory://{uuid4().hex}/runs"), threading.Event()
    monkeypatch.setattr(there._system, "exists", lambda path: answer.wait())
    with pytest.raises(Mistake, match=r"failed \(TimeoutError: no answer within 0 seconds\)"):
        there.check_readable()
    answer.set()
