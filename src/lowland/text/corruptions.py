"""Corruptions of a text at a controlled rate: typos, odd spacing, look-alike letters, emoji and others.

All corruptions work in the same way. The text is split into extended grapheme clusters (the characters that a reader
sees, UAX #29), and no cluster is ever split. A row of `CORRUPTIONS` lists the edits that are possible in a text. Each
edit draws a random number. The edits with the smallest numbers that do not overlap are made, until there are
rate × units of them, rounded to the nearest whole number and at least one. It follows that

- a text in which an edit is possible never stays clean;
- the edits at a smaller rate are a subset of those at a larger rate;
- an edit at a place does not depend on the rate.

A unit is a cluster that is not a space. For emoji, a unit is an edge of a word, and each word has two: at a rate of
20 %, two words in five get an emoji. Units in protected spans do not count. Every edit counts once, although a swap
changes two clusters. If fewer edits are possible than the rate asks for, all of them are made; `Corrupted.rate` is the
rate that was reached.

The random numbers come from the stream (seed, "corruption", kind, text), so that the same text is always damaged in
the same way.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import regex

from lowland.ground.mistakes import Mistake, gathering, one_of
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
_LOOK_ALIKE_SCRIPTS = regex.compile(r"[\p{Greek}\p{Cyrillic}]")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a text: `before`, which is text[start:end] of the original, became `after`.

    Attributes:
        kind: the corruption, a row of `CORRUPTIONS`; under "mixed", the row that the edit was taken from.
        start: index of the first code point in the original text.
        end: index behind the last code point.
        before: the original characters.
        after: the characters in their place.
        action: what the edit does, such as "swap".
    """

    kind: str
    start: int
    end: int
    before: str
    after: str
    action: str = ""


@dataclass(frozen=True)
class Corrupted:
    """A corrupted text.

    Attributes:
        text: the text after the edits.
        edits: edits from left to right.
        units: number of units outside protected spans, of which the rate is a share.
    """

    text: str
    edits: tuple[Edit, ...]
    units: int

    @property
    def rate(self) -> float:
        """Number of edits per unit, 0 for a text without units."""
        return len(self.edits) / self.units if self.units else 0.0


@dataclass(frozen=True)
class Corruption:
    """A row of `CORRUPTIONS`.

    Attributes:
        candidates: function that yields the edits that are possible in a text; none for a script that it does not know.
        summary: what the corruption does, in one line.
        unit: what the rate is a share of: clusters that are not a space ("character"), or both ends of each word
            ("edge").
        invertible: whether `undo` restores plain ASCII text.
    """

    candidates: Callable[[Layout], Iterator[Candidate]]
    summary: str
    unit: Literal["character", "edge"] = "character"
    invertible: bool = False


def corrupt(text: str, kind: str, level: str | float, *, seed: int, protect: Sequence[str] = ()) -> Corrupted:
    """Damage a text. The result depends on the arguments only.

    Args:
        text: any text; line breaks stay where they are.
        kind: a row of `CORRUPTIONS`.
        level: "light", "heavy" or a rate in (0, 1]; see `rate_of`.
        seed: seed of the random draw.
        protect: substrings that stay as they are, wherever they occur. The characters next to them stay, too, so
            that the substrings remain separate words.

    Raises:
        Mistake: if the kind or the level does not exist; a sentence for each problem.

    Examples:
        >>> corrupt("What is the capital of France?", "ocr", "heavy", seed=1, protect=["France"]).text
        'What ls the capjfal ot France?'
    """
    problems = [] if kind in CORRUPTIONS else [one_of("corruption", kind, CORRUPTIONS)]
    with gathering(problems):
        rate = rate_of(level)
    if isinstance(protect, str):
        problems.append(f"protect is the text '{protect}'; give a list of texts, as ['{protect}']")
    if problems:
        raise Mistake(*problems)
    row, layout = CORRUPTIONS[kind], layout_of(text)
    spans = _spans(text, protect)
    units = _count_units(layout, row.unit, spans)
    wanted = max(1, math.floor(rate * units + 0.5))
    edits = _chosen(_ranked(layout, kind, text, seed), wanted, spans, len(text))
    return Corrupted(apply(text, edits), edits, units)


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the edits made.

    Raises:
        Mistake: if an edit was made for another text, or two edits overlap.
    """
    parts, position = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        if edit.start < position or text[edit.start : edit.end] != edit.before:
            raise Mistake(f"the edit {edit} does not fit the text; give the text that it was logged for")
        parts += [text[position : edit.start], edit.after]
        position = edit.end
    return "".join([*parts, text[position:]])


def undo(text: str) -> str:
    """Undo the corruption "confusables"; restore plain ASCII text exactly.

    Invisible characters (other than joiners) and decorating marks are removed, wide forms become ASCII, and Greek and
    Cyrillic look-alikes become Latin letters. A word keeps its letters if one of them does not look like a Latin
    letter ("мир"). In a text with such a word, a word of look-alikes only keeps its letters, too ("оса и мир").

    The mapping resembles the skeleton of UTS #39, but leads to the letter itself in its own case. Other scripts,
    accents and emoji stay. The function is idempotent.

    Examples:
        >>> undo(corrupt("What is it?", "confusables", "heavy", seed=1).text)
        'What is it?'
    """
    text = text.translate(_REMOVED).translate(_NARROW)
    text_is_foreign = _has_foreign_letter(text)

    def to_latin(match: regex.Match[str]) -> str:
        word: str = match[0]
        keep = _has_foreign_letter(word) or (text_is_foreign and not any(letter.isascii() for letter in word))
        return word if keep else word.translate(_LATIN)

    undone: str = _WORD.sub(to_latin, text)
    return undone


def _has_foreign_letter(text: str) -> bool:
    """Whether a Greek or Cyrillic letter in the text does not look like a Latin one."""
    return any(letter not in glyphs.LATIN for letter in _LOOK_ALIKE_SCRIPTS.findall(text))


_REMOVED = dict.fromkeys(map(ord, glyphs.ZERO_WIDTH + glyphs.OVERLAYS))
_NARROW = str.maketrans({wide: sign for sign, wide in glyphs.FULL_WIDTH.items()})
_LATIN = str.maketrans(dict(glyphs.LATIN))


def _spans(text: str, protect: Sequence[str]) -> list[tuple[int, int]]:
    """Return [start, end) of every occurrence of the protected substrings, overlapping ones included."""
    spans = []
    for part in filter(None, protect):
        start = text.find(part)
        while start >= 0:
            spans.append((start, start + len(part)))
            start = text.find(part, start + 1)
    return spans


def _count_units(layout: Layout, unit: str, spans: list[tuple[int, int]]) -> int:
    """Count the characters or the edges of words outside the protected spans."""
    characters = [
        (number, number + 1) for number, cluster in enumerate(layout.clusters) if not cluster.isspace()
    ]
    return sum(
        not any(layout.starts[first] < end and start < layout.starts[past] for start, end in spans)
        for first, past in (layout.tokens * 2 if unit == "edge" else characters)
    )


def _ranked(layout: Layout, kind: str, text: str, seed: int) -> Iterator[Edit]:
    """Yield all edits that are possible in the text, in the order in which a growing rate makes them.

    The key of a candidate is exponentially distributed with rate 1 / (number of candidates of its action), and the
    smallest key comes first (weighted sampling without replacement; Efraimidis and Spirakis, 2006). All actions
    therefore have equal chances, however many places each has. Under "mixed", all kinds have equal chances.
    """
    separable = [_is_separable(cluster) for cluster in layout.clusters]
    possible = [
        candidate
        for candidate in CORRUPTIONS[kind].candidates(layout)
        if all(separable[max(candidate.first - 1, 0) : candidate.past + 1])
    ]
    groups = [candidate.kind if kind == "mixed" else candidate.action for candidate in possible]
    sizes = Counter(groups)
    draws = stream(seed, "corruption", kind, text).random((2, len(possible)))
    keys = -np.log1p(-draws[0]) * [sizes[group] for group in groups]
    for number in np.argsort(keys, kind="stable"):
        candidate = possible[number]
        start, end = layout.starts[candidate.first], layout.starts[candidate.past]
        after = candidate.afters[int(draws[1, number] * len(candidate.afters))]
        yield Edit(candidate.kind, start, end, text[start:end], after, candidate.action)


@functools.lru_cache(4096)
def _is_separable(cluster: str) -> bool:
    """Whether a cluster never merges with a neighbour, unlike half a conjunct (a consonant with virama) or a flag."""
    return cluster.isascii() or _CLUSTER.findall(cluster + cluster) == [cluster, cluster]


def _chosen(
    ranked: Iterable[Edit], wanted: int, spans: list[tuple[int, int]], length: int
) -> tuple[Edit, ...]:
    """Return the first `wanted` edits that touch neither a protected span nor an earlier edit, from left to right."""
    taken = bytearray(length)  # 1 for each code point that an edit changes
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


CORRUPTIONS: dict[str, Corruption] = {
    "typos": Corruption(candidates.typos, "neighbouring keys; letters swapped, dropped and doubled"),
    "spacing": Corruption(
        candidates.spacing, "spaces lost, doubled and inside words; punctuation lost, doubled and added"
    ),
    "confusables": Corruption(
        candidates.confusables,
        "look-alikes, wide forms, invisible characters, combining marks",
        invertible=True,
    ),
    "emoji": Corruption(candidates.emoji, "emoji between words and in place of words", unit="edge"),
    "casing": Corruption(candidates.casing, "letters in the other case"),
    "leetspeak": Corruption(candidates.leetspeak, "digits and signs in place of letters"),
    "ocr": Corruption(candidates.ocr, "confusions of optical character recognition, as rn and m"),
    "mixed": Corruption(candidates.mixed, "each edit from one of the other rows"),
}
"""Name of a corruption -> its row. A new corruption is a new row."""
