"""Mistakes of a user: one clear sentence for each problem, and no traceback."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from lowland.ground.names import nearest

LONG = 15
"""Number of names above which a list of them is not shown whole."""


class Mistake(ValueError):
    """Error about something that a user gave.

    Each problem is one sentence that says what was given, what is expected and what to do. The command line prints the
    sentences and exits with code 2. A program sees a `ValueError` with the same sentences.

    Attributes:
        problems: the sentences.

    Examples:
        >>> raise Mistake("rank is 0; it must be a whole number of at least 1")
        Traceback (most recent call last):
        lowland.ground.mistakes.Mistake: rank is 0; it must be a whole number of at least 1
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def one_of(kind: str, name: object, allowed: Collection[str]) -> str:
    """Return the sentence for an unknown name, with the nearest allowed name if one is close.

    A long list of allowed names is left out where a near one is offered, and cut off otherwise.

    Examples:
        >>> one_of("method", "flat", ["full", "flat-lora"])
        "unknown method 'flat'; did you mean 'flat-lora'? Allowed: full, flat-lora"
    """
    near = nearest(name, allowed)
    if near is not None and len(allowed) > LONG:
        return f"unknown {kind} '{name}'; did you mean '{near}'?"
    hint = f"did you mean '{near}'? " if near is not None else ""
    return f"unknown {kind} '{name}'; {hint}Allowed: {_listed(allowed)}"


def unknown_setting(kind: str, name: object, allowed: Collection[str], listed_by: str = "") -> str:
    """Return the sentence for an unknown option, field or setting; other libraries' names for it are known.

    Args:
        kind: kind of name, such as "option".
        name: the unknown name.
        allowed: the names that exist.
        listed_by: command that lists them, named in place of a long list.

    Examples:
        >>> unknown_setting("field", "lora_alpha", ["r", "alpha"])
        "unknown field 'lora_alpha'; did you mean 'alpha'? Allowed: r, alpha"
    """
    near = nearest(name, allowed, synonyms=True)
    if len(allowed) <= LONG:
        more = f"Allowed: {_listed(allowed)}"
    elif listed_by:
        more = f"{listed_by} lists all"
    else:
        more = "" if near is not None else f"Allowed: {_listed(allowed)}"
    hint = f"did you mean '{near}'?" if near is not None else ""
    return f"unknown {kind} '{name}'; {' '.join(filter(None, (hint, more)))}"


def _listed(names: Collection[str]) -> str:
    """Return names with commas between them; of a long list the first ones, and the number of the others."""
    if len(names) <= LONG:
        return ", ".join(names) or "none"
    return f"{', '.join(list(names)[:LONG])} and {len(names) - LONG} more"


@contextmanager
def gathering(problems: list[str]) -> Iterator[None]:
    """Add what is wrong in the block to the problems, and go on behind it."""
    try:
        yield
    except Mistake as mistake:
        problems += mistake.problems


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 seed`, `3 seeds`, `1,000 texts`."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def reason_of(error: BaseException) -> str:
    """Return the first line of another library's error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
