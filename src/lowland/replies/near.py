"""Near misses: words that are likely misspellings of an answer."""

from __future__ import annotations

import re

from rapidfuzz.distance import OSA

NEAR = 0.86
"""Smallest similarity of a near miss, 1 - edits / letters, where a swap is one edit; see near_misses.jsonl."""
NEAR_LETTERS = 5
"""Words with fewer letters have no near misses: Iran is not Iraq."""
ENDING_LETTERS = 9
"""Words with fewer letters become other words when letters are added at their end: silicon, silicone."""


def near(word: str, gold: str) -> bool:
    """Whether a word is a misspelling of another; both are single, case-folded words.

    Both words must have at least `NEAR_LETTERS` letters, no digit, and the same first letter. They are near if they are
    equal once double letters are single, or if 1 - edits / letters of the longer is at least `NEAR` (about one edit in
    eight letters). In the second case, a word with fewer than `ENDING_LETTERS` letters must not be the beginning of the
    other.

    Examples:
        >>> near("canbera", "canberra"), near("austria", "australia")
        (True, False)
    """
    letters = min(len(word), len(gold))
    if letters < NEAR_LETTERS or word[0] != gold[0] or any(letter.isdigit() for letter in word + gold):
        return False
    if _with_single_letters(word) == _with_single_letters(gold):
        return True
    if letters < ENDING_LETTERS and (word.startswith(gold) or gold.startswith(word)):
        return False
    return OSA.normalized_similarity(word, gold) >= NEAR


def _with_single_letters(word: str) -> str:
    """Return the word with double letters made single."""
    return re.sub(r"(.)\1+", r"\1", word)
