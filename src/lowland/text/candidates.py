"""Where a text could be damaged, and how: one function a corruption, from a text in grapheme clusters to edits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import regex

from lowland.text import glyphs

_CLUSTER = regex.compile(r"\X")
_LETTER = regex.compile(r"[\p{L}\p{N}]")
_MARK = regex.compile(r"\p{P}")
_ADDED_MARKS = (",", ".", ";", "...", " -")


@dataclass(frozen=True)
class Layout:
    """A text in extended grapheme clusters.

    Attributes:
        clusters: what a reader takes for one character each (UAX #29).
        starts: their places in code points, and one past the end.
        tokens: runs of clusters without space, as (first, past).
        letters: which clusters are letters or digits, of any script.
    """

    clusters: tuple[str, ...]
    starts: tuple[int, ...]
    tokens: tuple[tuple[int, int], ...]
    letters: frozenset[int]

    def at(self, number: int) -> str:
        """Cluster `number`, or "" outside the text."""
        return self.clusters[number] if 0 <= number < len(self.clusters) else ""

    def letter(self, number: int) -> bool:
        """Whether that cluster is a letter or a digit."""
        return number in self.letters

    def solid(self, number: int) -> bool:
        """Whether there is such a cluster, and no space."""
        return bool(self.at(number).strip())


@dataclass(frozen=True, slots=True)
class Candidate:
    """An edit that could be made: clusters `first` to `past` (exclusive) become one of `afters`."""

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
    """A key beside the right one; two letters swapped; a letter dropped, but never a word's first; one doubled."""
    for i, here in enumerate(text.clusters):
        if not text.letter(i):
            continue
        before, after = text.at(i - 1), text.at(i + 1)
        if here in glyphs.NEIGHBOURS:
            yield Candidate("typos", "neighbour", i, i + 1, glyphs.NEIGHBOURS[here])
        if text.letter(i + 1) and here != after:
            yield Candidate("typos", "swap", i, i + 2, (after + here,))
        if text.letter(i - 1):
            yield Candidate("typos", "drop", i, i + 1, ("",))
        if here not in (before, after):  # else a letter dropped and its twin doubled would be no damage
            yield Candidate("typos", "double", i, i + 1, (here + here,))


def spacing(text: Layout) -> Iterator[Candidate]:
    """Spaces lost, doubled, put into words; marks lost, doubled, set off by a space, and added at a word's end."""
    for i, here in enumerate(text.clusters):
        if here == " " and text.solid(i - 1) and text.solid(i + 1):
            yield Candidate("spacing", "glue", i, i + 1, ("",))
            yield Candidate("spacing", "widen", i, i + 1, ("  ",))
        elif text.letter(i) and text.letter(i + 1):
            yield Candidate("spacing", "split", i, i + 1, (here + " ",))
        elif text.letter(i) and text.at(i + 1) == " ":
            yield Candidate("spacing", "add mark", i, i + 1, tuple(here + mark for mark in _ADDED_MARKS))
        elif _MARK.match(here) and text.letter(i - 1) and here != text.at(i + 1):
            yield Candidate("spacing", "mark", i, i + 1, ("", here + here, " " + here))


def confusables(text: Layout) -> Iterator[Candidate]:
    """A look-alike from Greek or Cyrillic; the wide form; an invisible character behind; a line through or beside."""
    for i, here in enumerate(text.clusters):
        if here in glyphs.LOOK_ALIKES:
            yield Candidate("confusables", "look-alike", i, i + 1, glyphs.LOOK_ALIKES[here])
        if here in glyphs.FULL_WIDTH:
            yield Candidate("confusables", "full width", i, i + 1, (glyphs.FULL_WIDTH[here],))
        if text.letter(i):
            yield Candidate(
                "confusables", "zero width", i, i + 1, tuple(here + sign for sign in glyphs.ZERO_WIDTH)
            )
        if here.isascii() and here.isalnum():
            yield Candidate(
                "confusables", "combining", i, i + 1, tuple(here + mark for mark in glyphs.OVERLAYS)
            )


def emoji(text: Layout) -> Iterator[Candidate]:
    """An emoji behind a word, and in place of an English word that names one."""
    for first, past in text.tokens:
        added = tuple(f"{text.at(past - 1)} {sign}" for sign in glyphs.EMOJI)
        yield Candidate("emoji", "insert", past - 1, past, added)
        while first < past and not text.letter(first):
            first += 1
        while first < past and not text.letter(past - 1):
            past -= 1
        sign = glyphs.emoji_of("".join(text.clusters[first:past]))
        if sign:
            yield Candidate("emoji", "replace", first, past, (sign,))


def casing(text: Layout) -> Iterator[Candidate]:
    """A letter in the other case."""
    for i, here in enumerate(text.clusters):
        other = here.swapcase()
        if other != here and other.swapcase() == here and len(_CLUSTER.findall(other)) == 1:
            yield Candidate("casing", "flip", i, i + 1, (other,))


def leetspeak(text: Layout) -> Iterator[Candidate]:
    """A digit or a sign in place of a letter."""
    for i, here in enumerate(text.clusters):
        if here.lower() in glyphs.LEET:
            yield Candidate("leetspeak", "letter", i, i + 1, glyphs.LEET[here.lower()])


def ocr(text: Layout) -> Iterator[Candidate]:
    """What optical character recognition takes one letter, or two, for."""
    for i, here in enumerate(text.clusters):
        if here in glyphs.OCR:
            yield Candidate("ocr", "letter", i, i + 1, glyphs.OCR[here])
        if (pair := here + text.at(i + 1)) in glyphs.OCR and pair != here:
            yield Candidate("ocr", "pair", i, i + 2, glyphs.OCR[pair])


def mixed(text: Layout) -> Iterator[Candidate]:
    """Each edit from one of the others."""
    for kind in (typos, spacing, confusables, emoji, casing, leetspeak, ocr):
        yield from kind(text)
