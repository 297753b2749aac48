"""Sentences and clauses of a reply, and whether a clause denies what it mentions."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from lowland.replies.wording import SIGHT, listed, words_of

NOT_BEFORE = listed("not isnt arent wasnt werent never no neither nor doesnt dont didnt cannot cant unlike न")
"""English negators; they deny what follows them within three words."""
NOT_AFTER = listed("नहीं नही नहिं nahi nahin nahee naheen nhi nai")
"""Hindi negators; they stand by the verb at the end and deny what comes before them in the clause."""
IS_NOT = re.compile(
    r"\s*(?:(?:is|was|are|were|would|will|can|could)\s+not|(?:is|was|are|were|would)n['’]?t)\b", re.I
)
BELIEVED = re.compile(
    r"\bused to be\b"
    r"|\b(?:often|commonly|sometimes|frequently|widely)\s+(?:mentioned|assumed|thought|believed|mistaken|confused)\b",
    re.IGNORECASE,
)
BELIEVERS = tuple(
    (re.compile(who, re.IGNORECASE), re.compile(believe, re.IGNORECASE))
    for who, believe in (
        (r"\b(?:people|many|most|some)\b", r"\b(?:think|believe|assume|say|guess)\b"),
        (r"\blog\b", r"\b(?:soch|maan|samajh)"),
        ("लोग", "सोच|मान|समझ"),
    )
)
"""Beliefs of others; they are denied if "but" follows or "while" begins the clause."""
WHILE = re.compile(r"\s*(?:while|although|though|even though)\b", re.IGNORECASE)
OPPOSED = re.compile(r"[\s,;.]*(?:but|however|lekin|magar|लेकिन|मगर)\b", re.IGNORECASE)
BUT = listed("but however although though lekin magar balki parantu kintu लेकिन मगर बल्कि परंतु किंतु")
STOPS = '.!?;:\n()[]…"'


def denied(text: str, start: int, end: int) -> bool:
    """Whether a plain text denies its part [start, end).

    English: a negator (also "rather than" and "instead of") stands at most three words before the part in its clause,
    or "is not" stands right behind it. Hindi: a negator stands behind it in its clause. Both: the clause says what
    others believe, and "but" follows.
    """
    left, right = _clause(text, start, end)
    if (WHILE.match(text, left, right) or OPPOSED.match(text, right)) and _says_belief(text, left, right):
        return True
    words = re.sub(r"(?i)\brather than\b|\binstead of\b", "not", text[max(left, start - SIGHT) : start])
    words = re.sub(r"(?i)\bnot only\b|\bno doubt\b|\bwhy not\b", " ", words)
    if any(word.fold in NOT_BEFORE for word in words_of(words)[-3:]):
        return True
    if IS_NOT.match(text, end, right):
        return True
    negators = _marks(text).negators
    place = bisect_left(negators, end)
    return place < len(negators) and negators[place] < right


@lru_cache(maxsize=4096)
def _says_belief(text: str, left: int, right: int) -> bool:
    """Whether a clause says what others believe."""
    if BELIEVED.search(text, left, right):
        return True
    firsts = ((who.search(text, left, right), believe) for who, believe in BELIEVERS)
    return any(first and believe.search(text, first.end(), right) for first, believe in firsts)


@lru_cache(maxsize=256)
def sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Return the spans of a plain text's sentences; a point inside a number or name does not end a sentence."""
    borders = [0, *(match.end() for match in re.finditer(r"\n+|[.!?]+(?=\s|$)", text)), len(text)]
    return tuple((start, end) for start, end in pairwise(borders) if text[start:end].strip())


@dataclass(frozen=True)
class _Marks:
    """Places in a text, in order.

    Attributes:
        stops: stops and commas that stand in no word.
        but_starts: first characters of words such as "but".
        but_ends: characters behind these words.
        negators: first characters of negators that deny what comes before them.
    """

    stops: Sequence[int]
    but_starts: Sequence[int]
    but_ends: Sequence[int]
    negators: Sequence[int]


@lru_cache(maxsize=256)
def _marks(text: str) -> _Marks:
    words = words_of(text)
    inside_words = {place for word in words for place in range(word.start, word.end)}
    buts = [word for word in words if word.fold in BUT]
    return _Marks(
        [place for place, sign in enumerate(text) if sign in STOPS + "," and place not in inside_words],
        [word.start for word in buts],
        [word.end for word in buts],
        [word.start for word in words if word.fold in NOT_AFTER],
    )


def _clause(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span of the clause around [start, end): between stops, commas and words such as "but"."""
    marks = _marks(text)
    first, past = bisect_left(marks.stops, start), bisect_left(marks.stops, end)
    left = marks.stops[first - 1] + 1 if first else 0
    right = marks.stops[past] if past < len(marks.stops) else len(text)
    first, past = bisect_right(marks.but_ends, start), bisect_left(marks.but_starts, end)
    if first and marks.but_starts[first - 1] >= left:
        left = marks.but_ends[first - 1]
    if past < len(marks.but_starts) and marks.but_starts[past] < right:
        right = marks.but_starts[past]
    return left, right
