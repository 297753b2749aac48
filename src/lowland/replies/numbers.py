"""Reader of the numbers in a plain text (`lowland.replies.wording.plain`): digits and words, with their units.

A number is built from parts (`parts.py`, `combine.py`) and scales: hundred, thousand, lakh, million, crore, dozen. Its
value is the sum of its terms, and a term is its coefficient times its scales: "two lakh fifty" is 2·10^5 + 50, "three
lakh crore" is 3·10^5·10^7. **A number that is not read to its end has no value**, so it never makes a reply right:
runs such as 5ish or 0x10, "hundreds", "several thousand", "a million and a half", scales that grow ("two lakh three
crore"), and numbers beside a neighbour that changes them (`neighbours.py`). Roman numerals are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from lowland.replies.combine import JOINED, combined, joined_values
from lowland.replies.fraction_words import INDEFINITE, SEVERAL
from lowland.replies.neighbours import (
    are_alternatives,
    changes_value,
    ends_plainly,
    is_power_of_unit,
    is_range,
    unit_is_half_known,
)
from lowland.replies.number_words import SCALES, UNITS
from lowland.replies.parts import UNIT, Part, parts_of, word_value
from lowland.replies.wording import before, plain, words_of

SIGN = re.compile(r"(?<![\w)\]%°])(?:-|(?:minus|negative|माइनस|मायनस|ऋण|ऋणात्मक)\s)\s*$", re.IGNORECASE)
AND = re.compile(r"\s+and\s+", re.IGNORECASE)
ARTICLE = re.compile(r"\s+(?:of\s+)?an?\s+", re.IGNORECASE)
POWER = re.compile(r"\s*-?\s*(?:square|sq\.?|cubic|cu\.?|वर्ग|घन)\s+", re.IGNORECASE)
PLUS_MINUS = re.compile(r"(?:±|\+\s*/\s*-|\bplus\s+or\s+minus\b)\s*$", re.IGNORECASE)
_SIGHT_OF_SIGN = 40
"""Number of characters before a number in which its sign is searched."""
NAMES: Mapping[str, str] = {plain(form).casefold(): name for form, name in UNITS.items()}
HALF_KNOWN = "half known"
"""Unit of a number whose unit is read only in part; it belongs to no gold."""
MULTIPLIERS = (12, 20, 100, 144)
"""Scales that multiply what stands before them within a term: two hundred thousand."""

Value = Fraction | tuple[Fraction, Fraction]
"""A number, or the two ends of a range."""


@dataclass(frozen=True)
class Number:
    """A number in a text.

    Attributes:
        value: negative for years BC; two ends for a range; None if the number is not fully read.
        unit: a name in `UNITS`; "" if no unit follows, `HALF_KNOWN` if it is read only in part.
        start: index of its first character.
        end: index behind its last character; the unit is included.
        sure: False for a single word that is an ordinary word, too ("one", "do").
        values: that stand in it, also if it is not fully read.
    """

    value: Value | None
    unit: str
    start: int
    end: int
    sure: bool = True
    values: tuple[Fraction, ...] = ()


def numbers_in(text: str, years: bool = False, kelvin: bool = False) -> list[Number]:
    """Return the numbers of a plain text, in their order.

    Args:
        text: as `lowland.replies.wording.plain` returns it.
        years: whether to read "nineteen forty-seven" as 1947.
        kelvin: whether 273K is in kelvin; otherwise a K right behind digits means thousand.

    Examples:
        >>> [(str(number.value), number.unit) for number in numbers_in("two lakh fifty, or 1,00,000 km")]
        [('200050', ''), ('100000', 'kilometre')]
        >>> [number.value for number in numbers_in("5ish")]
        [None]
    """
    groups: list[list[Part]] = []
    for part in combined(text, parts_of(text, years, kelvin), years):
        if groups and _continues(text, groups[-1], part):
            groups[-1].append(part)
        elif part.kind not in ("nth", "nths", "shift") or _is_hindi_part(text, part):
            groups.append([part])
    numbers = [_number(text, group, kelvin) for group in groups]
    ends = [0, *(number.end for number in numbers)]  # of the number before; the 2 of m/s^2 is not a number
    numbers = [number for number, end in zip(numbers, ends, strict=False) if number.start >= end]
    return _ranges(text, _paired_years(text, numbers) if years else numbers)


def _is_hindi_part(text: str, part: Part) -> bool:
    """Whether a denominator stands for one of its parts: चौथाई."""
    return part.kind == "nths" and not text[part.start : part.end].casefold().endswith("s")


def _continues(text: str, group: list[Part], part: Part) -> bool:
    """Whether a part belongs to the same number: "two hundred (and) five", "3 lakh 5 hundred", "half a million"."""
    last, between = group[-1], text[group[-1].end : part.start]
    joined = JOINED.fullmatch(between) is not None
    if part.kind == "scale":
        follows_larger = last.kind == "scale" and last.value >= part.value and part.value != 100
        follows_hyphen = "-" in between and last.kind == "digits"
        of_one = last.kind == "ratio" and ARTICLE.fullmatch(between) is not None
        return (joined or of_one) and not follows_larger and not follows_hyphen
    if last.kind != "scale" or not (joined or AND.match(between)):
        return False
    if part.kind == "ratio":
        return True  # "a million and a half" is unread
    return (joined or AND.fullmatch(between) is not None) and part.value < last.value != 12


def _number(text: str, group: list[Part], kelvin: bool) -> Number:
    """Return the number that the parts stand for, with the sign before and the unit behind them."""
    value = _value_of(text, group)
    start, end = group[0].start, group[-1].end
    seen = before(text, start)[-_SIGHT_OF_SIGN:]
    hidden = start - len(seen)
    no_sign = ends_plainly(seen)
    sign, plus_minus = (None, None) if no_sign else (SIGN.search(seen), PLUS_MINUS.search(seen))
    if changes_value(text, start, end) and not plus_minus:
        value = None
    negative = sign is not None and not _ends_in_number(seen[: sign.start()])
    if sign and negative and not plus_minus:
        start = hidden + sign.start()
        value = None if value is None or changes_value(text, start, end) else -value
    name, end, whole = _unit(text, end, kelvin)
    if not whole or (name and changes_value(text, start, end) and not plus_minus):
        value = None
    if name == "bc":
        value, name = None if value is None else -value, ""
    result: Value | None = value
    if plus_minus and value is not None:
        start, result = hidden + plus_minus.start(), (-value, value)
    values = tuple(part for part in (part for each in group for part in each.values))
    values = (*values, *((value,) if value is not None else ()))
    alone = len(group) == 1 and not group[0].sure
    return Number(result, name, start, end, not alone, values)


def _unit(text: str, end: int, kelvin: bool) -> tuple[str, int, bool]:
    """Return the unit behind a number, the index behind it, and whether its letter has one meaning."""
    square = POWER.match(text, end)
    place = square.end() if square and is_power_of_unit(square[0]) else end
    unit = UNIT.match(text, place)
    if unit is None:
        return "", end, True
    is_clear = unit[1] not in (("M",) if kelvin else ("M", "k"))  # million, thousand
    half_known = place > end or unit_is_half_known(text, unit.start(), unit.end())
    return HALF_KNOWN if half_known else NAMES[unit[1].casefold()], unit.end(), is_clear


def _value_of(text: str, group: Sequence[Part]) -> Fraction | None:
    """Return the sum of a number's terms; None if a part is unread or the terms do not fit together."""
    first = group[0]
    word = text[first.start : first.end].casefold()
    if first.kind == "scale" and (word in INDEFINITE or SEVERAL.search(before(text, first.start))):
        return None
    if len(group) == 1 and first.kind == "nths":
        return 1 / first.value
    terms: list[tuple[Fraction, Fraction]] = []  # (value, scale)
    current: Fraction | None = None
    for last, part in zip([None, *group], group, strict=False):
        follows_larger = current is None and last and last.kind == "scale" and part.value < last.value
        if part.kind == "scale" and follows_larger:
            return None
        if part.kind == "unread" or (last and last.kind == "scale" and part.kind in ("ratio", "nths")):
            return None
        if part.kind != "scale":
            current = (current or 0) + part.value
        elif part.value in MULTIPLIERS and (current is not None or not terms):
            current = (1 if current is None else current) * part.value
        elif current is None and last and terms:
            terms[-1] = (terms[-1][0] * part.value, terms[-1][1] * part.value)
        else:
            terms.append(((1 if current is None else current) * part.value, part.value))
            current = None
    scales = [scale for _, scale in terms]
    if any(later >= earlier for earlier, later in pairwise(scales)):
        return None
    return sum((value for value, _ in terms), current or Fraction(0))


def _ends_in_number(text: str) -> bool:
    """Whether a text ends in a number, so that a minus behind it means subtraction and is not a sign."""
    text = text[-40:]
    words = words_of(text)
    last = words[-1] if words and not text[words[-1].end :].strip(" )") else None
    return last is not None and (last.fold[-1].isdigit() or word_value(last.fold) is not None)


def _paired_years(text: str, numbers: list[Number]) -> list[Number]:
    """Join "nineteen" and "forty-seven" into 1947; numbers in digits are never joined."""
    paired: list[Number] = []
    for number in numbers:
        last = paired[-1] if paired else None
        if last is not None and _is_century(last.value) and not last.unit:
            in_words = not any(sign.isdigit() for sign in text[last.start : number.end])
            if in_words and JOINED.fullmatch(text[last.end : number.start]):
                year = _year(last.value, number.value)
                paired[-1] = replace(
                    number, value=year, start=last.start, sure=True, values=last.values + number.values
                )
                continue
        paired.append(number)
    return paired


def _is_century(value: Value | None) -> bool:
    return isinstance(value, Fraction) and 10 <= value <= 20


def _year(century: Value | None, rest: Value | None) -> Fraction | None:
    """Return the year of a century and the two digits behind it; None if the rest is unread."""
    if isinstance(century, Fraction) and isinstance(rest, Fraction) and 0 <= rest < 100:
        return century * 100 + rest
    return None


def _ranges(text: str, numbers: list[Number]) -> list[Number]:
    """Join the ends of ranges; make numbers sure beside an "or"."""
    joined: list[Number] = []
    for number in numbers:
        last = joined[-1] if joined else None
        if last and is_range(text, (last.start, last.end), (number.start, number.end), last.sure):
            joined[-1] = _range(text, last, number)
            continue
        if last and are_alternatives(text[last.end : number.start]):
            joined[-1], number = replace(last, sure=True), replace(number, sure=True)
        joined.append(number)
    return joined


def _range(text: str, first: Number, second: Number) -> Number:
    """Return a range as one number; a range whose ends fall, or of which one alone has a scale, has no value."""
    low, high = first.value, second.value
    value: Value | None = None
    if (
        isinstance(low, Fraction)
        and isinstance(high, Fraction)
        and _has_scale(text, first) == _has_scale(text, second)
    ):
        if 1000 <= low <= 2100 and low % 100 < high < 100:
            high += low - low % 100  # 1939-45
        value = (low, high) if low < high else None
    values = joined_values(first.values, second.values)
    return Number(value, second.unit or first.unit, first.start, second.end, True, values)


def _has_scale(text: str, number: Number) -> bool:
    return any(word.fold in SCALES for word in words_of(text[number.start : number.end]))
