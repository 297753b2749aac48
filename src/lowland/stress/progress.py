"""What a person sees while a model is questioned: a bar in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from typing import Any, TextIO

from tqdm import tqdm

LINES = 10
"""So many lines at most tell of a run where there is no terminal, and none in less than `SECONDS`."""
SECONDS = 2.0


class Progress:
    """Tells of a stress test.

    Args:
        stream: where to; None says nothing.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.bar: Any = None
        self.total = self.done = 0
        self.started = self.told = time.perf_counter()

    def say(self, words: str) -> None:
        """One line."""
        if self.stream is not None:
            print(words, file=self.stream, flush=True)

    def begin(self, total: int) -> None:
        """So many questions are to be asked."""
        self.total, self.done = total, 0
        self.started = self.told = time.perf_counter()
        if self.stream is not None and self.stream.isatty():
            self.bar = tqdm(total=total, unit=" questions", file=self.stream, leave=False)

    def step(self) -> None:
        """One of them was asked."""
        self.done += 1
        if self.bar is not None:
            self.bar.update(1)
        elif self.done < self.total and self.done % max(1, self.total // LINES) == 0 and self._due():
            self.say(f"{self.done:,} of {self.total:,} questions, {self.told - self.started:.0f} s")

    def _due(self) -> bool:
        now = time.perf_counter()
        if now - self.told < SECONDS:
            return False
        self.told = now
        return True

    def end(self) -> None:
        """None are left."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
