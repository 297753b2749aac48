"""Does a mention of the gold count as the answer? Not if denied, a part of something else, or one of several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lowland.stress.replies.number_words import SCALES
from lowland.stress.replies.numbers import numbers_in
from lowland.stress.replies.wording import (
    BUT,
    ENUMERATION,
    NOT_AFTER,
    NOT_BEFORE,
    OR,
    STOPS,
    Word,
    denied,
    listed,
    words_of,
)

COMPASS = listed("north south east west uttar dakshin उत्तर दक्षिण पूर्व पश्चिम")
"""Before a name they make another one: South Africa, south-east."""
SECOND = re.compile(r"(?:(?<!other )(?<!rather )\bthan|\bfollowed by)\s+(?:the\s+)?$", re.IGNORECASE)
AND = re.compile(r",|\band\b|&|और|\baur\b", re.IGNORECASE)


def counts(text: str, words: Sequence[Word], start: int, end: int, golds: Sequence[tuple[int, int]]) -> bool:
    """Whether words [start, end) are what the reply gives: not denied, not second, no one of several candidates."""
    a, b = words[start].start, words[end - 1].end
    return not (
        denied(text, a, b)
        or SECOND.search(text[:a])
        or _another_place(text, words, start)
        or _alternative(text, words, start, end, golds)
        or _in_list(text, a, b, words, golds)
    )


def _another_place(text: str, words: Sequence[Word], start: int) -> bool:
    """Whether a point of the compass stands right before: "South Africa"."""
    before = words[start - 1] if start > 0 else None
    return (
        before is not None
        and before.fold in COMPASS
        and not text[before.end : words[start].start].strip(" -")
    )


def other_amount(text: str, words: Sequence[Word], start: int, end: int) -> bool:
    """Whether the words are a scale, and a number before makes another amount of it: "10 crore" is not "crore"."""
    if start == 0 or words[start].fold not in SCALES:
        return False
    read = numbers_in(text[words[start - 1].start : words[end - 1].end])
    return len(read) == 1 and read[0].value != SCALES[words[start].fold]


def _alternative(
    text: str, words: Sequence[Word], start: int, end: int, golds: Sequence[tuple[int, int]]
) -> bool:
    """Whether the words stand beside an "or" whose other side is no alias."""
    starts, ends = {one for one, _ in golds}, {one for _, one in golds}

    def comma(left: int, right: int) -> bool:
        return "," in text[words[left].end : words[right].start]

    if start > 0 and (words[start - 1].fold in OR or "/" in text[words[start - 1].end : words[start].start]):
        here = start - 1 if words[start - 1].fold in OR else start
        return here not in ends
    if end < len(words) and "/" in text[words[end - 1].end : words[end].start]:
        return end not in starts
    for place in range(end, min(end + 8, len(words))):
        if any(stop in text[words[place - 1].end : words[place].start] for stop in STOPS):
            return False
        if place == end and words[place].fold not in OR and not comma(place - 1, place):
            return False  # the sentence goes on
        if words[place].fold in OR:
            twice = place == end and comma(place - 1, place) and not (start > 0 and comma(start - 1, start))
            return not twice and place + 1 < len(words) and place + 1 not in starts
        if words[place].fold in BUT:
            return False
    return False


def _in_list(text: str, a: int, b: int, words: Sequence[Word], golds: Sequence[tuple[int, int]]) -> bool:
    """Whether the reply is a list: of lines, of names joined by "and", or by commas and another comes first."""
    lines = [line for line in text.split("\n") if line.strip()]
    bare = [ENUMERATION.sub("", line) for line in lines]
    if len(lines) > 1 and all(len(words_of(line)) <= 3 for line in bare):
        return True
    if len(lines) > 1 or len(words) > 12:
        return False
    parts = [text[i:j] for i, j in _between(AND, text)]
    if len(parts) < 2 or AND.search(text[a:b]) or any(not 0 < len(words_of(part)) <= 3 for part in parts):
        return False
    if any(word.fold in NOT_BEFORE | NOT_AFTER for word in words):
        return False
    inside = {place for start, end in golds for place in range(start, end)}
    if len(inside) >= len(words) - 1:
        return False
    return AND.search(text.replace(",", " ")) is not None or a >= len(parts[0])


def _between(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """The spans of a text between a pattern's matches."""
    borders = [place for found in pattern.finditer(text) for place in found.span()]
    places = [0, *borders, len(text)]
    return list(zip(places[::2], places[1::2], strict=True))
