"""Progress of a long task: a bar on a terminal, and plain lines now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

LINES = 10
"""Largest number of lines that report one task if there is no terminal."""
SECONDS = 2.0
"""Seconds between two of these lines, at least."""


Remark = Callable[[str], None]
"""Receives a sentence that a person should read."""


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
        self._bar: tqdm[None] | None = None
        self._total = self._done = 0
        self._unit = ""
        self._started = self._reported = time.perf_counter()

    @property
    def on_terminal(self) -> bool:
        """Whether a bar can be shown."""
        return self.stream is not None and self.stream.isatty()

    def say(self, line: str) -> None:
        """Print one line."""
        if self._bar is not None:
            self._bar.write(line, file=self.stream)
        elif self.stream is not None:
            print(line, file=self.stream, flush=True)

    def remark(self, sentence: str) -> None:
        """Print a sentence that a person should read; the same sentence only once."""
        if sentence not in self._remarks:
            self._remarks.add(sentence)
            self.say(f"Beware: {sentence}.")

    def begin(self, total: int, *, unit: str = "questions", label: str = "") -> None:
        """Begin a task of `total` steps.

        Args:
            total: number of steps.
            unit: plural name of a step.
            label: shown before the bar.
        """
        self._total, self._done, self._unit = total, 0, unit
        self._started = self._reported = time.perf_counter()
        if self.on_terminal:
            self._bar = tqdm(total=total, desc=label or None, unit=f" {unit}", file=self.stream, leave=False)

    def step(self, count: int = 1) -> None:
        """Report that `count` further steps are done."""
        before, self._done = self._done, self._done + count
        if self._bar is not None:
            self._bar.update(count)
            return
        every = max(1, self._total // LINES)
        if self._done < self._total and self._done // every > before // every and self._is_due():
            seconds = self._reported - self._started
            self.say(f"{self._done:,} of {self._total:,} {self._unit}, {seconds:.0f} s")

    def note(self, **values: str) -> None:
        """Show values next to the bar."""
        if self._bar is not None:
            self._bar.set_postfix({name.replace("_", " "): value for name, value in values.items()})

    def end(self) -> None:
        """End the task and remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _is_due(self) -> bool:
        now = time.perf_counter()
        if now - self._reported < SECONDS:
            return False
        self._reported = now
        return True
