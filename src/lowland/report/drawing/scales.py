"""Round numbers on an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Round steps between ticks, times a power of ten."""


def round_ticks(low: float, high: float, count: int = 5) -> dict[float, str]:
    """Return about so many round numbers from low to high, each with its text."""
    if not high > low:
        return {low: f"{low:g}"}
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in STEPS if each * power >= 0.75 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [round(number * step, 12) for number in range(first, last + 1)]
    decimals = next(
        n for n in range(13) if all(abs(round(v, n) - v) < step * 1e-6 for v in values) or n == 12
    )
    return {value: f"{value + 0.0:,.{decimals}f}" for value in values}


def powers(low: float, high: float) -> dict[float, str]:
    """Return the round numbers 1, 2, 5 times a power of ten from low to high, each with its text: for a log axis."""
    ends = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [m * 10.0**exponent for exponent in ends for m in (1, 2, 5)]
    inside = [value for value in values if low * 0.999 <= value <= high * 1.001]
    if len(inside) > 5:
        inside = [value for value in inside if f"{value:e}".startswith("1.")]
    return {value: short(value) for value in inside}


def label_size(labels: Iterable[str]) -> float:
    """Return the size of the labels at the left of a small plot: long ones are smaller, so that they fit."""
    return 12.5 if max(map(len, labels), default=0) <= 5 else 10.5


def short(value: float) -> str:
    """Write a number briefly: 1,500 as 1.5k, 22,713,986 as 22.7M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def widened(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis for values, with some room beyond them; equal values get room, too."""
    low, high = min(values), max(values)
    room = share * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
