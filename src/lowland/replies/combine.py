"""Joins neighbouring parts into fractions, powers, mixed numbers and Hindi quarters.

| written | value |
| --- | --- |
| 299 792 458 | groups of three digits with one space between |
| 10^6, ten to the sixth, 3×10^8 | a^b for a whole b of at most 400; c · 10^b |
| three point one four, तीन दशमलव पाँच | a decimal; behind the point single digits |
| साढ़े n, सवा n, पौने n | n + 1/2, n + 1/4, n - 1/4; सवा alone: 5/4; सवा, पौने before a scale: 5/4, 3/4 of it |
| a/b, एक बटा दो, three quarters, दो तिहाई | a/b |
| 2 1/2, three and a half, तीन और आधा | whole number + fraction below one |

Neighbours that would change the value in another way make an unread part of both: 72/6 (a division), a/b/c, two third,
three half, एक डेढ़, साढ़े without a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from lowland.replies.fraction_words import AND_PART, BY, POINT
from lowland.replies.number_words import ENGLISH, TENS
from lowland.replies.parts import Kind, Part
from lowland.replies.wording import words_of

JOINED = re.compile(r"[\s-]*")
_SPACE = re.compile(r"\s+")
_POWER = re.compile(
    r"\s*(?:\^|(?:raised\s+)?to\s+the\s+power(?:\s+of)?)\s*\(?\s*([-+]?|minus\s+|negative\s+)", re.IGNORECASE
)
_TO_THE = re.compile(r"\s+to\s+the\s+", re.IGNORECASE)
_TIMES = re.compile(r"\s*[x×*·]\s*|\s+(?:times|into|multiplied\s+by)\s+", re.IGNORECASE)
_LARGEST_POWER = 400
_MOST_VALUES = 1_000
"""Number of values after which those of further parts are left out; a number of so many parts is unread."""
_MOST_CHARACTERS = 1_000
"""Length of the longest decimal in words, and of the longest row of groups of digits, that is read."""
_VALUES = ("digits", "word")
Rule = Callable[[str, Part, Part], Part | None]


def combined(text: str, parts: list[Part], years: bool) -> list[Part]:
    """Return the parts with neighbours joined; each rule reads from left to right."""
    rules: list[Rule] = [_tens, _power, _times_power, _decimal, _shift, _ratio, _nth, _mixed, _half_joined]
    if not years:
        rules.insert(0, _digit_groups)
    for rule in rules:
        parts = _applied(rule, text, parts)
    behind = [*parts[1:], None]
    return [_settled(text, part, after) for part, after in zip(parts, behind, strict=False)]


def _settled(text: str, part: Part, after: Part | None) -> Part:
    """Return a lone साढ़े, सवा or पौने as 5/4 or 3/4 before a scale, else as unread (no number in Latin letters)."""
    if part.kind != "shift":
        return part
    before_scale = after and after.kind == "scale" and JOINED.fullmatch(text[part.end : after.start])
    if before_scale and part.value != Fraction(1, 2):
        return replace(part, value=1 + part.value, kind="amount", sure=True)
    if part.sure and part.value == Fraction(1, 4):
        return replace(part, value=1 + part.value, kind="amount")
    return replace(part, kind="unread") if part.sure or before_scale else part


def _applied(rule: Rule, text: str, parts: list[Part]) -> list[Part]:
    result: list[Part] = []
    for part in parts:
        joined = rule(text, result[-1], part) if result else None
        if joined is None:
            result.append(part)
        else:
            result[-1] = joined
    return result


def joined_values(first: tuple[Fraction, ...], second: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Return the values that stand in two parts, or of very many the first."""
    return first + second if len(first) < _MOST_VALUES else first


def _join(first: Part, second: Part, value: Fraction, kind: Kind) -> Part:
    values = joined_values(first.values, second.values)
    return Part(value, kind, first.start, second.end, True, values)


def _unread(first: Part, second: Part) -> Part:
    return _join(first, second, max(first.value, second.value), "unread")


def _is_whole(part: Part) -> bool:
    return part.kind in _VALUES and part.value.denominator == 1


def _digit_groups(text: str, first: Part, second: Part) -> Part | None:
    """Join "300 000": one to three digits, then groups of three with one space between."""
    tail = text[second.start : second.end]
    if text[first.end : second.start] != " ":
        return None
    if first.end - first.start > _MOST_CHARACTERS:
        return _unread(first, second) if first.kind == "digits" and re.fullmatch(r"\d{3}", tail) else None
    if re.fullmatch(r"[1-9]\d{0,2}(?: \d{3})*", text[first.start : first.end]):
        if re.fullmatch(r"\d{3}", tail):
            return Part(first.value * 1000 + second.value, "digits", first.start, second.end)
        if re.fullmatch(r"\d{3}\D.*", tail) and second.kind == "unread":
            return _unread(first, second)
    return None


def _tens(text: str, first: Part, second: Part) -> Part | None:
    """Join "twenty-five" and "twenty-fifth"."""
    if text[first.start : first.end].casefold() not in TENS or second.value >= 10 or second.value < 1:
        return None
    if JOINED.fullmatch(text[first.end : second.start]) is None:
        return None
    word = text[second.start : second.end].casefold()
    if second.kind == "nth" and word != "quarter":
        return (
            _unread(first, second)
            if word == "second"
            else _join(first, second, first.value + second.value, "word")
        )
    return _join(first, second, first.value + second.value, "word") if word in ENGLISH else None


def _power(text: str, first: Part, second: Part) -> Part | None:
    """Join "10^6" and "ten to the sixth"; a power of a power is unread."""
    between = text[first.end : second.start]
    sign = _POWER.fullmatch(between)
    if sign is None and not (second.kind == "nth" and _TO_THE.fullmatch(between)):
        return None
    exponent = -second.value if sign and sign[1] and sign[1] != "+" else second.value
    known = first.kind in (*_VALUES, "scale") and second.kind in (*_VALUES, "nth")
    small = exponent.denominator == 1 and abs(exponent) <= _LARGEST_POWER and abs(first.value) <= 10**6
    if not known or not small or (first.value == 0 and exponent <= 0):
        return _unread(first, second)
    value = first.value ** int(exponent)
    return Part(value, "power", first.start, second.end, True, (*first.values, *second.values))


def _times_power(text: str, first: Part, second: Part) -> Part | None:
    """Join "3×10^8"."""
    is_power_of_ten = second.kind == "power" and second.values[0] == 10
    if first.kind in _VALUES and is_power_of_ten and _TIMES.fullmatch(text[first.end : second.start]):
        return _join(first, second, first.value * second.value, "amount")
    return None


def _decimal(text: str, first: Part, second: Part) -> Part | None:
    """Join "three point one four"; behind the point, words for more than a digit are unread."""
    between, digits = text[first.end : second.start], text[second.start : second.end]
    is_digit = second.kind == "word" and second.value < 10
    if POINT.fullmatch(between):
        if _is_whole(first) and re.fullmatch(r"\d+", digits):
            return _join(first, second, first.value + Fraction(f"0.{digits}"), "amount")
        if _is_whole(first) and is_digit:
            return _join(first, second, first.value + second.value / 10, "amount")
        return _unread(first, second)
    point = POINT.search(text, first.start, first.end) if first.kind == "amount" else None
    if point is None or not is_digit or not _SPACE.fullmatch(between) or text[first.end - 1].isdigit():
        return None
    if first.end - first.start > _MOST_CHARACTERS:
        return _unread(first, second)
    places = len(words_of(text[point.end() : first.end])) + 1
    return _join(first, second, first.value + second.value / 10**places, "amount")


def _shift(text: str, first: Part, second: Part) -> Part | None:
    """Join साढ़े, सवा and पौने with the number or the scale behind them."""
    if first.kind != "shift" or JOINED.fullmatch(text[first.end : second.start]) is None:
        return None
    if _is_whole(second) and second.value >= 1:
        return _join(first, second, second.value + first.value, "amount")
    if second.kind == "scale":
        return None
    return _unread(first, second)


def _ratio(text: str, first: Part, second: Part) -> Part | None:
    """Join "3/4" and "एक बटा दो"; a division without rest, a chain and words with a slash are unread or apart."""
    between = text[first.end : second.start]
    if not BY.fullmatch(between) or ("/" in between and not text[second.start : second.end][:1].isdigit()):
        return None
    if "/" in between and not text[first.end - 1 : first.end].isdigit():
        return None
    chained = BY.search(text[first.start : first.end])
    known = first.kind in (*_VALUES, "amount") and _is_whole(second) and second.value > 0
    if chained or not known or (first.value / second.value).denominator == 1:
        return _unread(first, second)
    value = first.value / second.value
    return _join(first, second, value, "ratio" if value < 1 else "amount")


def _nth(text: str, first: Part, second: Part) -> Part | None:
    """Join "two thirds", "one half" and दो तिहाई; "two third" is unread."""
    if JOINED.fullmatch(text[first.end : second.start]) is None:
        return None
    is_one = first.kind == "word" and first.value == 1
    if is_one and second.kind == "ratio" and text[second.start].isalpha():
        return _join(first, second, second.value, "ratio")  # one half
    if second.kind not in ("nth", "nths"):
        return None
    word = text[second.start : second.end].casefold()
    if word == "second" or first.kind in ("nth", "nths", "scale"):
        return None
    plural = second.kind == "nths" or word == "quarter"
    if not _is_whole(first) or word == "first" or not (plural or first.value == 1):
        return _unread(first, second)
    value = first.value / second.value
    return _join(first, second, value, "ratio" if value < 1 else "amount")


def _mixed(text: str, first: Part, second: Part) -> Part | None:
    """Join a whole number with a fraction below one: "2 1/2", "2-1/2", "three and a half"."""
    if second.kind != "ratio" or not _is_whole(first):
        return None
    between = text[first.end : second.start]
    in_digits = BY.search(text[second.start : second.end])
    joins = AND_PART.fullmatch(between) or (in_digits and (between == "-" or _SPACE.fullmatch(between)))
    return _join(first, second, first.value + second.value, "amount") if joins else None


def _half_joined(text: str, first: Part, second: Part) -> Part | None:
    """Mark "three half", "एक डेढ़" and "डेढ़ तिहाई": a number and a fraction word side by side."""
    joined = _SPACE.fullmatch(text[first.end : second.start]) or text[first.end : second.start] == "-"
    fraction_words = ("ratio", "amount")
    if joined and first.kind in (*_VALUES, *fraction_words) and second.kind in fraction_words:
        in_words = not text[second.start].isdigit()
        return (
            _unread(first, second) if in_words and not text[first.start : first.end].endswith(" a") else None
        )
    return None
