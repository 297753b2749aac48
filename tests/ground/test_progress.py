"""Lines and bars for a person: a remark is printed once, and several bars can be shown at a time."""

from __future__ import annotations

import io
import re

import pytest

from lowland.ground import progress as module
from lowland.ground.progress import Progress, duration


class Terminal(io.StringIO):
    """Stream that is a terminal."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        """What was written, without the codes that move the cursor and set colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_remark_is_printed_once() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for sentence in ("texts were cut", "labels differ", "texts were cut"):
        progress.remark(sentence)
    assert stream.getvalue() == "Beware: texts were cut.\nBeware: labels differ.\n"


def test_nothing_is_printed_without_a_stream() -> None:
    progress = Progress()
    progress.remark("texts were cut")
    with progress.bar(2) as bar:
        bar.step()
        bar.note("half")


def test_plain_lines_come_now_and_then_and_carry_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    stream = io.StringIO()
    with Progress(stream).bar(4, unit="runs") as bar:
        bar.step()
        bar.note("1 failed")
        bar.step()
        bar.step(2)  # the end is not reported: the results follow
    assert stream.getvalue() == "1 of 4 runs, 0 s\n2 of 4 runs, 0 s; 1 failed\n"


def test_there_are_at_most_ten_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    stream = io.StringIO()
    with Progress(stream).bar(1000) as bar:
        for _ in range(1000):
            bar.step()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("100 of 1,000 questions")
    assert len(lines) == 9


def test_plain_lines_are_seconds_apart() -> None:
    stream = io.StringIO()
    with Progress(stream).bar(10) as bar:
        for _ in range(10):
            bar.step()
    assert stream.getvalue() == ""


def test_a_terminal_shows_several_bars_with_their_notes_and_lines_between_them(terminal: Terminal) -> None:
    progress = Progress(terminal)
    with progress.bar(3, unit="runs") as runs:
        with progress.bar(20, unit="steps", label="[1/3] lora [x]") as steps:
            steps.step(7)
            steps.note("loss [red]0.5")
            progress.display().refresh()
            progress.say("a line [bold]as it is[/bold]")
        runs.step()
        progress.display().refresh()
    shown = terminal.shown()
    assert re.search(r"\[1/3\] lora \[x\] \S+ +7/20 +steps .*loss \[red\]0\.5", shown)
    assert "a line [bold]as it is[/bold]\n" in shown
    assert re.search(r"1/3 runs", shown)


def test_the_display_ends_with_the_last_bar(terminal: Terminal) -> None:
    progress = Progress(terminal)
    with pytest.raises(KeyboardInterrupt), progress.bar(3):
        raise KeyboardInterrupt
    assert terminal.getvalue().count("\x1b[?25h") == 1  # the cursor is there again
    progress.say("after it")
    assert terminal.getvalue().endswith("after it\n")


def test_durations_are_read_at_a_glance() -> None:
    assert [duration(s) for s in (3.4, 89, 100, 3000, 5400, 7500)] == [
        "3 s", "89 s", "2 min", "50 min", "1 h 30 min", "2 h 5 min",
    ]  # fmt: skip
