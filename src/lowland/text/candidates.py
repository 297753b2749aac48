"""Candidate edits of each corruption: one function per corruption, from a text in grapheme clusters to edits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import regex

from lowland.text import glyphs

_CLUSTER = regex.compile(r"\X")
_LETTER = regex.compile(r"[\p{L}\p{N}]")
_PUNCTUATION = regex.compile(r"\p{P}")
_ADDED_MARKS = (",", ".", ";", "...", " -")


@dataclass(frozen=True)
class Layout:
    """A text in extended grapheme clusters.

    Attributes:
        clusters: the characters as a reader sees them (UAX #29).
        starts: index of the first code point of each cluster; the last value is the length of the text.
        tokens: runs of clusters without a space, as [first, past).
        letters: indices of the clusters that are letters or digits of any script.
    """

    clusters: tuple[str, ...]
    starts: tuple[int, ...]
    tokens: tuple[tuple[int, int], ...]
    letters: frozenset[int]

    def at(self, number: int) -> str:
        """Return cluster `number`, or "" if the text has none."""
        return self.clusters[number] if 0 <= number < len(self.clusters) else ""

    def is_letter(self, number: int) -> bool:
        """Whether cluster `number` is a letter or a digit."""
        return number in self.letters

    def is_solid(self, number: int) -> bool:
        """Whether the text has a cluster `number`, and it is not a space."""
        return bool(self.at(number).strip())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible edit.

    Attributes:
        kind: the corruption, a row of `lowland.text.corruptions.CORRUPTIONS`.
        action: what the edit does, such as "swap".
        first: index of the first cluster that it replaces.
        past: index behind the last cluster that it replaces.
        afters: the texts of which one is put in their place.
    """

    kind: str
    action: str
    first: int
    past: int
    afters: tuple[str, ...]


def layout_of(text: str) -> Layout:
    """Split a text into clusters and tokens."""
    clusters = tuple(_CLUSTER.findall(text))
    starts = [0]
    tokens: list[tuple[int, int]] = []
    first = None
    for number, cluster in enumerate(clusters):
        starts.append(starts[-1] + len(cluster))
        if cluster.isspace():
            tokens += [] if first is None else [(first, number)]
            first = None
        elif first is None:
            first = number
    tokens += [] if first is None else [(first, len(clusters))]
    letters = frozenset(number for number, cluster in enumerate(clusters) if _LETTER.match(cluster))
    return Layout(clusters, tuple(starts), tuple(tokens), letters)


def typos(text: Layout) -> Iterator[Candidate]:
    """Yield typing errors: a neighbouring key, two letters swapped, a letter dropped or doubled.

    The first letter of a word is never dropped.
    """
    for i, here in enumerate(text.clusters):
        if not text.is_letter(i):
            continue
        before, after = text.at(i - 1), text.at(i + 1)
        if here in glyphs.NEIGHBOURS:
            yield Candidate("typos", "neighbour", i, i + 1, glyphs.NEIGHBOURS[here])
        if text.is_letter(i + 1) and here != after:
            yield Candidate("typos", "swap", i, i + 2, (after + here,))
        if text.is_letter(i - 1):
            yield Candidate("typos", "drop", i, i + 1, ("",))
        if here not in (before, after):  # else dropping a letter and doubling its twin would cancel out
            yield Candidate("typos", "double", i, i + 1, (here + here,))


def spacing(text: Layout) -> Iterator[Candidate]:
    """Yield spaces lost, doubled or put into words, and punctuation lost, doubled, set off by a space or added."""
    for i, here in enumerate(text.clusters):
        if here == " " and text.is_solid(i - 1) and text.is_solid(i + 1):
            yield Candidate("spacing", "glue", i, i + 1, ("",))
            yield Candidate("spacing", "widen", i, i + 1, ("  ",))
        elif text.is_letter(i) and text.is_letter(i + 1):
            yield Candidate("spacing", "split", i, i + 1, (here + " ",))
        elif text.is_letter(i) and text.at(i + 1) == " ":
            yield Candidate("spacing", "add mark", i, i + 1, tuple(here + mark for mark in _ADDED_MARKS))
        elif _PUNCTUATION.match(here) and text.is_letter(i - 1) and here != text.at(i + 1):
            yield Candidate("spacing", "mark", i, i + 1, ("", here + here, " " + here))


def confusables(text: Layout) -> Iterator[Candidate]:
    """Yield Greek and Cyrillic look-alikes, wide forms, invisible characters, and lines through or beside a letter."""
    for i, here in enumerate(text.clusters):
        if here in glyphs.LOOK_ALIKES:
            yield Candidate("confusables", "look-alike", i, i + 1, glyphs.LOOK_ALIKES[here])
        if here in glyphs.FULL_WIDTH:
            yield Candidate("confusables", "full width", i, i + 1, (glyphs.FULL_WIDTH[here],))
        if text.is_letter(i):
            yield Candidate(
                "confusables", "zero width", i, i + 1, tuple(here + sign for sign in glyphs.ZERO_WIDTH)
            )
        if here.isascii() and here.isalnum():
            yield Candidate(
                "confusables", "combining", i, i + 1, tuple(here + mark for mark in glyphs.OVERLAYS)
            )


def emoji(text: Layout) -> Iterator[Candidate]:
    """Yield an emoji behind a word, or in place of an English word that names one."""
    for first, past in text.tokens:
        added = tuple(f"{text.at(past - 1)} {sign}" for sign in glyphs.EMOJI)
        yield Candidate("emoji", "insert", past - 1, past, added)
        while first < past and not text.is_letter(first):
            first += 1
        while first < past and not text.is_letter(past - 1):
            past -= 1
        sign = glyphs.emoji_of("".join(text.clusters[first:past]))
        if sign:
            yield Candidate("emoji", "replace", first, past, (sign,))


def casing(text: Layout) -> Iterator[Candidate]:
    """Yield letters in the other case."""
    for i, here in enumerate(text.clusters):
        other = here.swapcase()
        if other != here and other.swapcase() == here and len(_CLUSTER.findall(other)) == 1:
            yield Candidate("casing", "flip", i, i + 1, (other,))


def leetspeak(text: Layout) -> Iterator[Candidate]:
    """Yield digits and signs in place of letters."""
    for i, here in enumerate(text.clusters):
        if here.lower() in glyphs.LEET:
            yield Candidate("leetspeak", "letter", i, i + 1, glyphs.LEET[here.lower()])


def ocr(text: Layout) -> Iterator[Candidate]:
    """Yield the characters that optical character recognition reads in place of one letter or two."""
    for i, here in enumerate(text.clusters):
        if here in glyphs.OCR:
            yield Candidate("ocr", "letter", i, i + 1, glyphs.OCR[here])
        if (pair := here + text.at(i + 1)) in glyphs.OCR and pair != here:
            yield Candidate("ocr", "pair", i, i + 2, glyphs.OCR[pair])


def mixed(text: Layout) -> Iterator[Candidate]:
    """Yield the edits of all other corruptions."""
    for corruption in (typos, spacing, confusables, emoji, casing, leetspeak, ocr):
        yield from corruption(text)
