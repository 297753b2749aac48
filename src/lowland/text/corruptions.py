"""Messy text on purpose: typos, odd spacing, look-alike letters, emoji and their like, at a rate that is kept.

One mechanism for all. The text is split into extended grapheme clusters (what a reader takes for one character,
UAX #29), and none is ever split. A row of `CORRUPTIONS` lists the edits that a text has room for. Each draws a number
of its own, and the edits with the smallest numbers that do not overlap are made, until there are rate x units of
them, to the nearest whole and at least one. So a text with room for an edit never stays clean, the edits of a smaller
rate are among those of a larger one, and what is done to a place does not depend on the rate.

A unit is a cluster that is no space; for emoji it is the edge of a word, two a word: at 20 % two words in five meet an
emoji. Units in protected spans do not count. Every edit counts once, though a swap touches two clusters. Where a text
has room for fewer edits than the rate asks for, all that fit are made; `Corrupted.rate` says what came of it.

The numbers come from the stream (seed, "corruption", kind, text): the same text is damaged in the same way anywhere.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import regex

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.rng import stream
from lowland.text import candidates, glyphs
from lowland.text.candidates import Candidate, Layout, layout_of
from lowland.text.levels import rate_of

CLEAN = "clean"
"""Condition of a text without a corruption; no row of `CORRUPTIONS` has this name."""
ALL = "all"
"""Word by which a user asks for all rows of a table."""

_CLUSTER = regex.compile(r"\X")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_KIN = regex.compile(r"[\p{Greek}\p{Cyrillic}]")  # the scripts that look-alikes are taken from


@dataclass(frozen=True, slots=True)
class Edit:
    """One change, in places (code points) of the original text: `before` = text[start:end] became `after`.

    Attributes:
        kind: the corruption, a row of `CORRUPTIONS`; under "mixed" the row it was taken from.
        action: what it did, as "swap".
    """

    kind: str
    start: int
    end: int
    before: str
    after: str
    action: str = ""


@dataclass(frozen=True)
class Corrupted:
    """A damaged text, its edits from left to right, and the units that the rate was taken of."""

    text: str
    edits: tuple[Edit, ...]
    units: int

    @property
    def rate(self) -> float:
        """Edits per unit, as made."""
        return len(self.edits) / self.units if self.units else 0.0


@dataclass(frozen=True)
class Corruption:
    """A row of `CORRUPTIONS`.

    Attributes:
        candidates: lists the edits that a text has room for; none where the kind does not know its script.
        summary: what it does, in a line.
        unit: what the rate counts, clusters that are no space ("character") or the two ends of each word ("edge").
        invertible: whether `undo` brings plain ASCII text back.
    """

    candidates: Callable[[Layout], Iterator[Candidate]]
    summary: str
    unit: Literal["character", "edge"] = "character"
    invertible: bool = False


def corrupt(text: str, kind: str, level: str | float, *, seed: int, protect: Sequence[str] = ()) -> Corrupted:
    """Damage a text: a pure function of what is given.

    Args:
        text: any text; line breaks stay where they are.
        kind: a row of `CORRUPTIONS`.
        level: "light", "heavy" or a rate in (0, 1]; see `rate_of`.
        seed: of the draw.
        protect: exact substrings to leave alone, wherever they stand; what touches them stays, too, so that
            they can still be told from what is around them.

    Raises:
        Mistake: for a kind or a level that does not exist.

    Example:
        >>> corrupt("What is the capital of France?", "ocr", "heavy", seed=1, protect=["France"]).text
        'What ls the capjfal ot France?'
    """
    problems = [] if kind in CORRUPTIONS else [one_of("corruption", kind, CORRUPTIONS)]
    try:
        rate = rate_of(level)
    except Mistake as mistake:
        problems += mistake.problems
    if isinstance(protect, str):
        problems.append(f"protect is the text '{protect}'; give a list of texts, as ['{protect}']")
    if problems:
        raise Mistake(*problems)
    row, layout = CORRUPTIONS[kind], layout_of(text)
    spans = _spans(text, protect)
    units = _units(layout, row.unit, spans)
    wanted = max(1, math.floor(rate * units + 0.5))
    edits = _chosen(_ranked(layout, kind, text, seed), wanted, spans, len(text))
    return Corrupted(apply(text, edits), edits, units)


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits made.

    Raises:
        Mistake: if an edit is not of this text, or two overlap.
    """
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        if edit.start < at or text[edit.start : edit.end] != edit.before:
            raise Mistake(f"the edit {edit} does not fit the text; give the text that it was logged for")
        parts += [text[at : edit.start], edit.after]
        at = edit.end
    return "".join([*parts, text[at:]])


def undo(text: str) -> str:
    """Take back what "confusables" does; of plain ASCII text it brings back every character.

    Invisible characters go (joiners stay), and so do marks that only decorate; wide forms become ASCII; Greek and
    Cyrillic look-alikes become Latin letters. A word keeps its letters if one of them looks like no Latin one
    ("мир"), and so does a word of look-alikes alone in a text with such words ("оса и мир"). Like the skeleton of
    UTS #39, but onto the letter itself in its own case; other scripts, accents and emoji stay. Idempotent.

    Example:
        >>> undo(corrupt("What is it?", "confusables", "heavy", seed=1).text)
        'What is it?'
    """
    gone = dict.fromkeys(map(ord, glyphs.ZERO_WIDTH + glyphs.OVERLAYS))
    text = text.translate(gone).translate(_NARROW)
    foreign = any(letter not in glyphs.LATIN for letter in _KIN.findall(text))

    def latin(found: regex.Match[str]) -> str:
        word = found[0]
        kept = any(letter not in glyphs.LATIN for letter in _KIN.findall(word))
        if kept or (foreign and not any(letter.isascii() for letter in word)):
            return word
        return word.translate(_LATIN)

    return _WORD.sub(latin, text)


_NARROW = str.maketrans({wide: sign for sign, wide in glyphs.FULL_WIDTH.items()})
_LATIN = str.maketrans(dict(glyphs.LATIN))


def _spans(text: str, protect: Sequence[str]) -> list[tuple[int, int]]:
    """Where the protected texts stand, every occurrence, overlapping ones too."""
    found = []
    for kept in filter(None, protect):
        at = text.find(kept)
        while at >= 0:
            found.append((at, at + len(kept)))
            at = text.find(kept, at + 1)
    return found


def _units(layout: Layout, unit: str, spans: list[tuple[int, int]]) -> int:
    """How many characters or edges of words lie outside the protected spans."""
    characters = [
        (number, number + 1) for number, letter in enumerate(layout.clusters) if not letter.isspace()
    ]
    return sum(
        not any(layout.starts[first] < end and start < layout.starts[past] for start, end in spans)
        for first, past in (layout.tokens * 2 if unit == "edge" else characters)
    )


def _ranked(layout: Layout, kind: str, text: str, seed: int) -> Iterator[Edit]:
    """All edits that the text has room for, in the order in which a growing rate makes them.

    A candidate's key is exponential with rate 1 / (candidates of its action), and the smallest goes first (sampling
    without replacement with weights; Efraimidis and Spirakis, 2006). So actions have equal chances, however many
    places each has. Under "mixed" that holds for the kinds.
    """
    whole = [_stands_alone(cluster) for cluster in layout.clusters]
    found = [
        one
        for one in CORRUPTIONS[kind].candidates(layout)
        if all(whole[max(one.first - 1, 0) : one.past + 1])
    ]
    groups = [one.kind if kind == "mixed" else one.action for one in found]
    sizes = Counter(groups)
    draws = stream(seed, "corruption", kind, text).random((2, len(found)))
    keys = -np.log1p(-draws[0]) * [sizes[group] for group in groups]
    for number in np.argsort(keys, kind="stable"):
        one = found[number]
        start, end = layout.starts[one.first], layout.starts[one.past]
        after = one.afters[int(draws[1, number] * len(one.afters))]
        yield Edit(one.kind, start, end, text[start:end], after, one.action)


@functools.lru_cache(4096)
def _stands_alone(cluster: str) -> bool:
    """False if it could grow together with a neighbour, as half a conjunct (a consonant with virama) or of a flag."""
    return cluster.isascii() or _CLUSTER.findall(cluster + cluster) == [cluster, cluster]


def _chosen(
    ranked: Iterable[Edit], wanted: int, spans: list[tuple[int, int]], length: int
) -> tuple[Edit, ...]:
    """The first `wanted` edits that touch neither a protected span nor an edit before them, from left to right."""
    taken = bytearray(length)
    edits: list[Edit] = []
    for edit in ranked:
        if len(edits) == wanted:
            break
        if any(taken[edit.start : edit.end]) or any(
            start <= edit.end and edit.start <= end for start, end in spans
        ):
            continue
        taken[edit.start : edit.end] = b"\1" * (edit.end - edit.start)
        edits.append(edit)
    return tuple(sorted(edits, key=lambda edit: edit.start))


CORRUPTIONS: Mapping[str, Corruption] = {
    "typos": Corruption(candidates.typos, "keys beside the right one, letters swapped, dropped and doubled"),
    "spacing": Corruption(
        candidates.spacing, "spaces lost, doubled and inside words; marks lost, doubled and added"
    ),
    "confusables": Corruption(
        candidates.confusables,
        "look-alikes, wide forms, invisible characters, combining marks",
        invertible=True,
    ),
    "emoji": Corruption(candidates.emoji, "emoji between words and in place of words", unit="edge"),
    "casing": Corruption(candidates.casing, "letters in the other case"),
    "leetspeak": Corruption(candidates.leetspeak, "digits and signs in place of letters"),
    "ocr": Corruption(candidates.ocr, "what optical character recognition confuses, as rn and m"),
    "mixed": Corruption(candidates.mixed, "each edit from one of the others"),
}
"""Name -> what it does. A new corruption is a new row."""
