"""The tables of characters, compared with Unicode's data and with other packages."""

from __future__ import annotations

import sys
import unicodedata

import emoji
import pytest
import regex

from lowland.ground.mistakes import Mistake
from lowland.text import glyphs

ASCII = [chr(code) for code in range(0x21, 0x7F)]


def test_a_look_alike_is_a_letter_of_the_same_case_that_nfkc_does_not_change():
    for glyph, letter in glyphs.LATIN.items():
        assert letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        assert regex.fullmatch(r"[\p{Greek}\p{Cyrillic}]", glyph)
        assert unicodedata.normalize("NFKC", glyph) == glyph
        if letter != "l":  # until Unicode 5, the palochka had a capital form only
            assert unicodedata.category(glyph) == unicodedata.category(letter), (glyph, letter)


def test_no_look_alike_is_in_two_rows():
    glyphs_of_all = [glyph for row in glyphs.LOOK_ALIKES.values() for glyph in row]
    assert len(glyphs_of_all) == len(set(glyphs_of_all)) == len(glyphs.LATIN)
    assert all(glyphs.LATIN[glyph] == letter for letter, row in glyphs.LOOK_ALIKES.items() for glyph in row)


def test_look_alikes_agree_with_unicodes_table_of_confusables():
    table = pytest.importorskip("confusable_homoglyphs.confusables").confusables_data
    for glyph, letter in glyphs.LATIN.items():
        skeleton = {"I": "l"}.get(letter, letter)  # UTS #39 treats I, l and 1 as the same
        assert glyph in {row["c"] for row in table[skeleton]}, (glyph, letter)


def test_nfkc_is_the_inverse_of_the_wide_forms():
    assert sorted(glyphs.FULL_WIDTH) == ASCII
    for sign, wide in glyphs.FULL_WIDTH.items():
        assert unicodedata.normalize("NFKC", wide) == sign
        assert unicodedata.east_asian_width(wide) == "F"


def test_invisible_characters_have_no_width_and_are_not_joiners():
    for sign in glyphs.ZERO_WIDTH:
        assert unicodedata.category(sign) == "Cf"
        assert not regex.match(r"\p{Join_Control}", sign)


def test_no_letter_is_composed_with_a_decorating_mark():
    spelt = {part for code in range(sys.maxunicode) for part in unicodedata.normalize("NFD", chr(code))[1:]}
    for mark in glyphs.OVERLAYS:
        assert unicodedata.combining(mark)
        assert mark not in spelt
        assert unicodedata.normalize("NFKC", "a" + mark) == "a" + mark


def test_neighbouring_keys_are_symmetric_and_keep_their_case_and_category():
    assert sorted(glyphs.NEIGHBOURS) == sorted(filter(str.isalnum, ASCII))
    for key, near in glyphs.NEIGHBOURS.items():
        assert 1 <= len(near) <= 6
        for other in near:
            assert key != other
            assert key in glyphs.NEIGHBOURS[other]
            assert unicodedata.category(key) == unicodedata.category(other)


@pytest.mark.parametrize(
    ("key", "near"),
    [("s", "wedxza"), ("g", "tyhbvf"), ("q", "wa"), ("P", "OL"), ("m", "njk"), ("5", "46"), ("0", "9")],
)
def test_neighbouring_keys_are_those_of_a_qwerty_keyboard(key, near):
    assert set(glyphs.NEIGHBOURS[key]) == set(near)


def test_leet_maps_lower_case_letters_to_digits_and_signs():
    assert all(letter.islower() and len(letter) == 1 for letter in glyphs.LEET)
    assert all(sign.isascii() and not sign.isalpha() for signs in glyphs.LEET.values() for sign in signs)


def test_ocr_confuses_ascii_with_other_ascii():
    for printed, taken_for in glyphs.OCR.items():
        assert 1 <= len(printed) <= 2
        for other in taken_for:
            assert other != printed
            assert other.isascii()
            assert other.isalnum()
    for printed, other in [
        ("rn", "m"),
        ("cl", "d"),
        ("vv", "w"),
        ("0", "O"),
        ("1", "l"),
        ("5", "S"),
        ("8", "B"),
    ]:
        assert other in glyphs.OCR[printed]
        assert printed in glyphs.OCR[other]


def test_each_scattered_emoji_is_a_single_emoji():
    for sign in glyphs.EMOJI:
        assert emoji.is_emoji(sign)
        assert regex.findall(r"\X", sign) == [sign]


@pytest.mark.parametrize(
    ("word", "sign"),
    [("dog", "🐕"), ("Dogs", "🐕"), ("FRANCE", "🇫🇷"), ("turkey", "🦃"), ("bus", "🚌"), ("glass", None), ("is", None),
     ("", None), ("s", None), ("capital", None), ("on", None), ("राजा", None)],
)  # fmt: skip
def test_words_that_name_emoji(word, sign):
    assert glyphs.emoji_of(word) == sign


def test_every_emoji_has_its_own_name():
    names = glyphs._emoji_names()
    assert len(names) > 500
    for word, sign in names.items():
        row = emoji.EMOJI_DATA[sign]
        assert f":{word}:" in [name.lower() for name in (row["en"], *row.get("alias", ()))]
        assert len(word) > 2


def test_without_the_package_the_mistake_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "emoji", None)
    glyphs._emoji_names.cache_clear()
    try:
        with pytest.raises(Mistake, match=r"lowland\[stress\]"):
            glyphs.emoji_of("dog")
    finally:
        glyphs._emoji_names.cache_clear()
