"""Levels of damage: named rates, and a ladder of rates for a dose-response curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lowland.ground.mistakes import Mistake, one_of

LEVELS: Mapping[str, float] = {"light": 0.05, "heavy": 0.20}
"""Level -> rate, in edits per unit of the text."""
DEFAULT_LEVELS: tuple[str, ...] = ("light", "heavy")
LADDER: tuple[float, ...] = (0.02, 0.05, 0.10, 0.20, 0.40)
"""Rates for a dose-response curve; the level "ladder" means all of them."""


def rate_of(level: str | float) -> float:
    """Return the rate of a level: a name in `LEVELS`, or a number in (0, 1], which may be given as text.

    Raises:
        Mistake: for anything else.

    Examples:
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


def levels_of(levels: Sequence[str | float]) -> dict[str, float]:
    """Return name -> rate for levels as a user gives them; "ladder" becomes the rates of `LADDER`.

    A rate that has several names is returned once, under the name that comes first.

    Raises:
        Mistake: if `levels` is empty, or a level does not exist; a sentence for each problem.

    Examples:
        >>> levels_of(["heavy", "0.20", 0.1])
        {'heavy': 0.2, '0.1': 0.1}
    """
    problems = [] if levels else ["levels is empty; give light, heavy, ladder, or rates such as 0.1"]
    name_of_rate: dict[float, str] = {}
    steps = [step for level in levels for step in (LADDER if level == "ladder" else (level,))]
    for step in steps:
        try:
            rate = round(rate_of(step), 6)
        except Mistake as mistake:
            problems += mistake.problems
        else:
            name_of_rate.setdefault(rate, str(step) if step in LEVELS else f"{rate:g}")
    if problems:
        raise Mistake(*problems)
    return {name: rate for rate, name in name_of_rate.items()}
