"""Which of a reply's numbers are its answer? The rule stands in `lowland.stress.replies.answers`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import pairwise

from lowland.stress.replies.numbers import Number, numbers_in
from lowland.stress.replies.wording import ENUMERATION, denied, sentences

BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
EQUALS = re.compile(
    r"=|≈|\b(?:equals?(?:\s+to)?|is|are|was|were|makes?|gives?|totals?|barabar)\b|बराबर", re.IGNORECASE
)
CONCLUDES = re.compile(
    r"\s*(?:so|therefore|thus|hence|in total|total|altogether|finally|isliye|इसलिए|अतः|कुल)\b", re.IGNORECASE
)

THEREFORE = re.compile(
    r"[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence|which makes|toh? (?:total|kul)|isliye|इसलिए|अतः|(?:तो )?कुल)"
    r"\s+(?!if\b|that\b|not\b)",
    re.IGNORECASE,
)
NAMED = re.compile(r"[^\W\d_]-$")
"""Before the number of a name: carbon-12."""


def number_of_alias(alias: str, years: bool) -> Number | None:
    """The number that an alias stands for; None where it has none or several ("one one two")."""
    read = numbers_in(alias, years)
    read = _where(read, [not years or abs(one.value) >= 100 for one in read])
    return read[0] if len(read) == 1 else None


def given_numbers(
    text: str, years: bool, units: Collection[str], values: set[Fraction], asked: set[Fraction]
) -> list[Number]:
    """The numbers that a reply gives as its answer.

    Args:
        text: the plain part of the reply that is read.
        years: years are asked for: numbers from 100 on go before others (15 August 1947).
        units: the gold's, if it has any; numbers in others are no answer.
        values: the gold's.
        asked: the question's own numbers, set aside unless the gold is one of them.
    """
    if "\n" in text:
        text = ENUMERATION.sub(lambda found: " " * len(found[0]), text)
    read = numbers_in(text, years)
    read = _where(read, [one.sure for one in read])
    in_brackets = [found.span() for found in BRACKETS.finditer(text)]
    read = _where(read, [not any(a <= one.start < b for a, b in in_brackets) for one in read])
    read = _where(read, [not NAMED.search(text[: one.start]) for one in read])
    if not values & asked:
        read = _where(read, [one.value not in asked for one in read])
    read = [one for one in read if not denied(text, one.start, one.end)]
    if units:
        read = [one for one in read if one.unit in units or not one.unit]
    if years:
        read = _where(read, [abs(one.value) >= 100 and one.value.denominator == 1 for one in read])
    if not read:
        return []
    decisive = _decisive(text, read)
    if len({one.value for one in decisive}) > 1:
        last = [found.end() for found in EQUALS.finditer(text[: decisive[-1].start])]
        decisive = _where(decisive, [bool(last) and one.start >= last[-1] for one in decisive])
    unit = next((one.unit for one in decisive if one.value in values), "")
    return [one for one in decisive if not unit or not one.unit or one.unit == unit]


def _decisive(text: str, read: Sequence[Number]) -> list[Number]:
    """The numbers of the sentence or clause that concludes, or else of the first clause that has any."""
    for a, b in reversed(sentences(text)):
        inside = [one for one in read if a <= one.start < b]
        if inside and CONCLUDES.match(text[a:b]):
            return inside
        for found in reversed([*THEREFORE.finditer(text, a, b)]):
            if after := [one for one in inside if one.start >= found.end()]:
                return after
    clause = [read[0]]
    for before, one in pairwise(read):
        between = text[before.end : one.start]
        listing = re.fullmatch(r"\s*,\s*(?:or\s+|and\s+|ya\s+|या\s+)?", between) and not re.match(
            r"\s*[^\W\d_]", text[one.end :].removeprefix(" or").removeprefix(" and")
        )
        if re.search(r"[,;:!?\n]|\.(?=\s)|\b(?:but|lekin)\b", between) and not listing:
            break
        clause.append(one)
    return clause


def _where(read: list[Number], keep: Sequence[bool]) -> list[Number]:
    """Those to keep, or all where none is."""
    return [one for one, kept in zip(read, keep, strict=True) if kept] or read
