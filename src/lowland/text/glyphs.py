"""Tables of characters: neighbouring keys, look-alike letters, confusions of scanners, and emoji with their names."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from types import ModuleType

from lowland.ground.mistakes import Mistake

# Greek and Cyrillic letters, by their Unicode names, that Unicode's table of confusables (UTS #39) maps to a Latin
# letter and that most fonts draw like it.
_LOOK_ALIKES = {
    "a": ("CYRILLIC SMALL LETTER A", "GREEK SMALL LETTER ALPHA"),
    "c": ("CYRILLIC SMALL LETTER ES",),
    "d": ("CYRILLIC SMALL LETTER KOMI DE",),
    "e": ("CYRILLIC SMALL LETTER IE",),
    "h": ("CYRILLIC SMALL LETTER SHHA",),
    "i": ("CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I", "GREEK SMALL LETTER IOTA"),
    "j": ("CYRILLIC SMALL LETTER JE", "GREEK LETTER YOT"),
    "l": ("CYRILLIC LETTER PALOCHKA",),
    "o": ("CYRILLIC SMALL LETTER O", "GREEK SMALL LETTER OMICRON"),
    "p": ("CYRILLIC SMALL LETTER ER", "GREEK SMALL LETTER RHO"),
    "q": ("CYRILLIC SMALL LETTER QA",),
    "s": ("CYRILLIC SMALL LETTER DZE",),
    "u": ("GREEK SMALL LETTER UPSILON",),
    "v": ("GREEK SMALL LETTER NU", "CYRILLIC SMALL LETTER IZHITSA"),
    "w": ("CYRILLIC SMALL LETTER WE",),
    "x": ("CYRILLIC SMALL LETTER HA",),
    "y": ("CYRILLIC SMALL LETTER U", "CYRILLIC SMALL LETTER STRAIGHT U"),
    "A": ("CYRILLIC CAPITAL LETTER A", "GREEK CAPITAL LETTER ALPHA"),
    "B": ("CYRILLIC CAPITAL LETTER VE", "GREEK CAPITAL LETTER BETA"),
    "C": ("CYRILLIC CAPITAL LETTER ES",),
    "E": ("CYRILLIC CAPITAL LETTER IE", "GREEK CAPITAL LETTER EPSILON"),
    "F": ("GREEK LETTER DIGAMMA",),
    "G": ("CYRILLIC CAPITAL LETTER KOMI SJE",),
    "H": ("CYRILLIC CAPITAL LETTER EN", "GREEK CAPITAL LETTER ETA"),
    "I": ("CYRILLIC CAPITAL LETTER BYELORUSSIAN-UKRAINIAN I", "GREEK CAPITAL LETTER IOTA"),
    "J": ("CYRILLIC CAPITAL LETTER JE",),
    "K": ("CYRILLIC CAPITAL LETTER KA", "GREEK CAPITAL LETTER KAPPA"),
    "M": ("CYRILLIC CAPITAL LETTER EM", "GREEK CAPITAL LETTER MU"),
    "N": ("GREEK CAPITAL LETTER NU",),
    "O": ("CYRILLIC CAPITAL LETTER O", "GREEK CAPITAL LETTER OMICRON"),
    "P": ("CYRILLIC CAPITAL LETTER ER", "GREEK CAPITAL LETTER RHO"),
    "S": ("CYRILLIC CAPITAL LETTER DZE",),
    "T": ("CYRILLIC CAPITAL LETTER TE", "GREEK CAPITAL LETTER TAU"),
    "V": ("CYRILLIC CAPITAL LETTER IZHITSA",),
    "W": ("CYRILLIC CAPITAL LETTER WE",),
    "X": ("CYRILLIC CAPITAL LETTER HA", "GREEK CAPITAL LETTER CHI"),
    "Y": ("CYRILLIC CAPITAL LETTER STRAIGHT U", "GREEK CAPITAL LETTER UPSILON"),
    "Z": ("GREEK CAPITAL LETTER ZETA",),
}
LOOK_ALIKES: Mapping[str, tuple[str, ...]] = {
    letter: tuple(map(unicodedata.lookup, names)) for letter, names in _LOOK_ALIKES.items()
}
"""Latin letter -> Greek and Cyrillic letters that look like it; no look-alike stands in two rows."""
LATIN: Mapping[str, str] = {glyph: letter for letter, glyphs in LOOK_ALIKES.items() for glyph in glyphs}
"""Look-alike -> the Latin letter that it looks like; the inverse of `LOOK_ALIKES`."""

FULL_WIDTH: Mapping[str, str] = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)}
"""ASCII character -> its wide form in East Asian type; NFKC is the inverse."""

ZERO_WIDTH = "\u200b\u2060\ufeff\u00ad"
"""Zero width space, word joiner, zero width no-break space and soft hyphen. The joiners U+200C and U+200D are
left out, because Indian scripts, Persian and emoji are spelt with them."""

OVERLAYS = "\u0305\u0332\u0333\u0334\u0335\u0336\u0337\u033f\u0353"
"""Combining marks that decorate: lines above, below and through, a tilde through, a cross below. No letter of Unicode
is composed with one of them, so that Unicode normalisation neither hides nor removes them."""

_KEY_ROWS = (("1234567890", 0.0), ("qwertyuiop", 0.5), ("asdfghjkl", 0.75), ("zxcvbnm", 1.25))
"""Rows of a QWERTY keyboard, each with its shift to the right in key widths."""
_SQUARED_DISTANCE_OF_NEIGHBOURS = 1.6
"""In squared key widths; neighbours are at most 1.26 key widths apart."""


def _neighbours() -> dict[str, tuple[str, ...]]:
    """Return key -> neighbouring keys; a letter has only letters as neighbours, a digit only digits."""
    place = {key: (x + shift, y) for y, (keys, shift) in enumerate(_KEY_ROWS) for x, key in enumerate(keys)}
    lower = {
        key: tuple(
            other
            for other, (x, y) in place.items()
            if other != key
            and other.isdigit() == key.isdigit()
            and (x - key_x) ** 2 + (y - key_y) ** 2 < _SQUARED_DISTANCE_OF_NEIGHBOURS
        )
        for key, (key_x, key_y) in place.items()
    }
    upper = {key.upper(): tuple(map(str.upper, others)) for key, others in lower.items() if key.isalpha()}
    return lower | upper


NEIGHBOURS: Mapping[str, tuple[str, ...]] = _neighbours()
"""Key -> its neighbours on a QWERTY keyboard, in the same case."""

LEET: Mapping[str, tuple[str, ...]] = {
    "a": ("4", "@"), "b": ("8",), "e": ("3",), "g": ("9",), "i": ("1", "!"), "l": ("1", "|"), "o": ("0",),
    "s": ("5", "$"), "t": ("7", "+"), "z": ("2",),
}  # fmt: skip
"""Lower-case letter -> the digits and signs that stand for it."""

OCR: Mapping[str, tuple[str, ...]] = {
    "rn": ("m",), "cl": ("d",), "vv": ("w",), "ii": ("u",), "nn": ("rm",), "li": ("h",),
    "m": ("rn",), "d": ("cl",), "w": ("vv",), "u": ("ii",), "h": ("b", "li"),
    "b": ("h", "6"), "c": ("e",), "e": ("c",), "f": ("t",), "g": ("9", "q"), "i": ("l", "j"), "j": ("i",),
    "l": ("1", "I"), "o": ("0", "c"), "q": ("g", "9"), "s": ("5",), "t": ("f",), "z": ("2",),
    "B": ("8",), "D": ("O",), "G": ("6",), "I": ("l", "1"), "O": ("0", "Q"), "Q": ("O",), "S": ("5",), "Z": ("2",),
    "0": ("O", "o"), "1": ("l", "I"), "2": ("Z",), "5": ("S",), "6": ("b", "G"), "8": ("B",), "9": ("g", "q"),
}  # fmt: skip
"""Printed characters -> the characters that optical character recognition reads instead."""

EMOJI = ("😀", "🙂", "😂", "🤔", "😅", "🎉", "✨", "🔥", "👍", "🙏", "👀", "💯")
"""Emoji to scatter over a text; none is related to a question of the tests."""


def emoji_of(word: str) -> str | None:
    """Return the emoji that an English word names, with or without a plural's "s", or None.

    Raises:
        Mistake: if the package `emoji` is not installed.

    Examples:
        >>> emoji_of("dogs"), emoji_of("France"), emoji_of("which")
        ('🐕', '🇫🇷', None)
    """
    emoji_by_name = _emoji_names()
    word = word.lower()
    return emoji_by_name.get(word) or emoji_by_name.get(word.removesuffix("s"))


def load_emoji() -> ModuleType:
    """Return the package `emoji`, which is optional.

    Raises:
        Mistake: if it is not installed.
    """
    try:
        import emoji
    except ImportError as error:
        raise Mistake("emoji in texts need the package emoji; install lowland[stress]") from error
    return emoji


@functools.cache
def _emoji_names() -> dict[str, str]:
    """Return name -> emoji for names and aliases of one word and at least three letters, in lower case.

    Where two emoji share a word, an emoji's own name goes before another's alias.
    """
    emoji = load_emoji()
    complete = {
        sign: row
        for sign, row in emoji.EMOJI_DATA.items()
        if row["status"] == emoji.STATUS["fully_qualified"]
    }
    names = [(row["en"], sign) for sign, row in complete.items()]
    aliases = [(alias, sign) for sign, row in complete.items() for alias in row.get("alias", ())]
    emoji_by_name: dict[str, str] = {}
    for name, sign in names + aliases:
        word = name.strip(":").lower()
        if word.isalpha() and len(word) > 2:
            emoji_by_name.setdefault(word, sign)
    return emoji_by_name
