"""Words of a reply: its plain text, the part that holds the answer, the words in it, and whether they are denied.

Nothing here depends on the gold answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


def listed(words: str) -> frozenset[str]:
    """Return the words of a text, split at spaces, as a set."""
    return frozenset(words.split())


THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
ANSWER = re.compile(
    r"(?:\b(?:final\s+answer|answer|ans|uttar|jawab|jawaab)\b(?:\s+(?:is|hai))?|उत्तर|जवाब)(?:\s*[:=]\s*|\s+-\s+|\s*\n\s*)",
    re.IGNORECASE,
)
CORRECTION = re.compile(
    r"\b(?:wait|scratch that|i mean|correction|let me correct (?:that|myself)|actually,? no)\b\s*[,:.!…-]+",
    re.IGNORECASE,
)
LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}"), r" \1/\2"),
    (re.compile(r"\^\s*\{\s*([-−]?\d+)\s*\}"), r"^\1"),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\sqrt\b"), "√"),
    (re.compile(r"(?<=\d)(?:\{,\}|\\,)(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<=\d)\*\*(?=[-−]?\d)"), "^"),
    (re.compile(r"(?<=\d)\s*\*\s*(?=10\s*(?:\^|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]))"), "×"),
    (re.compile(r"(?<=\d)\s*—\s*(?=\d)"), "-"),
)
"""Formulas as models write them, and what replaces them before the markup is removed."""
MARKUP = re.compile(r"\*{2,}|(?<!\d)\*|\*(?!\d)|_{2,}|`+|^[^\S\n]*#+\s*|~~|\$+|\\boxed|\\text", re.MULTILINE)
ENUMERATION = re.compile(r"^\s*(?:\d{1,2}[.)]|[-•–])\s+(?=\S)", re.MULTILINE)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
DASHES = str.maketrans(
    {
        "\u2212": "-",
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2014": ", ",
        "।": ".",
        "॥": ".",
        "٫": ".",
        "٬": ",",
    }
)
NASALS = re.compile("ङ्(?=[क-घ])|ञ्(?=[च-झ])|ण्(?=[ट-ढ])|न्(?=[त-ध])|म्(?=[प-भ])|ँ")
"""Nasals that can be written as an anusvara, because they stand before a consonant of their class: हिन्दी, हिंदी."""

USUALLY = re.compile(r"आम ?तौर (?:पर|से)|\baam ?taur (?:par|pe|se)\b", re.IGNORECASE)
"""The idiom "usually", in which आम is not the mango."""
OR = listed("or ya athva या अथवा")
SIGHT = 100
"""Number of characters before a place among which words that change its meaning are searched."""
LONG_SPACE = re.compile(r"\s{9,}")
"""White space that `plain` makes shorter, so that what stands before it is in sight."""


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        start: index of its first character in the text.
        end: index behind its last character.
        raw: the word without points, commas and apostrophes.
        fold: the word case-folded.
    """

    start: int
    end: int
    raw: str
    fold: str


@dataclass(frozen=True)
class Mention:
    """A mention of a gold answer in a reply.

    Attributes:
        text: the part of the reply to read, as plain text.
        words: the words of the text.
        start: index of the mention's first word.
        end: index behind its last word.
        golds: all mentions of the gold, as [start, end) of words.
        gold_starts: first words of all mentions.
        gold_ends: words behind all mentions.
        known: the question's words, case-folded.
    """

    text: str
    words: Sequence[Word]
    start: int
    end: int
    golds: Sequence[tuple[int, int]]
    gold_starts: frozenset[int]
    gold_ends: frozenset[int]
    known: frozenset[str]

    @property
    def span(self) -> tuple[int, int]:
        """Indices of the first character, and behind the last one."""
        return self.words[self.start].start, self.words[self.end - 1].end

    @property
    def said(self) -> str:
        """The mention as it stands in the text."""
        return self.text[slice(*self.span)]


@lru_cache(maxsize=16384)
def plain(text: str) -> str:
    """Return text without differences that are only writing: Unicode forms, accents, markup, invisible characters.

    Digits of all scripts become ASCII. Case, punctuation and line ends stay. Superscripts after a digit become `^` and
    the digits, fractions become `a/b`.

    Examples:
        >>> plain("**São Paulo** has १२ million"), plain("3×10⁸ m/s")
        ('Sao Paulo has 12 million', '3×10^8 m/s')
    """
    text = THINKING.sub("", text)
    for pattern, replacement in LATEX:
        text = pattern.sub(replacement, text)
    text = MARKUP.sub("", text).replace("||", " ")
    text = re.sub(r"(?<=\d)([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda match: "^" + match[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}\b)", "", text)
    text = re.sub(r"(?<=[^\W\d])[ \t]+[–-][ \t]+(?=[^\W\d])", ", ", text)
    text = re.sub(
        "[¼-¾⅐-⅞↉](?=(\\d?))",
        lambda match: f" {unicodedata.normalize('NFKC', match[0])}{' ' if match[1] else ''}",
        text,
    )
    text = unicodedata.normalize("NFKC", text).translate(DASHES).replace("⁄", "/")
    text = "".join(
        _ascii_digit(character)
        for character in text
        if character == "\n" or unicodedata.category(character) not in ("Cf", "Cc", "Co")
    )
    text = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", text)).replace("\u093c", "")
    text = NASALS.sub("ं", unicodedata.normalize("NFC", text).replace("\u093c", ""))
    return LONG_SPACE.sub(lambda match: "\n" if "\n" in match[0] else " " * 8, text)


def before(text: str, place: int) -> str:
    """Return the characters before a place, at most `SIGHT`: a search for what ends there takes no longer later on."""
    return text[max(0, place - SIGHT) : place]


def answer_part(text: str) -> str:
    """Return the part of a plain text to read: after the last correction, the line of the last "Answer:".

    The idiom `USUALLY` is left out, because its words can be an answer otherwise.

    Examples:
        >>> answer_part("It was Lyon. Wait, no: Answer: Paris\\nLyon is larger?")
        'Paris'
    """
    for pattern in (CORRECTION, ANSWER):
        matches = list(pattern.finditer(text))
        rest = text[matches[-1].end() :].strip() if matches else ""
        if rest:
            text = rest.split("\n")[0] if pattern is ANSWER else rest
    return USUALLY.sub(" ", text)


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[Word, ...]:
    """Return the words of a plain text: letters and marks of any script, and numbers with their points.

    "the" and the "s" of a possessive are left out. Points in abbreviations and apostrophes do not end a word.
    """
    words = []
    for start, end in _spans(text):
        raw = re.sub(r"['’]s$|[.,'’]", "", text[start:end]) if not text[start].isdigit() else text[start:end]
        raw = re.sub(r"(?<=\d),(?=\d)", "", raw)
        if raw and raw.casefold() != "the":
            words.append(Word(start, end, raw, raw.casefold()))
    return tuple(words)


def _spans(text: str) -> Sequence[tuple[int, int]]:
    """Return the spans of words: runs of letters, marks and digits, with the points and apostrophes inside them."""
    spans = []
    start: int | None = None
    for place, character in enumerate(text + " "):
        if unicodedata.category(character)[0] in "LMN":
            start = place if start is None else start
        elif start is not None and not _joins(text, start, place):
            spans.append((start, place))
            start = None
    return spans


def _joins(text: str, start: int, place: int) -> bool:
    """Whether the character at a place joins its neighbours into one word: 3.14, 1,000, O'Brien, U.S.A."""
    before, after = text[place - 1], text[place + 1 : place + 2]
    if text[place : place + 1] in ("'", "’"):
        return before.isalpha() and after.isalpha()
    if text[place : place + 1] in (".", ","):
        if before.isdigit() and after.isdigit():
            return True
        single = not text[max(place - 2, start) : place - 1].isalpha()
        return text[place] == "." and before.isalpha() and single and after.isalpha()
    return False


def _ascii_digit(character: str) -> str:
    """Return a decimal digit of any script as ASCII; return other characters unchanged."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
