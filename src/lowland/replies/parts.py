"""Parts of numbers in a plain text: runs of digits, number words and scales, each read fully or marked as unread.

A run is all that is glued to a digit: 1,00,000, 3.14, 1e6, 5k, 21st, 5ish, 0x10, 5:30, 12.5.2020. It is read if it is

- digits with a decimal part or with separators between groups of three (1,000) or of Indian size (1,00,000);
- such a number with a power of ten (1.5e3), an ordinal ending (21st) or a letter that multiplies it (`MAGNITUDES`);
- such a number with a unit or a scale right behind it (100°C, 5km, 5lakh).

Every other run is unread as a whole. `combine.py` joins parts into fractions, powers and mixed numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from lowland.replies.fraction_words import (
    AMOUNTS,
    DENOMINATORS,
    HALVES,
    HINDI_ORDINAL,
    HINDI_PARTS,
    ORDINALS,
    SHIFTS,
)
from lowland.replies.number_words import (
    AMBIGUOUS,
    ENGLISH,
    HINDI,
    MAGNITUDES,
    NEEDS_NUMBER,
    ROMANISED,
    SCALES,
    TENS,
    UNITS,
    skeleton,
)
from lowland.replies.wording import Word, before, plain, words_of

Kind = Literal["digits", "word", "scale", "amount", "ratio", "power", "shift", "nth", "nths", "unread"]

UNIT = re.compile(
    r"\s*-?\s*("
    + "|".join(re.escape(plain(form)) for form in sorted(UNITS, key=len, reverse=True))
    + r")(?![^\W\d_])",
    re.IGNORECASE,
)
_LETTER = r"[^\W_]|[\u0900-\u0963\u0970-\u097f]"
RUN = re.compile(
    rf"(?<![^\W_])(?:(?<![\w.])\.(?=\d))?\d(?:{_LETTER}|[.,:'’_٫](?=\d)|(?<=\d[eE])[+-](?=\d))*",
    re.IGNORECASE,
)
VALUE = re.compile(
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?![\d,])|\d{1,2}(?:,\d{2})*,\d{3}(?![\d,])|\d+|(?=\.\d))(?P<part>\.\d+)?(?![.,:'’_]\d)"
    r"(?:e(?P<power>[+-]?\d{1,3})(?![^\W_]))?",
    re.IGNORECASE,
)
_MOST_DIGITS = 1_000
"""Length of the longest run that is read."""
ORDINAL_ENDING = re.compile(r"(?:st|nd|rd|th)s?|वां|वीं|वें|वा|वी|वे", re.IGNORECASE)
_YEAR_DATE = re.compile(
    r"(?<!\d)(?:\d{1,2}([./-])\d{1,2}\1\d{4}|\d{4}([./-])\d{1,2}\2\d{1,2}|\d{1,2},\d{4})(?!\d)"
)
_PRODUCT = re.compile(r"(?<=\d)(?<!\b0)x(?=\d)", re.IGNORECASE)
_IS_PART = re.compile(
    r"\s*(?:of\b|[.,;!?)\n]|$|(?:an?\s+)?(?:hundred|thousand|million|billion|dozen|lakh|crore)\b)"
)


@dataclass(frozen=True)
class Part:
    """A part of a number.

    Attributes:
        value: of the part; of an unread part, the largest value in it.
        kind: "digits" and "word" for values, "scale" to multiply by, "amount" for a mixed number or a word such as
            डेढ़, "ratio" for a fraction below one, "power", "shift" for साढ़े, सवा and पौने, "nth" and "nths" for
            ordinals and their plurals, "unread" if it cannot be read.
        start: index of its first character in the text.
        end: index behind its last character.
        sure: False for a word that is an ordinary word, too.
        values: that stand in the part.
    """

    value: Fraction
    kind: Kind
    start: int
    end: int
    sure: bool = True
    values: tuple[Fraction, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            object.__setattr__(self, "values", (self.value,))


def parts_of(text: str, years: bool = False, kelvin: bool = False) -> list[Part]:
    """Return the parts in a plain text, in their order.

    Args:
        text: to read.
        years: whether the numbers of a date stand apart: 15/08/1947.
        kelvin: whether a K behind digits is the unit.
    """
    if years:
        text = _YEAR_DATE.sub(lambda date: re.sub(r"[./,-]", " ", date[0]), text)
    text = _PRODUCT.sub("×", text)
    runs = [_run(text, match, years, kelvin) for match in RUN.finditer(text)]
    words = list(words_of(text))
    from_words = [part for word in words if (part := _word_part(text, word)) is not None]
    scales = [scale for run in runs for scale in run[1:]]
    covered = {place for run in runs for part in run for place in range(part.start, part.end)}
    parts = [run[0] for run in runs] + scales + [part for part in from_words if part.start not in covered]
    return sorted(parts, key=lambda part: part.start)


def word_value(fold: str) -> tuple[Fraction, bool] | None:
    """Return the value of a number word and whether it is a scale; None for other words."""
    if fold in SCALES:
        return Fraction(SCALES[fold]), True
    value = SMALL.get(fold, SKELETONS.get(skeleton(fold)))
    return None if value is None else (Fraction(value), False)


def _run(text: str, match: re.Match[str], years: bool, kelvin: bool) -> list[Part]:
    """Return a run as one part, or as a value and the scale that is glued to it."""
    start, end = match.span()
    numbers = tuple(Fraction(digits[:_MOST_DIGITS]) for digits in re.findall(r"\d+", match[0]))
    unread = [Part(max(numbers), "unread", start, end, values=numbers)]
    written = VALUE.match(text, start, end)
    if written is None or end - start > _MOST_DIGITS:
        return unread
    value = Fraction((written["whole"].replace(",", "") or "0") + (written["part"] or ""))
    if written["power"]:
        value *= Fraction(10) ** int(written["power"])
    rest = text[written.end() : end]
    if not rest:
        return [Part(value, "power" if written["power"] else "digits", start, end)]
    if rest in MAGNITUDES and not (kelvin and rest in "kK"):
        return [Part(value * MAGNITUDES[rest], "amount", start, end)]
    if ORDINAL_ENDING.fullmatch(rest):
        return [Part(value, "digits", start, end)]
    if rest.casefold() in SCALES:
        scale = Part(Fraction(SCALES[rest.casefold()]), "scale", written.end(), end)
        return [Part(value, "digits", start, written.end()), scale]
    unit = UNIT.match(text, written.end())
    is_decade = years and rest == "s"
    if (unit and unit.end() >= end and rest != "M" and not is_decade) or rest.casefold() in ("ad", "ce"):
        return [Part(value, "digits", start, written.end())]
    return unread


def _word_part(text: str, word: Word) -> Part | None:
    """Return the part that a word is; None for other words."""
    fold, start, end = word.fold, word.start, word.end
    form = skeleton(fold)
    if fold in NEEDS_NUMBER and not _ends_in_number(text[:start]):
        return None
    for kind, table in (("amount", AMOUNTS), ("shift", SHIFTS), ("ratio", HALVES)):
        if form in table:
            sure = not (kind == "shift" and fold.isascii())
            return Part(table[form], kind, start, end, sure)  # type: ignore[arg-type]
    if form in HINDI_PARTS:
        return Part(HINDI_PARTS[form], "nths", start, end)
    if fold in DENOMINATORS:
        return Part(Fraction(DENOMINATORS[fold]), "nths", start, end)
    if fold in ORDINALS:
        article = re.search(r"\ban?\s+$", before(text, start), re.IGNORECASE)
        if (article or fold == "quarter") and fold not in ("first", "second") and _IS_PART.match(text, end):
            return Part(Fraction(1, ORDINALS[fold]), "ratio", start, end)
        return Part(Fraction(ORDINALS[fold]), "nth", start, end)
    value = word_value(fold)
    if value is not None:
        return Part(value[0], "scale" if value[1] else "word", start, end, fold not in AMBIGUOUS)
    stem = word_value(HINDI_ORDINAL.sub("", fold)) if HINDI_ORDINAL.search(fold) else None
    return Part(stem[0], "nth", start, end) if stem else None


def _ends_in_number(text: str) -> bool:
    """Whether a text ends in a number word or in digits."""
    words = words_of(text[-40:])
    last = words[-1] if words and not text[-40:][words[-1].end :].strip(" -)") else None
    return last is not None and (last.fold[-1].isdigit() or word_value(last.fold) is not None)


def _tables() -> tuple[dict[str, int], dict[str, int]]:
    """Return word -> value for number words below a hundred, and skeleton -> value for romanised Hindi ones."""
    small = {word: value for value, word in enumerate(ENGLISH)}
    small |= {word: 10 * tens for tens, word in enumerate(TENS, start=2)}
    skeletons: dict[str, int] = {}
    for value, (devanagari, romanised) in enumerate(zip(HINDI, ROMANISED, strict=True)):
        small |= {plain(form): value for form in devanagari.split("/")}
        small |= {form: value for form in romanised.split("/") if form in AMBIGUOUS}
        skeletons |= {skeleton(form): value for form in romanised.split("/") if form not in AMBIGUOUS}
    return small, skeletons


SMALL, SKELETONS = _tables()
