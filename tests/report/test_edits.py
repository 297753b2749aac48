"""Edits between two texts: complete, aligned, and visible."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.report import edits as module
from lowland.report.edits import LONGEST, SHOWN, Edit, edits_between, plain_edits, seen
from lowland.text.corruptions import CORRUPTIONS, corrupt

TEXT = "Which river flows through London, and since when?"


def changed(before: str, after: str) -> str:
    return plain_edits(edits_between(before, after))


@pytest.mark.parametrize("kind", list(CORRUPTIONS))
@pytest.mark.parametrize("level", ["light", "heavy"])
def test_the_pieces_are_the_two_texts(kind: str, level: str) -> None:
    damaged = corrupt(TEXT, kind, level, seed=3).text
    pieces = module._pieces(TEXT, damaged)
    assert "".join(each.before for each in pieces) == TEXT
    assert "".join(each.after for each in pieces) == damaged
    assert sum(len(each.before) for each in pieces if each.is_same) > len(TEXT) / 3


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_have_pieces_and_nothing_hidden_is_shown(before: str, after: str) -> None:
    pieces = module._pieces(before, after)
    assert ("".join(each.before for each in pieces), "".join(each.after for each in pieces)) == (
        before,
        after,
    )
    shown = "".join(each.before + each.after for each in edits_between(before, after) if not each.is_same)
    hidden = {
        character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zs", "Co")
    }
    assert hidden <= {"\u200c", "\u200d"}  # between emoji


def test_what_is_inserted_deleted_and_replaced_is_marked() -> None:
    assert changed("the capital", "the caiptal") in ("the ca{-p-}i{+p+}tal", "the ca{+i+}p{-i-}tal")
    assert changed("the river", "theriver") == "the{-␣-}river"
    assert changed("river", "ri ver") == "ri{+␣+}ver"
    assert changed("same", "same") == "same"


def test_letters_of_another_case_or_width_are_laid_upon_each_other() -> None:
    text = "a bank rises again again again again again"
    damaged = corrupt(text, "casing", "heavy", seed=0).text
    edits = [each for each in edits_between(text, damaged) if not each.is_same]
    assert edits
    assert all(each.before.lower() == each.after.lower() for each in edits)
    assert changed("banana", "bana\uff4ea") == "bana{-n-}{+\uff4e‹U+FF4E›+}a"


@pytest.mark.parametrize(
    ("piece", "instead_of", "shown"),
    [
        ("\u200b", "", "‹U+200B›"),
        ("\u2060\ufeff", "", "‹U+2060›‹U+FEFF›"),
        ("\u200d", "", "‹U+200D›"),
        ("a\u200db", "", "a‹U+200D›b"),
        ("👩\u200d🔬", "", "👩\u200d🔬"),
        ("❤\ufe0f", "", "❤\ufe0f"),
        ("\ufe0f", "", "‹U+FE0F›"),
        ("\u0305", "", "◌\u0305"),
        ("  ", "", "␣␣"),
        ("\u00a0\t", "", "‹U+00A0›‹U+0009›"),
        ("а", "a", "а‹U+0430›"),
        ("ï", "", "ï"),
        ("4", "a", "4"),
        ("👢", "boot", "👢"),
        ("\x1b[2J", "", "‹U+001B›[2J"),
    ],
)
def test_what_cannot_be_seen_has_its_number(piece: str, instead_of: str, shown: str) -> None:
    assert seen(piece, instead_of) == shown


def test_long_texts_are_cut_around_their_edits() -> None:
    words = " ".join(f"word{number}" for number in range(60))
    text = changed(words, words.replace("word30 ", "wrod30 "))
    assert "word29" in text
    assert "word31" in text
    assert text.startswith("…")
    assert text.endswith("…")
    assert len(text) < 220


def test_longer_texts_are_cut_at_their_end() -> None:
    long = "abc " * LONGEST
    edits = edits_between(long, long.replace("b", "x"))
    assert sum(max(len(each.before), len(each.after)) for each in edits) < SHOWN + 100
    assert edits[-1] == Edit("…", "…")
    same = edits_between(long, long + "x")
    assert all(each.is_same for each in same)
