"""Edits between two texts, character by character, with marks for what cannot be seen."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

from lowland.ground.visible import visible

LONGEST = 500
"""Number of characters of a text that are compared."""
CONTEXT = 40
"""Number of characters that are shown before and after an edit, where the texts are long."""
SHOWN = 500
"""Number of characters about which a comparison is cut."""
JOINERS = "\u200c\u200d"
SELECTORS = range(0xFE00, 0xFE10)
"""Variation selectors, which have no width of their own."""


@dataclass(frozen=True)
class Edit:
    """A piece of two texts.

    Attributes:
        before: the piece of the one; "" if it is inserted.
        after: the piece of the other; "" if it is deleted. Equal pieces are the same in both.
    """

    before: str
    after: str

    @property
    def is_same(self) -> bool:
        """Whether the piece is the same in both texts."""
        return self.before == self.after


def edits_between(before: str, after: str) -> tuple[Edit, ...]:
    """Return the pieces of two texts, in their order, as one shows them.

    Long pieces that are the same are shortened, and so is the end of long texts. Characters that cannot be seen are
    written by their numbers, spaces in edits as ␣, and letters that look like others with their numbers behind them.
    """
    is_cut = max(len(before), len(after)) > LONGEST
    before, after = before[:LONGEST], after[:LONGEST]
    raw = _pieces(before, after)
    if is_cut and raw and not raw[-1].is_same:
        raw.pop()  # only one of both is cut here
    shown: list[Edit] = []
    length = 0
    for number, edit in enumerate(raw):
        if edit.is_same:
            text = visible(_shortened(edit.before, is_first=number == 0, is_last=number == len(raw) - 1))
            shown.append(Edit(text, text))
        else:
            shown.append(Edit(seen(edit.before), seen(edit.after, edit.before)))
        length += max(len(shown[-1].before), len(shown[-1].after))
        if length > SHOWN:
            shown.append(Edit("…", "…"))
            return tuple(shown)
    return (*shown, Edit("…", "…")) if is_cut else tuple(shown)


def _pieces(before: str, after: str) -> list[Edit]:
    """Return the pieces of two texts. Letters that differ in case, width or accent alone are laid upon each other."""
    matcher = SequenceMatcher(None, _folded(before), _folded(after), autojunk=False)
    pieces: list[Edit] = []
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            pieces.append(Edit(before[i:j], after[k:m]))
            continue
        for _, pairs in groupby(zip(before[i:j], after[k:m], strict=True), lambda pair: pair[0] == pair[1]):
            ours, theirs = zip(*pairs, strict=True)
            pieces.append(Edit("".join(ours), "".join(theirs)))
    return pieces


def _folded(text: str) -> list[str]:
    """Return each character without case, width and accent."""
    return [unicodedata.normalize("NFKD", character)[:1].lower() for character in text]


def plain_edits(edits: Sequence[Edit]) -> str:
    """Write edits in plain text, as `git diff --word-diff` does: `ca{+i+}p{-i-}tal`."""
    return "".join(
        edit.before
        if edit.is_same
        else (f"{{-{edit.before}-}}" if edit.before else "") + (f"{{+{edit.after}+}}" if edit.after else "")
        for edit in edits
    )


def seen(text: str, instead_of: str = "") -> str:
    """Write an inserted or deleted piece so that each of its characters can be seen.

    Args:
        text: the piece.
        instead_of: the piece that it replaces, if any: a letter that may look like one of it gets its number.
    """
    marks = [
        _mark(character, text[max(0, place - 1) : place], text[place + 1 : place + 2])
        for place, character in enumerate(text)
    ]
    if instead_of.isascii() and instead_of:
        marks = [
            f"{mark}‹U+{ord(character):04X}›" if character.isalnum() and not character.isascii() else mark
            for mark, character in zip(marks, text, strict=True)
        ]
    return "".join(marks)


def _mark(character: str, previous: str, following: str) -> str:
    """Return what is shown for a character of an edit."""
    kind = unicodedata.category(character)
    in_emoji = any(each and unicodedata.category(each) == "So" for each in (previous, following))
    if character == " ":
        return "␣"
    if character in JOINERS or ord(character) in SELECTORS or kind in ("Zs", "Zl", "Zp"):
        return character if in_emoji and not kind.startswith("Z") else f"‹U+{ord(character):04X}›"
    if kind in ("Mn", "Me"):
        return f"◌{character}"
    return visible(character)


def _shortened(text: str, *, is_first: bool, is_last: bool) -> str:
    """Return a piece that is the same in both texts, without its middle, or without the end that no edit is near."""
    if is_first and is_last:
        return text[: 2 * CONTEXT] + ("…" if len(text) > 2 * CONTEXT else "")
    if is_first:
        return text if len(text) <= 2 * CONTEXT else f"…{text[-2 * CONTEXT :]}"
    if is_last:
        return text if len(text) <= 2 * CONTEXT else f"{text[: 2 * CONTEXT]}…"
    return text if len(text) <= 3 * CONTEXT else f"{text[:CONTEXT]} … {text[-CONTEXT:]}"
