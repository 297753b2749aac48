"""Messages of a run in another process, or on another machine, to the study that asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lowland.ground.progress import Bar, Progress

SECONDS = 0.3
"""Seconds between two messages of one bar, at least."""


@dataclass(frozen=True)
class Said:
    """A line for a person, or a remark."""

    text: str
    is_remark: bool = False

    def show(self, progress: Progress) -> None:
        """Say it there."""
        (progress.remark if self.is_remark else progress.say)(self.text)


@dataclass(frozen=True)
class Began:
    """A job is run now."""

    number: int


@dataclass(frozen=True)
class Moved:
    """State of a bar.

    Attributes:
        label: text before the bar; no other bar of the study has it.
        done: number of steps done.
        total: number of steps.
        unit: plural name of a step.
        text: text after the bar.
        ended: whether the bar is to be removed.
    """

    label: str
    done: int
    total: int
    unit: str
    text: str
    ended: bool


class Relay(Progress):
    """Progress that sends its messages elsewhere.

    Args:
        send: function that sends a message.
        bars: whether bars can be shown there.
    """

    def __init__(self, send: Callable[[Said | Moved], object], bars: bool = False) -> None:
        super().__init__()
        self.send, self.bars = send, bars

    @property
    def on_terminal(self) -> bool:
        """Whether bars can be shown."""
        return self.bars

    def say(self, line: str) -> None:
        """Send one line."""
        self.send(Said(line))

    def remark(self, sentence: str) -> None:
        """Send a sentence that a person should read."""
        self.send(Said(sentence, is_remark=True))

    def bar(self, total: int, *, unit: str = "questions", label: str = "") -> Bar:
        """Return a bar whose moves are sent."""
        return RelayedBar(self, total, unit, label)


class RelayedBar(Bar):
    """Bar that sends its moves elsewhere, now and then."""

    progress: Relay
    _sent = 0.0

    def step(self, count: int = 1) -> None:
        """Report that `count` further steps are done."""
        self.done += count
        if time.monotonic() - self._sent > SECONDS:
            self._send()

    def end(self) -> None:
        """End the task."""
        self._send(ended=True)

    def _send(self, ended: bool = False) -> None:
        if self.progress.bars:
            self._sent = time.monotonic()
            self.progress.send(Moved(self.label, self.done, self.total, self.unit, self.text, ended))
