"""Reader of the numbers in a plain text (`lowland.stress.replies.wording.plain`): digits and words, with their units.

It reads digits with thousands separators (1,000 and 1,00,000), decimals, fractions, powers of ten and signs, and number
words in English, Hindi and romanised Hindi with hundred, thousand, lakh, crore, million, billion and dozen.
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
    """A number in a text.

    Attributes:
        value: negative for years BC.
        unit: a name in `UNITS`; "" if no unit follows.
        start: index of its first character.
        end: index behind its last character; the unit is included.
        sure: False for a single word that is an ordinary word, too ("one", "do").
    """

    value: Fraction
    unit: str
    start: int
    end: int
    sure: bool = True


@dataclass(frozen=True)
class _Part:
    """A part of a number: digits, a word for a value below a hundred, or a scale to multiply by.

    Attributes:
        value: value of the digits, the word or the scale.
        scale: whether it is a scale, as "hundred".
        digits: whether it is written in digits.
        start: index of its first character in the text.
        end: index behind its last character.
        sure: False for a word that is an ordinary word, too.
    """

    value: Fraction
    scale: bool
    digits: bool
    start: int
    end: int
    sure: bool


def numbers_in(text: str, years: bool = False) -> list[Number]:
    """Return the numbers of a plain text, in their order.

    Args:
        text: text as `lowland.stress.replies.wording.plain` returns it.
        years: whether to read "nineteen forty-seven" as 1947.

    Example:
        >>> [(str(number.value), number.unit) for number in numbers_in("two lakh fifty, or 1,00,000 km")]
        [('200050', ''), ('100000', 'kilometre')]
    """
    numbers: list[Number] = []
    group: list[_Part] = []
    for part in _parts(text):
        if group and not _continues(text, group, part):
            numbers.append(_number(text, group))
            group = []
        group.append(part)
    if group:
        numbers.append(_number(text, group))
    ends = [0, *(number.end for number in numbers)]  # of the number before; the 2 of m/s^2 is not a number
    numbers = [number for number, end in zip(numbers, ends, strict=False) if number.start >= end]
    return _paired_years(text, numbers) if years else numbers


def _parts(text: str) -> Iterator[_Part]:
    """Yield digits and number words in the order of their places."""
    parts = []
    for match in DIGITS.finditer(text):
        value = Fraction(match["whole"].replace(",", "") + (match["part"] or ""))
        if (
            match["under"] and not match["power"] and value % int(match["under"]) == 0
        ):  # 72/6 asks for a division
            parts.append(_Part(value, False, True, match.start(), match.end("whole"), True))
            parts.append(_Part(Fraction(match["under"]), False, True, *match.span("under"), True))
            continue
        if match["under"]:
            value /= int(match["under"])
        if match["power"]:
            value *= Fraction(10) ** int(match["power"])
        parts.append(_Part(value, False, True, *match.span(), True))
    for word in words_of(text):
        value_of_word = _word_value(word.fold)
        if value_of_word is not None:
            word_value, is_scale = value_of_word
            sure = word.fold not in AMBIGUOUS
            parts.append(_Part(Fraction(word_value), is_scale, False, word.start, word.end, sure))
    yield from sorted(parts, key=lambda part: part.start)


def _word_value(fold: str) -> tuple[int | Fraction, bool] | None:
    """Return the value of a number word and whether it is a scale; None for other words."""
    if fold in SCALES:
        return SCALES[fold], True
    if fold in SMALL:
        return SMALL[fold], False
    return (SKELETONS[skeleton(fold)], False) if skeleton(fold) in SKELETONS else None


def _continues(text: str, group: list[_Part], part: _Part) -> bool:
    """Whether a part belongs to the same number: "two hundred (and) five", "twenty-one", "3 lakh 5 hundred"."""
    last, between = group[-1], text[group[-1].end : part.start]
    joined = JOINED.fullmatch(between) is not None
    if part.scale:
        larger_scales = [earlier for earlier in group if earlier.scale and earlier.value > part.value]
        follows_larger = last.scale and last.value >= part.value and part.value != 100
        follows_hyphen = "-" in between and last.digits
        return joined and not follows_larger and not follows_hyphen and len(larger_scales) < 4
    if last.scale:
        return (joined or AND.fullmatch(between) is not None) and part.value < last.value != 12
    tens = not last.digits and last.value >= 20 and last.value % 10 == 0
    return joined and tens and not part.digits and 1 <= part.value <= 9


def _number(text: str, group: list[_Part]) -> Number:
    """Return the number that the parts stand for, with the sign before and the unit behind them."""
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
    """Whether a text ends in a number, so that a minus behind it means subtraction and is not a sign."""
    words = words_of(text)
    last = words[-1] if words and not text[words[-1].end :].strip(" )") else None
    return last is not None and (last.fold[-1].isdigit() or _word_value(last.fold) is not None)


def _paired_years(text: str, numbers: list[Number]) -> list[Number]:
    """Join "nineteen" and "forty-seven" into 1947; numbers in digits are never joined."""
    paired: list[Number] = []
    for number in numbers:
        last = paired[-1] if paired else None
        in_words = last is not None and not any(sign.isdigit() for sign in text[last.start : number.end])
        fits = last and 10 <= last.value <= 20 and 0 <= number.value < 100 and not last.unit
        if last and in_words and fits and JOINED.fullmatch(text[last.end : number.start]):
            year = last.value * 100 + number.value
            paired[-1] = replace(number, value=year, start=last.start, sure=True)
        else:
            paired.append(number)
    return paired


def _tables() -> tuple[dict[str, int | Fraction], dict[str, int]]:
    """Return word -> value for number words below a hundred, and skeleton -> value for romanised Hindi ones."""
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
