"""Neighbours of a number in a text that change what it says: bounds, signs of an operation, misspelt scales, ranges.

A number is unread if beside it stands

- a bound: over 5, more than 5, at least 5, 5 or more, 5+, >5, 5 से ज्यादा, kam se kam 5, five hundred odd;
- an operation: √81, twice 5, 5^n, the square of 5, 5 squared, 5 factorial;
- a scale or number word with an error in it: 5 millon, twenty fvie;
- an ending with a hyphen or an apostrophe: twenty-ish, 1940's.

An approximation (about 5, ~5, 5 or so) gives its number, and a unit that is half known (km/day, square km) belongs to
no gold. A range is read as its two ends; it never stands for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import OSA

from lowland.replies.number_words import ENGLISH, SCALES, TENS
from lowland.replies.wording import before, words_of

_ABOUT = r"(?:about|around|approximately|roughly|nearly|the|an?|लगभग|करीब|lagbhag|kareeb)"
_CHANGES_NEXT = re.compile(
    r"(?:(?<!\bother )\bthan|\bover"
    r"|\bunder|\babove|\bbelow|\bbeyond|\bexceed(?:s|ing)?|\bat\s+(?:the\s+)?(?:least|most)"
    r"|(?<!add )(?<!adds )(?<!added )(?<!adding )(?<!sum )(?<!sums )(?<!come )(?<!comes )\bup\s*to"
    r"|\bmaximum(?:\s+of)?|\bminimum(?:\s+of)?|\btwice|\bthrice|\bdouble|\btriple|\bsquare\s+of|\bcube\s+of"
    r"|\bkam\s+se\s+kam|\bzyada\s+se\s+zyada|कम\s+से\s+कम|(?:ज्यादा|अधिक)\s+से\s+(?:ज्यादा|अधिक)"
    r"|(?:न्यूनतम|अधिकतम|दोगुना|दुगना|दुगुना)|\b(?:duguna|dugna|doguna)"
    rf"|[<>]\s*=?|[≤≥√∛^±⩽⩾])\s*(?:{_ABOUT}\s+|[~≈]\s*)?$",
    re.IGNORECASE,
)
_ARROW_OR_TAG = re.compile(r"(?:[-=]\s*>|<[^<>\d]*>)\s*$")
_CHANGES_LAST = re.compile(
    r"""\s*(?:
        \)*\s*\^ | \+(?!\s*[\d(]) | -(?:plus|something|some|odd|ish|fold|teen)\b | [-\s]ish\b | ['’]s\b
      | \s(?:or|and)\s+(?:more|less|fewer|above|below|over|under|higher|lower|greater|up|upwards?|older|younger
          |something|some\s+more|(?:a\s+)?(?:bit|few|little)|change)\b
      | \splus\b(?!\s+[\w]) | \ssomething\b | \sodd\b(?!\s+(?:numbers?|digits?|integers?|ones?)\b)
      | \s(?:squared|cubed|factorial|below|above)\b | \sto\s+the\s+(?:power|nth)\b | \spoint\b
      | \s(?:से|se)\s+(?:भी\s+|bhi\s+|thod[aei]\s+|थोड[ाेी]\s+)?
          (?:ज्यादा|अधिक|कम|ऊपर|नीचे|zyada|zyaada|jyada|jyaada|adhik|kam|upar|uupar|neeche)(?!\w)
      | \s(?:या|ya)\s+(?:उससे\s+|इससे\s+|usse\s+|isse\s+)?(?:ज्यादा|अधिक|कम|zyada|jyada|adhik|kam)(?!\w)
      | \s(?:का|ka)\s+(?:वर्ग|घन|varg|square|cube)(?!\w)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_HALF_UNIT = re.compile(r"\s*(?:/\s*[^\W\d_]|per\b|प्रति\b|\^|\d|(?:squared|cubed)\b)", re.IGNORECASE)
_POWER_OF_UNIT = re.compile(r"\s*-?\s*(?:square|sq\.?|cubic|cu\.?|वर्ग|घन)\s*$", re.IGNORECASE)
_RANGE = re.compile(
    r"\s*(?:-|~|\.{2,3})\s*|\s+(?:to|until|till|through|thru|up\s*to|se|से|and\s+up\s+to)\s+", re.IGNORECASE
)
_BETWEEN = re.compile(rf"\b(?:between|from)\s+(?:{_ABOUT}\s+)?$", re.IGNORECASE)
_AND = re.compile(r"\s+(?:and|aur|और|&)\s+", re.IGNORECASE)
_OF_BOTH = re.compile(r"\s*(?:के|ke|में|mein)\s+(?:बीच|मध्य|beech|bich|madhya)", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s*\b(?:or|ya)\s+(?:maybe\s+|perhaps\s+)?|\s+(?:या|अथवा)\s+|\s*/\s*", re.IGNORECASE)
_SIGHT = 60
"""Characters before and behind a number in which its neighbours are searched."""
_SIMILAR = 0.75
"""Smallest similarity of a misspelt scale or number word."""


def changes_value(text: str, start: int, end: int) -> bool:
    """Whether a neighbour of the number in text[start:end] changes it in a way that is not read."""
    near, after = text[max(0, start - _SIGHT) : start], text[end : end + _SIGHT]
    bound = not ends_plainly(near) and _CHANGES_NEXT.search(near) and not _ARROW_OR_TAG.search(near)
    return bool(bound) or _CHANGES_LAST.match(after) is not None or _is_misspelt(text[start:end], after)


def ends_plainly(text: str) -> bool:
    """Whether a text ends in a digit or a point, so that no word or sign at its end changes the number behind it."""
    last = text.rstrip()[-1:]
    return last.isdigit() or last in ",.;:!?"


def unit_is_half_known(text: str, start: int, end: int) -> bool:
    """Whether the unit in text[start:end] is only a part of one: km/day, km², square km."""
    return _HALF_UNIT.match(text, end) is not None


def is_power_of_unit(between: str) -> bool:
    """Whether the words between a number and a unit make another unit of it: "square", "cubic"."""
    return _POWER_OF_UNIT.fullmatch(between) is not None


def is_range(text: str, first: tuple[int, int], second: tuple[int, int], sure: bool) -> bool:
    """Whether two numbers are the ends of a range or the sides of a subtraction: "5-6", "1939 to 1945", "7 - 3".

    A word that is also an ordinary word (`sure` is False) needs more than a dash with spaces: "this one - five".
    """
    between = text[first[1] : second[0]]
    if _RANGE.fullmatch(between):
        return sure or not re.fullmatch(r"\s+-\s+", between)
    if _AND.fullmatch(between) is None:
        return False
    return bool(_BETWEEN.search(before(text, first[0])) or _OF_BOTH.match(text, second[1]))


def are_alternatives(between: str) -> bool:
    """Whether the text between two numbers offers a choice: "or"."""
    return _OR.fullmatch(between) is not None


def _is_misspelt(number: str, after: str) -> bool:
    """Whether the next word is a misspelt scale, or a misspelt digit behind a word for tens."""
    words = words_of(after[:40])
    if not words or after[: words[0].start].strip(" -"):
        return False
    fold = words[0].fold
    if fold in SCALES or len(fold) < 4:
        return False
    last = words_of(number)[-1:]
    is_tens = bool(last) and last[0].fold in TENS
    return _is_like(fold, [form for form in SCALES if len(form) >= 5]) or (
        is_tens and fold not in ENGLISH and _is_like(fold, [form for form in ENGLISH[1:10] if len(form) >= 4])
    )


def _is_like(word: str, forms: Sequence[str]) -> bool:
    return any(
        word[0] == form[0] and word != form and OSA.normalized_similarity(word, form) >= _SIMILAR
        for form in forms
    )
