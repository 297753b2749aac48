"""Numbers in a plain text (`lowland.stress.replies.wording.plain`): digits and words, with their units.

Read are digits with thousands separators (1,000 and 1,00,000), decimals, fractions, powers of ten, signs, and number
words in English and Hindi, also romanised, with hundred, thousand, lakh, crore, million, billion and dozen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from lowland.stress.replies.number_words import (
    AMBIGUOUS,
    ENGLISH,
    HINDI,
    ROMANISED,
    SCALES,
    TENS,
    UNITS,
    skeleton,
)
from lowland.stress.replies.wording import plain, words_of

DIGITS = re.compile(
    r"(?<![^\W_])(?P<whole>\d{1,3}(?:,\d{3})+(?![\d,])|\d{1,2}(?:,\d{2})*,\d{3}(?!\d)|\d+)(?P<part>\.\d+)?"
    r"(?:\s*/\s*(?P<under>[1-9]\d*)(?![/\d]))?(?:\s*[x×*·]\s*10\s*\^\s*(?P<power>-?\d{1,3}))?(?:(?:st|nd|rd|th)\b)?",
    re.IGNORECASE,
)
SIGN = re.compile(r"(?:^|(?<=[\s(:=]))(?:-|(?:minus|negative|माइनस)\s)\s*$", re.IGNORECASE)
JOINED = re.compile(r"[\s-]*")
AND = re.compile(r"\s+and\s+", re.IGNORECASE)
UNIT = re.compile(
    r"\s*-?\s*("
    + "|".join(re.escape(plain(form)) for form in sorted(UNITS, key=len, reverse=True))
    + r")(?![^\W\d_])",
    re.IGNORECASE,
)
NAMES: Mapping[str, str] = {plain(form).casefold(): name for form, name in UNITS.items()}


@dataclass(frozen=True)
class Number:
    """A number of a text, at [start, end) of it, its unit inside.

    Attributes:
        value: below zero for years BC.
        unit: of `UNITS`, "" where none follows.
        sure: False for one word that is an ordinary word as well ("one", "do").
    """

    value: Fraction
    unit: str
    start: int
    end: int
    sure: bool = True


@dataclass(frozen=True)
class _Part:
    """A word of a number: a value below a hundred or digits, or a scale to multiply with."""

    value: Fraction
    scale: bool
    digits: bool
    start: int
    end: int
    sure: bool


def numbers_in(text: str, years: bool = False) -> list[Number]:
    """The numbers of a plain text, in its order.

    Args:
        text: from `lowland.stress.replies.wording.plain`.
        years: read "nineteen forty-seven" as 1947.

    Example:
        >>> [(str(one.value), one.unit) for one in numbers_in("two lakh fifty, or 1,00,000 km")]
        [('200050', ''), ('100000', 'kilometre')]
    """
    read: list[Number] = []
    group: list[_Part] = []
    for part in _parts(text):
        if group and not _continues(text, group, part):
            read.append(_number(text, group))
            group = []
        group.append(part)
    if group:
        read.append(_number(text, group))
    ends = [0, *(one.end for one in read)]
    read = [one for one, end in zip(read, ends, strict=False) if one.start >= end]  # not the 2 of m/s^2
    return _paired_years(text, read) if years else read


def _parts(text: str) -> Iterator[_Part]:
    """Digits and number words by their places."""
    found = []
    for one in DIGITS.finditer(text):
        value = Fraction(one["whole"].replace(",", "") + (one["part"] or ""))
        if one["under"] and not one["power"] and value % int(one["under"]) == 0:  # 72/6 asks for a division
            found.append(_Part(value, False, True, one.start(), one.end("whole"), True))
            found.append(_Part(Fraction(one["under"]), False, True, *one.span("under"), True))
            continue
        if one["under"]:
            value /= int(one["under"])
        if one["power"]:
            value *= Fraction(10) ** int(one["power"])
        found.append(_Part(value, False, True, *one.span(), True))
    for word in words_of(text):
        known = _word_value(word.fold)
        if known is not None:
            sure = word.fold not in AMBIGUOUS
            found.append(_Part(Fraction(known[0]), known[1], False, word.start, word.end, sure))
    yield from sorted(found, key=lambda part: part.start)


def _word_value(fold: str) -> tuple[int | Fraction, bool] | None:
    if fold in SCALES:
        return SCALES[fold], True
    if fold in SMALL:
        return SMALL[fold], False
    return (SKELETONS[skeleton(fold)], False) if skeleton(fold) in SKELETONS else None


def _continues(text: str, group: list[_Part], part: _Part) -> bool:
    """Whether a part is of the same number: "two hundred (and) five", "twenty-one", "3 lakh 5 hundred"."""
    last, between = group[-1], text[group[-1].end : part.start]
    joined = JOINED.fullmatch(between) is not None
    if part.scale:
        smaller = [one.value for one in group if one.scale and one.value > part.value]
        rising = last.scale and last.value >= part.value and part.value != 100
        return joined and not rising and ("-" not in between or not last.digits) and len(smaller) < 4
    if last.scale:
        return (joined or AND.fullmatch(between) is not None) and part.value < last.value != 12
    tens = not last.digits and last.value >= 20 and last.value % 10 == 0
    return joined and tens and not part.digits and 1 <= part.value <= 9


def _number(text: str, group: list[_Part]) -> Number:
    total, current = Fraction(0), Fraction(0)
    for part in group:
        if not part.scale:
            current += part.value
        elif part.value in (12, 100):
            current = (current or 1) * part.value
        else:
            total, current = total + (current or 1) * part.value, Fraction(0)
    value, start, end = total + current, group[0].start, group[-1].end
    sign = SIGN.search(text[:start])
    if sign and not _ends_in_number(text[: sign.start()]):
        value, start = -value, sign.start()
    unit = UNIT.match(text, end)
    name = NAMES[unit[1].casefold()] if unit else ""
    if unit:
        end = unit.end()
    if name == "bc":
        value, name = -value, ""
    alone = len(group) == 1 and not group[0].sure
    return Number(value, name, start, end, sure=not alone)


def _ends_in_number(text: str) -> bool:
    """Whether a minus behind the text takes away, and is no sign."""
    words = words_of(text)
    last = words[-1] if words and not text[words[-1].end :].strip(" )") else None
    return last is not None and (last.fold[-1].isdigit() or _word_value(last.fold) is not None)


def _paired_years(text: str, read: list[Number]) -> list[Number]:
    """Join "nineteen" and "forty-seven"; digits never join."""
    paired: list[Number] = []
    for one in read:
        last = paired[-1] if paired else None
        words = last is not None and not any(sign.isdigit() for sign in text[last.start : one.end])
        fits = last and 10 <= last.value <= 20 and 0 <= one.value < 100 and not last.unit
        if last and words and fits and JOINED.fullmatch(text[last.end : one.start]):
            whole = last.value * 100 + one.value
            paired[-1] = replace(one, value=whole, start=last.start, sure=True)
        else:
            paired.append(one)
    return paired


def _tables() -> tuple[dict[str, int | Fraction], dict[str, int]]:
    """Number words below a hundred, and romanised Hindi ones by their skeletons."""
    small: dict[str, int | Fraction] = {word: value for value, word in enumerate(ENGLISH)}
    small |= {word: 10 * tens for tens, word in enumerate(TENS, start=2)}
    small |= {"half": Fraction(1, 2), "आधा": Fraction(1, 2), "aadha": Fraction(1, 2), "adha": Fraction(1, 2)}
    small |= {"dedh": Fraction(3, 2), "डेढ": Fraction(3, 2), "dhai": Fraction(5, 2), "ढाई": Fraction(5, 2)}
    skeletons: dict[str, int] = {}
    for value, (devanagari, romanised) in enumerate(zip(HINDI, ROMANISED, strict=True)):
        small |= {plain(form): value for form in devanagari.split("/")}
        small |= {form: value for form in romanised.split("/") if form in AMBIGUOUS}
        skeletons |= {skeleton(form): value for form in romanised.split("/") if form not in AMBIGUOUS}
    return small, skeletons


SMALL, SKELETONS = _tables()
