"""Numbers of replies: each is read fully and exactly, or it is unread and never right."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.replies.answers import match
from lowland.replies.number_words import HINDI, ROMANISED
from lowland.replies.numbers import HALF_KNOWN, numbers_in
from lowland.replies.wording import plain

LAKH, CRORE = 100_000, 10_000_000

READ = [
    ("साढ़े तीन|saadhe teen|sadhe teen|saade teen|sade teen", "7/2"),
    ("सवा दो|sava do|savaa do|sawa do", "9/4"),
    ("पौने दो|paune do", "7/4"),
    ("डेढ़|dedh|derh", "3/2"),
    ("ढाई|अढ़ाई|dhai|dhaai", "5/2"),
    ("पौन|paun", "3/4"),
    ("सवा लाख|sava lakh", "125000"),
    ("साढ़े तीन लाख|saadhe teen lakh|साढ़े 3 लाख", "350000"),
    ("डेढ़ करोड़|dedh karod", "15000000"),
    ("सवा सौ|sava sau", "125"),
    ("पौने दो सौ", "175"),
    ("तीन चौथाई|teen chauthai|three quarters|3/4", "3/4"),
    ("दो तिहाई|do tihai|two thirds|two-thirds|2/3|2/3rds|⅔", "2/3"),
    ("तीन और आधा|teen aur aadha|three and a half|three and half|3½|3 1/2|3-1/2", "7/2"),
    ("एक बटा दो|½|half|one half|एक आधा|\\frac{1}{2}", "1/2"),
    ("two and a quarter|two and one quarter|2 ¼|2 1/4", "9/4"),
    ("two and one half", "5/2"),
    ("1¾", "7/4"),
    ("half a million", "500000"),
    ("one and a half million|1½ million|1.5M", "1500000"),
    ("a dozen", "12"),
    ("half a dozen", "6"),
    ("1e6|1E6|1e+6|10^6|10**6|10^{6}|10⁶|ten to the sixth|1,000,000|10,00,000", "1000000"),
    ("1.5e3", "1500"),
    ("1e-3|.001", "1/1000"),
    ("3×10^8|3 x 10^8|3x10^8|3 * 10^8|$3 \\times 10^{8}$|300 000 000", "300000000"),
    ("three point one four|3.14", "157/50"),
    ("तीन दशमलव पाँच|٣٫٥", "7/2"),
    ("1,00,000|5k20|100k", "100000"),
    ("٣|three|iii", "3"),
    ("4th", "4"),
    ("twenty-first|21st", "21"),
    ("one hundred and fifth", "105"),
    ("5k|5K", "5000"),
    ("1.2M", "1200000"),
    ("5cr|5 cr|5 crore", "50000000"),
    ("3 lakh crore", str(3 * LAKH * CRORE)),
    ("five score", "100"),
    ("तीन सौ छाछठ", "366"),
    ("~5|about 5|5 or so|=> 5|<b>5</b>|5!|5️⃣", "5"),
    ("50%|50 percent", "50"),
    ("-.5", "-1/2"),
    ("ऋण पाँच|~-5", "-5"),
]
NOT_READ_HERE = {"iii", "5k20"}
"""Spellings in the table that stand for no number."""

UNREAD = (
    "5ish|5-ish|five-ish|five hundred odd|500-odd|5+|5 or more|more than 5|over 5|at least 5|>5|> 5|up to 5"
    "|5 से ज्यादा|5 se zyada|kam se kam 5|√81|twice 5|5 squared|5^n|5:30|5'6|3,5|1,00,00|1.000.000|2.5.1|12/05/1947"
    "|0x10|0b11|5个|10x|3D|5 millon|twenty fvie|twenty-something|hundreds|dozens of legs|several thousand|a few hundred"
    "|tens of thousands|हजारों|लाखों|कई लाख|a million and a half|two lakh three crore|two third|three half|एक डेढ़|साढ़े"
    "|72/6|1/2/3|three point fourteen|1.2 M|5 k|1940's|7 - 3|5 below|do hazaar sau"
)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("written", "value"),
    [(text, value) for texts, value in READ for text in texts.split("|") if text not in NOT_READ_HERE],
)
def test_numbers_that_are_read_exactly(written: str, value: str, form: str) -> None:
    text = unicodedata.normalize(form, written)  # type: ignore[arg-type]
    assert [number.value for number in numbers_in(plain(text))] == [Fraction(value)]
    assert match(text, [value], "number").right
    assert match(f"It is {text}.", [value], "number").right


@pytest.mark.parametrize("written", [*UNREAD.split("|"), "9" * 5000])
def test_numbers_that_are_unread_and_never_right(written: str) -> None:
    numbers = numbers_in(plain(written))
    assert numbers
    assert all(number.value is None for number in numbers), numbers
    for value in {value for number in numbers for value in number.values}:
        assert not match(f"It is {written}", [str(value)], "number").right


@pytest.mark.parametrize("written", ["IV", "XIV", "sava", "saadhe", "gross", "the score", "the third", "iii"])
def test_words_that_are_no_numbers_by_themselves(written: str) -> None:
    assert numbers_in(plain(written)) == []


def test_units_that_are_half_known_belong_to_no_gold() -> None:
    for written in ("5 km/day", "5 square km", "5 km²", "5 metres per week"):
        (number,) = numbers_in(plain(written))
        assert (number.value, number.unit) == (5, HALF_KNOWN)
        assert not match(written, ["5 km", "5 m"], "number").right
    assert not match("5 light years", ["5 years"], "number").right


def test_a_k_behind_digits_is_kelvin_only_for_a_gold_in_kelvin() -> None:
    assert match("It is 273K.", ["273 K"], "number").right
    assert not match("It is 273K.", ["273"], "number").right
    assert match("It is 273K.", ["273000"], "number").right


def test_both_signs_are_one_answer() -> None:
    assert match("It is ±9.", ["±9"], "number").right
    assert not match("It is plus or minus nine", ["9"], "number").right


SHIFTS = {
    "साढ़े": Fraction(1, 2),
    "saadhe": Fraction(1, 2),
    "सवा": Fraction(1, 4),
    "sava": Fraction(1, 4),
    "पौने": Fraction(-1, 4),
    "paune": Fraction(-1, 4),
}
SCALES = {
    "": 1,
    "सौ": 100,
    "sau": 100,
    "हज़ार": 1000,
    "lakh": LAKH,
    "लाख": LAKH,
    "करोड़": CRORE,
    "crore": CRORE,
}
ENGLISH_PARTS = {"a half": Fraction(1, 2), "a quarter": Fraction(1, 4), "two thirds": Fraction(2, 3)}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(SHIFTS)),
    st.integers(2, 99),
    st.sampled_from(sorted(SCALES)),
    st.sampled_from([HINDI, ROMANISED, None]),
    st.sampled_from(["NFC", "NFD"]),
)
def test_hindi_quarters_are_exact_for_every_number_and_scale(
    shift: str, whole: int, scale: str, words: list[str] | None, form: str
) -> None:
    word = str(whole) if words is None else words[whole].split("/")[0]
    text = unicodedata.normalize(form, f"{shift} {word} {scale}".strip())  # type: ignore[arg-type]
    value = (whole + SHIFTS[shift]) * SCALES[scale]
    assert [number.value for number in numbers_in(plain(text))] == [value], text
    assert match(text, [str(value)], "number").right
    for other in {whole, whole - 1, whole + 1, SCALES[scale], whole * SCALES[scale]} - {value}:
        assert not match(text, [str(other)], "number").right, (text, other)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 9999),
    st.sampled_from(sorted(ENGLISH_PARTS)),
    st.sampled_from(["", " thousand", " million", " lakh"]),
)
def test_mixed_numbers_are_exact(whole: int, part: str, scale: str) -> None:
    factor = {"": 1, " thousand": 1000, " million": 10**6, " lakh": LAKH}[scale]
    text, value = f"{whole} and {part}{scale}", (whole + ENGLISH_PARTS[part]) * factor
    assert [number.value for number in numbers_in(text)] == [value]
    assert not match(text, [str(whole), str(whole * factor)], "number").right


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from(
        ["{}-{}", "{}–{}", "{} — {}", "{} to {}", "between {} and {}", "from {} to {}", "{} se {} tak"]
    ),
    st.sampled_from(["number", "year"]),
    st.booleans(),
)
def test_a_range_is_never_right_for_one_end(
    low: int, more: int, written: str, kind: str, asked: bool
) -> None:
    high = low + more
    text = written.format(low, high)
    question = f"What began in {low}?" if asked else ""
    for reply in (text, f"It is {text}.", f"{text} hai"):
        assert not match(reply, [str(low)], kind).right
        assert not match(reply, [str(high)], kind, question).right, reply
    assert match(f"It is {text}.", [f"{low} to {high}"], kind).right


SUFFIXES = [
    "ish",
    "x",
    "abc",
    "-ish",
    "+",
    " or more",
    " squared",
    "^n",
    ":30",
    ",5",
    "'6",
    " millon",
    "/7/7",
    "个",
    "_1",
]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**6), st.sampled_from(SUFFIXES))
def test_an_unread_suffix_makes_a_right_number_not_right(number: int, suffix: str) -> None:
    assert match(f"It is {number}.", [str(number)], "number").right
    assert not match(f"It is {number}{suffix}", [str(number)], "number").right


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 99), st.integers(-9, 15), st.sampled_from(["{}e{}", "{}E{}", "{}×10^{}", "{} x 10^{}"]))
def test_powers_of_ten_are_exact(number: int, power: int, written: str) -> None:
    text = written.format(number, power)
    assert [read.value for read in numbers_in(plain(text))] == [number * Fraction(10) ** power]


def test_a_word_that_is_also_a_number_counts_beside_an_or() -> None:
    assert not match("one or five", ["5"], "number").right
    assert not match("ek se paanch", ["5"], "number").right
    assert match("One of them has 5", ["5"], "number").right


def test_an_alias_that_is_unread_adds_no_value_and_is_matched_by_its_words() -> None:
    assert match("It was 5ish.", ["5ish"], "number").right
    assert not match("It was 5.", ["5ish"], "number").right
