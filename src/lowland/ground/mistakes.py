"""Mistakes of the user's: one clear sentence each, and no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class Mistake(ValueError):
    """Something that was given cannot be used.

    Each problem is one sentence that says what was given, what is expected and what to do. The command line
    prints them and exits with code 2; a library user sees a `ValueError` with the same words.

    Example:
        >>> raise Mistake("rank is 0; it must be a whole number of at least 1")
        Traceback (most recent call last):
        lowland.ground.mistakes.Mistake: rank is 0; it must be a whole number of at least 1
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def one_of(what: str, given: object, allowed: Collection[str]) -> str:
    """The sentence for a name that is none of those allowed, with the nearest match where there is one.

    Example:
        >>> one_of("method", "flat", ["full", "flat-lora"])
        "unknown method 'flat'; did you mean 'flat-lora'? Allowed: full, flat-lora"
    """
    folded = {name.casefold(): name for name in allowed}
    close = difflib.get_close_matches(str(given).casefold(), list(folded), n=1, cutoff=0.5)
    hint = f"did you mean '{folded[close[0]]}'? " if close else ""
    return f"unknown {what} '{given}'; {hint}Allowed: {', '.join(allowed)}"


def reason_of(error: BaseException) -> str:
    """What another library's error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
