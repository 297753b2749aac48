"""Mistakes of a user: one clear sentence for each problem, and no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class Mistake(ValueError):
    """Error about something that a user gave.

    Each problem is one sentence that says what was given, what is expected and what to do. The command line prints the
    sentences and exits with code 2. A program sees a `ValueError` with the same sentences.

    Attributes:
        problems: the sentences.

    Example:
        >>> raise Mistake("rank is 0; it must be a whole number of at least 1")
        Traceback (most recent call last):
        lowland.ground.mistakes.Mistake: rank is 0; it must be a whole number of at least 1
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def one_of(what: str, given: object, allowed: Collection[str]) -> str:
    """Return the sentence for an unknown name, with the nearest allowed name if one is close.

    Example:
        >>> one_of("method", "flat", ["full", "flat-lora"])
        "unknown method 'flat'; did you mean 'flat-lora'? Allowed: full, flat-lora"
    """
    folded = {name.casefold(): name for name in allowed}
    close = difflib.get_close_matches(str(given).casefold(), list(folded), n=1, cutoff=0.5)
    hint = f"did you mean '{folded[close[0]]}'? " if close else ""
    return f"unknown {what} '{given}'; {hint}Allowed: {', '.join(allowed) or 'none'}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 seed`, `3 seeds`, `1,000 texts`."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def reason_of(error: BaseException) -> str:
    """Return the first line of another library's error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
