"""Estimate of the time that a list of runs or trials still takes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from lowland.ground.progress import duration


class TimeLeft:
    """Estimate of the time that a list of runs or trials still takes, from the time that earlier ones took.

    Args:
        labels: label of each of them; equal labels are expected to take equally long.
        workers: number at a time.
    """

    def __init__(self, labels: Sequence[str], workers: int = 1) -> None:
        self.waiting, self.workers = list(labels), workers
        self.seconds: dict[str, list[float]] = {}

    def ended(self, label: str, seconds: float | None) -> None:
        """Note that one has ended.

        Args:
            label: its label.
            seconds: how long it took; None if this says nothing of the others.
        """
        self.waiting.remove(label)
        if seconds is not None:
            self.seconds.setdefault(label, []).append(seconds)

    def sentence(self, spent: float = 0.0) -> str:
        """Return the time left in words; "" if it is over, or if nothing with the label of a waiting one has ended.

        Args:
            spent: seconds that those which run now have taken so far, in all.
        """
        if not set(self.waiting) <= set(self.seconds):
            return ""
        left = (sum(fmean(self.seconds[label]) for label in self.waiting) - spent) / self.workers
        return f"about {duration(left)} left" if left >= 1 else ""
