"""Progress of long tasks: bars on a terminal, and plain lines now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Display

LINES = 10
"""Largest number of lines that report one task if there is no terminal."""
SECONDS = 2.0
"""Seconds between two of these lines, at least."""


Remark = Callable[[str], None]
"""Receives a sentence that a person should read."""


def duration(seconds: float) -> str:
    """Return a duration in words: 40 s, 7 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def no_remark(sentence: str) -> None:
    """Ignore a remark."""


class Progress:
    """Reports progress to a person.

    Args:
        stream: stream to write to; None reports nothing.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._remarks: set[str] = set()
        self._display: Display | None = None

    @property
    def on_terminal(self) -> bool:
        """Whether bars can be shown."""
        return self.stream is not None and self.stream.isatty()

    def say(self, line: str) -> None:
        """Print one line."""
        if self._display is not None:
            self._display.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif self.stream is not None:
            print(line, file=self.stream, flush=True)

    def remark(self, sentence: str) -> None:
        """Print a sentence that a person should read; the same sentence only once."""
        if sentence not in self._remarks:
            self._remarks.add(sentence)
            self.say(f"Beware: {sentence}.")

    def bar(self, total: int, *, unit: str = "questions", label: str = "") -> Bar:
        """Return the bar of a task; enter it as a context to begin the task. Several can be shown at a time.

        Args:
            total: number of steps.
            unit: plural name of a step.
            label: shown before the bar.
        """
        return (LiveBar if self.on_terminal else Bar)(self, total, unit, label)

    def display(self) -> Display:
        """Return what shows the bars on the terminal, started."""
        if self._display is None:
            self._display = _display(self.stream)
            self._display.start()
        return self._display

    def hide(self, number: Any) -> None:
        """Take one bar off the terminal, and stop the display after the last one.

        Args:
            number: number of the bar in the display.
        """
        if self._display is not None:
            self._display.remove_task(number)
            if not self._display.tasks:
                self._display.stop()
                self._display = None


class Bar:
    """A task of several steps, reported by plain lines.

    Args:
        progress: progress that prints the lines.
        total: number of steps.
        unit: plural name of a step.
        label: text before the bar.
    """

    def __init__(self, progress: Progress, total: int, unit: str, label: str) -> None:
        self.progress, self.total, self.unit, self.label = progress, total, unit, label
        self.done, self.text = 0, ""
        self._started = self._reported = time.perf_counter()

    def __enter__(self) -> Self:
        self._started = self._reported = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def step(self, count: int = 1) -> None:
        """Report that `count` further steps are done."""
        before, self.done = self.done, self.done + count
        every = max(1, self.total // LINES)
        if self.done < self.total and self.done // every > before // every and self._is_due():
            seconds = self._reported - self._started
            text = f"; {self.text}" if self.text else ""
            self.progress.say(f"{self.done:,} of {self.total:,} {self.unit}, {seconds:.0f} s{text}")

    def note(self, text: str) -> None:
        """Show a text after the bar, or in the next line."""
        self.text = text

    def end(self) -> None:
        """End the task."""

    def _is_due(self) -> bool:
        now = time.perf_counter()
        if now - self._reported < SECONDS:
            return False
        self._reported = now
        return True


class LiveBar(Bar):
    """A task of several steps, shown as a bar on a terminal."""

    def __enter__(self) -> Self:
        self._display = self.progress.display()
        self._number = self._display.add_task(self.label, total=self.total, unit=self.unit, note=self.text)
        return self

    def step(self, count: int = 1) -> None:
        """Move the bar by `count` steps."""
        self.done += count
        self._display.update(self._number, completed=self.done)

    def note(self, text: str) -> None:
        """Show a text after the bar."""
        self.text = text
        self._display.update(self._number, note=text)

    def end(self) -> None:
        """Remove the bar."""
        self.progress.hide(self._number)


def _display(stream: TextIO | None) -> Display:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    def text(pattern: str) -> TextColumn:
        return TextColumn(pattern, style="none", markup=False)

    return Display(
        text("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        text("{task.fields[unit]}"),
        TimeElapsedColumn(),
        text("{task.fields[note]}"),
        console=Console(file=stream),
        transient=True,
    )
