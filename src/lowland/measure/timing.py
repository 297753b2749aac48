"""Timing of several actions in turns, so that a busy machine slows all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles


def in_turns(actions: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each action, round by round, in a new order each round, after one that is not counted."""
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name in order.sample(list(actions), len(actions)):
            started = time.perf_counter()
            actions[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    """Return the median of each round's time divided by the reference's in the same round, and its quartiles."""
    ratios = [own / other for own, other in zip(seconds, reference, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return {"median": median(ratios), "lower_quartile": low, "upper_quartile": high}
