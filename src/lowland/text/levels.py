"""How much damage: named levels, rates, and a ladder of rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lowland.ground.mistakes import Mistake, one_of

LEVELS: Mapping[str, float] = {"light": 0.05, "heavy": 0.20}
"""Level -> rate: edits per unit."""
LADDER: tuple[float, ...] = (0.02, 0.05, 0.10, 0.20, 0.40)
"""Rates for a dose-response curve."""


def rate_of(level: str | float) -> float:
    """The rate of a level: of `LEVELS`, or a number in (0, 1], also as text.

    Raises:
        Mistake: for anything else.

    Example:
        >>> rate_of("heavy"), rate_of("0.1")
        (0.2, 0.1)
    """
    if isinstance(level, str) and level in LEVELS:
        return LEVELS[level]
    try:
        rate = math.nan if isinstance(level, bool) else float(level)
    except (TypeError, ValueError):
        raise Mistake(f"{one_of('level', level, LEVELS)}, or a rate above 0 and at most 1, as 0.1") from None
    if not 0 < rate <= 1:
        raise Mistake(
            f"level is {level}; it must be {' or '.join(LEVELS)}, or a rate above 0 and at most 1, as 0.1"
        )
    return rate


def levels_of(given: Sequence[str | float]) -> dict[str, float]:
    """Names and rates of levels, "ladder" spelt out; each rate once, by the first of its names.

    Raises:
        Mistake: if there is none, or for each that does not exist.

    Example:
        >>> levels_of(["heavy", "0.20", 0.1])
        {'heavy': 0.2, '0.1': 0.1}
    """
    found: dict[float, str] = {}
    problems = [] if given else ["levels is empty; give light, heavy, ladder, or rates such as 0.1"]
    for level in given:
        for one in LADDER if level == "ladder" else (level,):
            try:
                rate = round(rate_of(one), 6)
            except Mistake as mistake:
                problems += mistake.problems
            else:
                found.setdefault(rate, str(one) if one in LEVELS else f"{rate:g}")
    if problems:
        raise Mistake(*problems)
    return {name: rate for rate, name in found.items()}
