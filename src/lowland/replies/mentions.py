"""Rules for whether a mention of the gold counts as the reply's answer.

A mention does not count if it is denied, part of something else (`other_names.py`), behind another answer, or one of
several candidates.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lowland.replies.clauses import BUT, NOT_AFTER, NOT_BEFORE, STOPS, denied
from lowland.replies.number_words import SCALES
from lowland.replies.numbers import numbers_in
from lowland.replies.other_names import follows_another_answer, is_in_longer_name
from lowland.replies.wording import ENUMERATION, OR, Mention, before, listed, words_of

COMPASS = listed("north south east west uttar dakshin उत्तर दक्षिण पूर्व पश्चिम")
"""Words that make another name of the name behind them: South Africa, south-east."""
SECOND = re.compile(r"(?:(?<!other )(?<!rather )\bthan|\bfollowed by)\s+(?:the\s+)?$", re.IGNORECASE)
AND = re.compile(r",|\band\b|&|और|\baur\b", re.IGNORECASE)
_WORDS_TO_OR = 8
"""Number of words behind a mention among which an "or" is searched."""
_ENTRY_WORDS = 3
"""Largest number of words of an entry of a list."""
_LIST_WORDS = 12
"""Largest number of words of a list in one line."""


def counts_as_answer(mention: Mention) -> bool:
    """Whether a mention of the gold is the reply's answer."""
    first, past = mention.span
    return not (
        denied(mention.text, first, past)
        or SECOND.search(before(mention.text, first))
        or _is_another_place(mention)
        or _is_alternative(mention)
        or _is_in_list(mention)
        or is_in_longer_name(mention)
        or follows_another_answer(mention)
    )


def _is_another_place(mention: Mention) -> bool:
    """Whether a point of the compass stands right before the mention: "South Africa"."""
    text, words, start = mention.text, mention.words, mention.start
    last = words[start - 1] if start > 0 else None
    return last is not None and last.fold in COMPASS and not text[last.end : words[start].start].strip(" -")


def is_other_amount(mention: Mention) -> bool:
    """Whether the mention is a scale, and the number before it makes another amount: "10 crore" is not "crore"."""
    text, words, start, end = mention.text, mention.words, mention.start, mention.end
    if start == 0 or words[start].fold not in SCALES:
        return False
    numbers = numbers_in(text[words[start - 1].start : words[end - 1].end])
    return len(numbers) == 1 and numbers[0].value != SCALES[words[start].fold]


def _is_alternative(mention: Mention) -> bool:
    """Whether the mention stands beside an "or" or "/" whose other side is not an alias."""
    text, words, start, end = mention.text, mention.words, mention.start, mention.end
    gold_starts, gold_ends = mention.gold_starts, mention.gold_ends

    def between(number: int) -> str:
        """Return the characters between word `number - 1` and word `number`."""
        return text[words[number - 1].end : words[number].start]

    if start > 0 and (words[start - 1].fold in OR or "/" in between(start)):
        end_of_other_side = start - 1 if words[start - 1].fold in OR else start
        return end_of_other_side not in gold_ends
    if end < len(words) and "/" in between(end):
        return end not in gold_starts
    for number in range(end, min(end + _WORDS_TO_OR, len(words))):
        if any(stop in between(number) for stop in STOPS):
            return False
        if number == end and words[number].fold not in OR and "," not in between(number):
            return False  # the sentence goes on
        if words[number].fold in OR:
            has_one_comma = "," in between(number) and not (start > 0 and "," in between(start))
            says_it_twice = number == end and has_one_comma  # "X, or Y"
            return not says_it_twice and number + 1 < len(words) and number + 1 not in gold_starts
        if words[number].fold in BUT:
            return False
    return False


def _is_in_list(mention: Mention) -> bool:
    """Whether the reply is a list in which the mention is one of several candidates.

    Such a list consists of lines, of names joined by "and", or of names with commas of which another comes first.
    """
    text, words, (start, end) = mention.text, mention.words, mention.span
    lines, are_entries = _lines(text)
    if lines > 1 and are_entries:
        return True
    if lines > 1 or len(words) > _LIST_WORDS:
        return False
    parts = [text[first:past] for first, past in _spans_between(AND, text)]
    if (
        len(parts) < 2
        or AND.search(text[start:end])
        or any(not 0 < len(words_of(part)) <= _ENTRY_WORDS for part in parts)
    ):
        return False
    if any(word.fold in NOT_BEFORE | NOT_AFTER for word in words):
        return False
    gold_words = {number for first, past in mention.golds for number in range(first, past)}
    if len(gold_words) >= len(words) - 1:
        return False
    return AND.search(text.replace(",", " ")) is not None or start >= len(parts[0])


@lru_cache(maxsize=256)
def _lines(text: str) -> tuple[int, bool]:
    """Return the number of lines of a text that are not blank, and whether they are all entries of a list."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines), all(len(words_of(ENUMERATION.sub("", line))) <= _ENTRY_WORDS for line in lines)


def _spans_between(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Return the spans of a text between a pattern's matches."""
    borders = [border for match in pattern.finditer(text) for border in match.span()]
    borders = [0, *borders, len(text)]
    return list(zip(borders[::2], borders[1::2], strict=True))
