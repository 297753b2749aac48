"""Normalisation of messy text: Unicode forms, look-alikes, invisible characters, emoji and spacing."""

from __future__ import annotations

import re
import unicodedata

from lowland.text.corruptions import undo
from lowland.text.glyphs import load_emoji

_MEANINGFUL_FORM = re.compile(
    "([\u00b2\u00b3\u00b9\u2070-\u207f\u00bc-\u00be\u2150-\u215f\u2189])"
)  # superscripts, subscripts and fractions
# Scripts in which a joiner between two letters is part of the spelling: Arabic to Myanmar (with Devanagari and its
# sisters), Khmer, Mongolian. A joiner after an Indian script's virama (the sign that removes a letter's vowel) is
# part of the spelling, too.
_SCRIPTS = "\u0600-\u109f\u1780-\u18af"
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0c4d\u0ccd\u0d4d"
_STRAY_JOINER = re.compile(
    f"(?<![{_SCRIPTS}])[\u200c\u200d]+|(?<![{_VIRAMAS}])[\u200c\u200d]+(?![{_SCRIPTS}\u200c\u200d])"
)
_KEYCAP = "\u20e3"
_FIRST_EMOJI = "\u2300"  # below this code point, no single character is drawn as an emoji by default
_SPACE_BEFORE_MARK = re.compile(r"\s+([?!,;:])")
_REPEATED_MARK = re.compile(r"([?!,;:])\1+")
_MOST_PASSES = 8


def cleaned(text: str) -> str:
    """Return plain text: NFKC, without look-alikes, invisible characters, emoji and extra spaces.

    Characters that carry meaning stay: the superscript of 10², fractions, and joiners inside words of the scripts
    that need them (Devanagari's half letters). The function is idempotent, and leaves clean text in form NFC unchanged.

    Raises:
        Mistake: if the package `emoji` is not installed.

    Examples:
        >>> cleaned("What  is the c\u0430pital \U0001f600 of Ｆｒａｎｃｅ ??")
        'What is the capital of France?'
    """
    before = None
    for _ in range(_MOST_PASSES):  # one step can expose what another removes; two or three passes are enough
        if text == before:
            break
        before, text = text, _spaced(_STRAY_JOINER.sub("", undo(_without_emoji(_compatible(text)))))
    return text


def _compatible(text: str) -> str:
    """Apply NFKC to all but superscripts and fractions: 10² is not 102, and 1½ is not 11⁄2."""
    return "".join(
        part if number % 2 else unicodedata.normalize("NFKC", part)
        for number, part in enumerate(_MEANINGFUL_FORM.split(text))
    )


def _without_emoji(text: str) -> str:
    """Replace each emoji by a space; keep the digit of a keycap, and signs of plain text (©, ↔)."""

    def replacement(sign: str, _: object) -> str:
        if sign[-1] == _KEYCAP:
            return sign[0]
        return sign if len(sign) == 1 and sign < _FIRST_EMOJI else " "

    replaced: str = load_emoji().replace_emoji(text, replacement)
    return replaced


def _spaced(text: str) -> str:
    """Leave one space between words, none before a mark that ends a phrase, and no such mark twice."""
    text = " ".join(text.split())
    return _REPEATED_MARK.sub(r"\1", _SPACE_BEFORE_MARK.sub(r"\1", text))
