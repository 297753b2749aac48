"""Words that change the number beside them: fractions, Hindi quarters, ordinals and signs of a decimal point.

Every form stands as `skeleton(plain(form))`, so "saadhe" and "sadhe" are one entry, and so are both codings of साढ़े.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from lowland.replies.number_words import skeleton
from lowland.replies.wording import listed, plain


def _spelled(values: Mapping[str, Fraction | int]) -> dict[str, Fraction]:
    """Return spelling -> value for each word of the keys."""
    return {
        skeleton(plain(form)): Fraction(value) for forms, value in values.items() for form in forms.split()
    }


AMOUNTS = _spelled(
    {
        "डेढ़ dedh derh daidh": Fraction(3, 2),
        "ढाई अढ़ाई dhai adhai arhai": Fraction(5, 2),
        "पौन पौना paun pauna": Fraction(3, 4),
    }
)
"""Words that are numbers by themselves."""

SHIFTS = _spelled(
    {
        "साढ़े साढ़ी साडे saadhe sadhey saade sadey sarhe sarhey": Fraction(1, 2),
        "सवा sava": Fraction(1, 4),
        "पौने paune paunay poune": Fraction(-1, 4),
    }
)
"""Words that are added to the number behind them: साढ़े तीन is 3 + 1/2, सवा दो 2 + 1/4, पौने दो 2 - 1/4."""

HALVES = _spelled({"half आधा आधी आधे aadha aadhi aadhe": Fraction(1, 2)})
"""Words that are a half, by themselves or behind "and"."""

HINDI_PARTS = _spelled({"चौथाई chauthai chauthayi": 4, "तिहाई tihai tihayi": 3})
"""Hindi denominators: by themselves 1/4 and 1/3; behind a number, that many of them."""

_UNITS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth"
)
_TENS = "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"
ORDINALS: Mapping[str, int] = {
    **{word: value for value, word in enumerate(_UNITS.split(), start=1)},
    **{word: 10 * tens for tens, word in enumerate(_TENS.split(), start=2)},
    "quarter": 4,
    "hundredth": 100,
    "thousandth": 1_000,
    "millionth": 1_000_000,
    "billionth": 1_000_000_000,
}
"""English ordinals, which are denominators behind a number: three fifths. By themselves they are no numbers."""
DENOMINATORS: Mapping[str, int] = {
    f"{word}s": value for word, value in ORDINALS.items() if word not in ("first", "second")
} | {"halves": 2}
"""Plurals of the ordinals."""

HINDI_ORDINAL = re.compile(r"(?:वां|वीं|वें|वा|वी|वे)$")
POINT = re.compile(r"\s+(?:point|दशमलव|dashamlav|dashmlav|पॉइंट|पाइंट|प्वाइंट)\s+", re.IGNORECASE)
BY = re.compile(r"\s*/\s*|\s+(?:बटा|बटे|bata|bate|upon)\s+", re.IGNORECASE)
"""Signs between a numerator and a denominator."""
AND_PART = re.compile(r"\s+(?:and|aur|और)\s+(?:an?\s+)?", re.IGNORECASE)
"""Text between a whole number and the fraction that is added to it."""

INDEFINITE = listed(
    "hundreds thousands lakhs lacs millions crores billions trillions quadrillions dozens scores"
    " सैकडों हजारों लाखों करोडों अरबों दर्जनों saikdon hazaron hazaaron lakhon laakhon karodon karoron arbon darjanon"
)
"""Scales in the plural: without a number before them they are some hundreds, not one."""
SEVERAL = re.compile(
    r"\b(?:several|few|many|some|couple(?:\s+of)?|various|multiple|numerous|countless|half\s+of\s+the|per|kai|kayi|kuch|anek|bahut)\s+$"
    r"|(?:कई|कुछ|अनेक|बहुत)\s+$",
    re.IGNORECASE,
)
"""The end of the text before a scale that stands for an unknown number of it."""
