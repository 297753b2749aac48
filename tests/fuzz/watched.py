"""What a fuzzed entry point may not do, watched from inside its process: run code, start processes, harm its input."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowland.cli.main import main
from lowland.ground.mistakes import Mistake

FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pickle.find_class",
    "pty.spawn", "socket.connect", "subprocess.Popen", "webbrowser.open",
)  # fmt: skip
"""Audit events of Python that reading a file never raises."""
_events: list[str] = []


def watch() -> None:
    """Record forbidden events of this process from now on; a hook cannot be removed."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN:
            _events.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(hook)


@contextlib.contextmanager
def unharmed(folder: Path) -> Iterator[None]:
    """Fail if the block changes or removes a file, leaves a partial one, runs code or raises anything but `Mistake`."""
    before = _files(folder)
    _events.clear()
    with contextlib.suppress(Mistake):
        yield
    assert _events == [], _events
    after = _files(folder)
    assert {name: content for name, content in after.items() if name in before} == before
    assert [name for name in after if ".partial" in name] == []


def lowland(*arguments: object, out: Path | None = None) -> str | None:
    """Run a command line, and return what it prints; None after a mistake, which leaves no output."""
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            code = main(["--debug", *map(str, arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
    if code not in (0, 2):
        places = re.findall(r'/lowland/(\w+(?:/\w+)*)\.py", line (\d+)', errors.getvalue())
        kind = type(
            f"Exit{code}-" + "-".join(places[-1] if places else ()).replace("/", "."), (Exception,), {}
        )
        raise kind(errors.getvalue())
    assert code == 0 or not (out and out.exists())
    assert code == 0 or errors.getvalue().strip(), "no sentence"
    return printed.getvalue() if code == 0 else None


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
