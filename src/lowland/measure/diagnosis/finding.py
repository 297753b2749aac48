"""Finding of a diagnosis: what was found, with the numbers, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lowland.ground.mistakes import plural

Verdict = Literal["ok", "note", "FAIL"]

NAMES_SHOWN = 3
"""Number of names that a sentence lists."""


@dataclass(frozen=True)
class Finding:
    """Result of one check of an adapter.

    Attributes:
        verdict: FAIL for what is broken, note for what is unusual, ok.
        name: what it is about, in one or two words.
        sentence: the result with its numbers, and what to do.
    """

    verdict: Verdict
    name: str
    sentence: str


def first_of(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def layers_of(names: Sequence[str]) -> str:
    """Return the number of layers, with the first names."""
    return f"{plural(len(names), 'layer')} ({first_of(names)})"
