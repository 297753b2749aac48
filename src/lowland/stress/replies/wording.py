"""A reply as words: plain text, the part that holds the answer, its words, and which of them are denied.

Nothing here knows the gold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise


def listed(words: str) -> frozenset[str]:
    """The words of a list, parted by spaces."""
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
MARKUP = re.compile(r"\*{2,}|(?<!\d)\*|\*(?!\d)|_{2,}|`+|^\s*#+\s*|~~|\$+|\\boxed|\\text", re.MULTILINE)
ENUMERATION = re.compile(r"^\s*(?:\d{1,2}[.)]|[-•–])\s+(?=\S)", re.MULTILINE)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
DASHES = str.maketrans(
    {"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": ", ", "।": ".", "॥": "."}
)
NASALS = re.compile("ङ्(?=[क-घ])|ञ्(?=[च-झ])|ण्(?=[ट-ढ])|न्(?=[त-ध])|म्(?=[प-भ])|ँ")
"""A nasal before a consonant of its class is written as an anusvara just as well: हिन्दी, हिंदी."""

NOT_BEFORE = listed("not isnt arent wasnt werent never no neither nor doesnt dont didnt cannot cant unlike न")
"""English negators deny what follows them within three words."""
NOT_AFTER = listed("नहीं नही नहिं nahi nahin nahee naheen nhi nai")
"""Hindi negators stand by the verb, at the end: they deny what comes before them in the clause."""
IS_NOT = re.compile(
    r"\s*(?:(?:is|was|are|were|would|will|can|could)\s+not|(?:is|was|are|were|would)n['’]?t)\b", re.I
)
BELIEVED = re.compile(
    r"\b(?:people|many|most|some)\b.*\b(?:think|believe|assume|say|guess)\b|\bused to be\b"
    r"|\b(?:often|commonly|sometimes|frequently|widely)\s+(?:mentioned|assumed|thought|believed|mistaken|confused)\b"
    r"|\blog\b.*\b(?:soch|maan|samajh)|लोग.*(?:सोच|मान|समझ)",
    re.IGNORECASE,
)
"""What others hold; it is denied where "but" follows or "while" begins it."""
WHILE = re.compile(r"\s*(?:while|although|though|even though)\b", re.IGNORECASE)
OPPOSED = re.compile(r"[\s,;.]*(?:but|however|lekin|magar|लेकिन|मगर)\b", re.IGNORECASE)
USUALLY = re.compile(r"आम ?तौर (?:पर|से)|\baam ?taur (?:par|pe|se)\b", re.IGNORECASE)
"""Not the mango."""
BUT = listed("but however although though lekin magar balki parantu kintu लेकिन मगर बल्कि परंतु किंतु")
OR = listed("or ya athva या अथवा")
STOPS = '.!?;:\n()[]…"'


@dataclass(frozen=True)
class Word:
    """A word of a text: its place there, as it stands, and folded."""

    start: int
    end: int
    raw: str
    fold: str


@lru_cache(maxsize=16384)
def plain(text: str) -> str:
    """Text without what is only writing: Unicode forms, digits' scripts, accents, markup, invisible characters.

    Case, punctuation and line ends stay. Superscripts after a digit become `^`, fractions `a/b`.

    Example:
        >>> plain("**São Paulo** has १२ million"), plain("3×10⁸ m/s")
        ('Sao Paulo has 12 million', '3×10^8 m/s')
    """
    text = MARKUP.sub("", THINKING.sub("", text)).replace("||", " ")
    text = re.sub(r"(?<=\d)([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda found: "^" + found[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}\b)", "", text)
    text = re.sub(r"(?<=[^\W\d])[ \t]+[–-][ \t]+(?=[^\W\d])", ", ", text)
    text = re.sub("[¼-¾⅐-⅞]", lambda found: " " + unicodedata.normalize("NFKC", found[0]), text)
    text = unicodedata.normalize("NFKC", text).translate(DASHES).replace("⁄", "/")
    text = "".join(
        _digit(one) for one in text if one == "\n" or unicodedata.category(one) not in ("Cf", "Cc", "Co")
    )
    text = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", text)).replace("\u093c", "")
    return NASALS.sub("ं", unicodedata.normalize("NFC", text).replace("\u093c", ""))


def answer_part(text: str) -> str:
    """The part of a plain text to read: after the last correction, and the line of the last "Answer:" in it.

    The idiom of `USUALLY` is left out, for its words are an answer elsewhere.

    Example:
        >>> answer_part("It was Lyon. Wait, no: Answer: Paris\\nLyon is larger?")
        'Paris'
    """
    for pattern in (CORRECTION, ANSWER):
        found = list(pattern.finditer(text))
        rest = text[found[-1].end() :].strip() if found else ""
        if rest:
            text = rest.split("\n")[0] if pattern is ANSWER else rest
    return USUALLY.sub(" ", text)


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[Word, ...]:
    """The words of a plain text; letters and marks of any script, and numbers with their points and commas.

    "the" and a possessive's "s" are left out; dots in abbreviations and apostrophes are no borders.
    """
    found = []
    for start, end in _spans(text):
        raw = re.sub(r"['’]s$|[.,'’]", "", text[start:end]) if not text[start].isdigit() else text[start:end]
        raw = re.sub(r"(?<=\d),(?=\d)", "", raw)
        if raw and raw.casefold() != "the":
            found.append(Word(start, end, raw, raw.casefold()))
    return tuple(found)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands at [start, end) of a plain text is said not to be so.

    English: a negator at most three words before it in its clause, "rather than" and "instead of" among them, or
    "is not" right behind it. Hindi: a negator behind it in its clause. Both: others believe it, "but".
    """
    left, right = _clause(text, start, end)
    if BELIEVED.search(text[left:right]) and (WHILE.match(text[left:right]) or OPPOSED.match(text[right:])):
        return True
    before = re.sub(r"(?i)\brather than\b|\binstead of\b", "not", text[left:start])
    before = re.sub(r"(?i)\bnot only\b|\bno doubt\b|\bwhy not\b", " ", before)
    if any(word.fold in NOT_BEFORE for word in words_of(before)[-3:]):
        return True
    if IS_NOT.match(text[end:right]):
        return True
    return any(word.fold in NOT_AFTER for word in words_of(text[end:right]))


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of a plain text between line ends and full stops; a point inside a number or name ends none."""
    borders = [0, *(found.end() for found in re.finditer(r"\n+|[.!?]+(?=\s|$)", text)), len(text)]
    return [(a, b) for a, b in pairwise(borders) if text[a:b].strip()]


def _clause(text: str, start: int, end: int) -> tuple[int, int]:
    """The clause around [start, end): between stops, commas and words such as "but"."""
    spans = [(word.start, word.end) for word in words_of(text)]
    left, right = 0, len(text)
    inside = {place for a, b in spans for place in range(a, b)}
    for place, one in enumerate(text):
        if one in STOPS + "," and place not in inside:
            if place < start:
                left = place + 1
            elif place >= end:
                right = place
                break
    for word in words_of(text):
        if word.fold in BUT and left <= word.start < right:
            if word.end <= start:
                left = word.end
            elif word.start >= end:
                right = word.start
                break
    return left, right


def _spans(text: str) -> Sequence[tuple[int, int]]:
    """Where words stand: runs of letters, marks and digits, with the points and apostrophes inside them."""
    spans = []
    start: int | None = None
    for place, one in enumerate(text + " "):
        if unicodedata.category(one)[0] in "LMN":
            start = place if start is None else start
        elif start is not None and not _inside(text, start, place):
            spans.append((start, place))
            start = None
    return spans


def _inside(text: str, start: int, place: int) -> bool:
    """Whether the mark at a place joins what stands on both sides: 3.14, 1,000, O'Brien, U.S.A."""
    before, after = text[place - 1], text[place + 1 : place + 2]
    if text[place : place + 1] in ("'", "’"):
        return before.isalpha() and after.isalpha()
    if text[place : place + 1] in (".", ","):
        if before.isdigit() and after.isdigit():
            return True
        single = not text[max(place - 2, start) : place - 1].isalpha()
        return text[place] == "." and before.isalpha() and single and after.isalpha()
    return False


def _digit(one: str) -> str:
    """A decimal digit of any script as ASCII; anything else as it is."""
    value = unicodedata.decimal(one, None)
    return one if value is None else str(value)
