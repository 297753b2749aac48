"""Choice of the numbers that a reply gives as its answer; `lowland.replies.answers` states the rule."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from itertools import pairwise

from lowland.replies.clauses import denied, sentences
from lowland.replies.numbers import Number, Value, numbers_in
from lowland.replies.wording import ENUMERATION, SIGHT, before

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
"""The end of the text before a number that is part of a name: carbon-12."""


def number_of_alias(alias: str, years: bool) -> Number | None:
    """Return the number that an alias stands for; None if it has none, several ("one one two") or an unread one."""
    numbers = numbers_in(alias, years)
    numbers = _prefer(numbers, lambda number: not years or _largest(number) >= 100)
    return numbers[0] if len(numbers) == 1 and numbers[0].value is not None else None


def _largest(number: Number) -> Fraction:
    """Return the largest absolute value that stands in a number."""
    return max(map(abs, number.values), default=Fraction(0))


def _is_of_question(number: Number, in_question: Collection[Fraction]) -> bool:
    """Whether a number repeats the question's: it, or each value in an unread number or range."""
    if isinstance(number.value, Fraction):
        return number.value in in_question
    return set(number.values) <= set(in_question)


def _is_year(number: Number) -> bool:
    whole = not isinstance(number.value, Fraction) or number.value.denominator == 1
    return _largest(number) >= 100 and whole


def answer_numbers(
    text: str, years: bool, units: Collection[str], values: set[Value], in_question: set[Fraction]
) -> list[Number]:
    """Return the numbers that a reply gives as its answer.

    A number that is not fully read takes part like any other, and it is never the gold.

    Args:
        text: the part of the reply to read, as plain text.
        years: whether years are asked for; then numbers from 100 on are preferred (15 August 1947).
        units: units of the gold, if it has any; numbers in other units do not answer.
        values: values of the gold.
        in_question: the question's own numbers, which are ignored unless the gold is one of them.
    """
    if "\n" in text:
        text = ENUMERATION.sub(lambda match: " " * len(match[0]), text)
    numbers = _prefer(numbers_in(text, years, "kelvin" in units), lambda number: number.sure)
    brackets = [match.span() for match in BRACKETS.finditer(text)]
    numbers = _prefer(numbers, lambda number: not _is_inside(brackets, number))
    numbers = _prefer(numbers, lambda number: not NAMED.search(before(text, number.start)))
    if not values & in_question:
        numbers = _prefer(numbers, lambda number: not _is_of_question(number, in_question))
    numbers = [number for number in numbers if not denied(text, number.start, number.end)]
    if units:
        numbers = [number for number in numbers if number.unit in units or not number.unit]
    if years:
        numbers = _prefer(numbers, _is_year)
    if not numbers:
        return []
    decisive = _decisive(text, numbers)
    if len({number.value for number in decisive}) > 1:
        ends = [match.end() for match in EQUALS.finditer(text[: decisive[-1].start])]
        decisive = _prefer(decisive, lambda number: bool(ends) and number.start >= ends[-1])
    unit = next((number.unit for number in decisive if number.value in values), "")
    return [number for number in decisive if not unit or not number.unit or number.unit == unit]


def _decisive(text: str, numbers: list[Number]) -> list[Number]:
    """Return the numbers of the sentence or clause that concludes, else of the first clause that has any."""
    starts = [number.start for number in numbers]
    for start, end in reversed(sentences(text)):
        inside = numbers[bisect_left(starts, start) : bisect_left(starts, end)]
        if inside and CONCLUDES.match(text, start, end):
            return inside
        for match in reversed([*THEREFORE.finditer(text, start, end)]):
            if after := [number for number in inside if number.start >= match.end()]:
                return after
    clause = [numbers[0]]
    for last, number in pairwise(numbers):
        between = text[last.end : number.start]
        in_listing = re.fullmatch(r"\s*,\s*(?:or\s+|and\s+|ya\s+|या\s+)?", between) and not re.match(
            r"\s*[^\W\d_]", text[number.end : number.end + SIGHT].removeprefix(" or").removeprefix(" and")
        )
        if re.search(r"[,;:!?\n]|\.(?=\s)|\b(?:but|lekin)\b", between) and not in_listing:
            break
        clause.append(number)
    return clause


def _is_inside(spans: Sequence[tuple[int, int]], number: Number) -> bool:
    """Whether a number stands in one of several spans, which are in order and do not overlap."""
    place = bisect_right(spans, number.start, key=lambda span: span[0]) - 1
    return place >= 0 and number.start < spans[place][1]


def _prefer(numbers: list[Number], is_preferred: Callable[[Number], bool]) -> list[Number]:
    """Return the numbers that are preferred, or all if none is."""
    return [number for number in numbers if is_preferred(number)] or numbers
