"""An entry of the cache is complete or absent: after errors, full disks, kills, and with two processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import platformdirs
import pytest

from lowland.ground.cache_folder import cache_folder
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.models.cache import made_once

PROGRAM = """
import sys
from pathlib import Path
from lowland.ground.progress import Progress
from lowland.models import cache

def make(folder):
    (folder / "whole").write_text("half")
    print("making", flush=True)
    sys.stdin.readline()
    (folder / "whole").write_text("whole")

cache.SILENT_SECONDS = 0.1
intact = lambda folder: (folder / "whole").read_text() == "whole"
print(cache.made_once("entry", make, intact, size=1, progress=Progress(sys.stdout)), flush=True)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def start() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start processes that make the same entry; each goes on when it gets a line. All are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", PROGRAM], text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    """The next line of a process; fails after a minute of silence."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0], "the process is silent"
    return process.stdout.readline().strip()


def is_whole(folder: Path) -> bool:
    return (folder / "whole").is_file() and (folder / "whole").read_text() == "whole"


def make_whole(folder: Path) -> None:
    (folder / "whole").write_text("whole")


def once(make: Callable[[Path], None] = make_whole, stream: StringIO | None = None) -> Path:
    return made_once("entry", make, is_whole, size=123_000_000, progress=Progress(stream))


def never(folder: Path) -> None:
    pytest.fail("the entry was made again")


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("[!.]*"))


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("LOWLAND_CACHE", "~/of-mine")
    assert cache_folder() == Path.home() / "of-mine"
    monkeypatch.delenv("LOWLAND_CACHE")
    assert cache_folder() == platformdirs.user_cache_path("lowland")


def test_an_entry_is_made_once(cache: Path) -> None:
    assert once() == cache / "entry"
    assert is_whole(once(never))
    assert visible(cache) == ["entry"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), Mistake("x")])
def test_an_error_leaves_nothing(cache: Path, error: BaseException) -> None:
    def make(folder: Path) -> None:
        make_whole(folder)
        raise error

    with pytest.raises(type(error)):
        once(make)
    assert visible(cache) == []
    assert is_whole(once())


def test_a_full_disk_is_one_sentence_and_leaves_nothing(cache: Path) -> None:
    def make(folder: Path) -> None:
        make_whole(folder)
        with Path("/dev/full").open("w") as file:
            file.write("x")

    with pytest.raises(Mistake) as caught:
        once(make)
    (sentence,) = caught.value.problems
    for part in (str(cache), "No space left on device", "123 MB", "LOWLAND_CACHE"):
        assert part in sentence
    assert visible(cache) == []


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(Mistake, match=r"file/cache cannot be written.*LOWLAND_CACHE"):
        once()


def test_a_lock_that_cannot_be_made_is_no_hindrance_to_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    place = once()
    monkeypatch.setattr("lowland.models.cache.FileLock", never)
    assert once(never) == place


def test_a_damaged_entry_is_made_anew(cache: Path) -> None:
    (once() / "whole").write_text("hole")
    (cache / "entry" / "more").touch()
    stream = StringIO()
    assert is_whole(once(stream=stream))
    assert visible(cache) == ["entry"]
    assert not (cache / "entry" / "more").exists()
    assert "is damaged, and is made again" in stream.getvalue()


def test_a_second_process_waits_and_uses_the_result(
    cache: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    first, second = start(), start()
    ready, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
    maker, other = (first, second) if first.stdout in ready else (second, first)
    assert hear(maker) == "making"
    assert hear(other) == f"another process is making {cache / 'entry'}; waiting for it"
    assert visible(cache) == ["entry.partial"]
    maker.communicate("go on\n", timeout=60)
    assert hear(other) == str(cache / "entry")  # without "making"
    assert is_whole(cache / "entry")


def test_what_a_killed_process_left_is_removed(
    cache: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    process = start()
    assert hear(process) == "making"
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    (cache / "entry.partial" / "more").touch()
    assert visible(cache) == ["entry.partial"]
    assert is_whole(once())
    assert visible(cache) == ["entry"]
    assert not (cache / "entry" / "more").exists()
