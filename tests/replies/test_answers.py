"""Matching of replies: listed replies, listed near misses, and properties of any name and number."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.replies.answers import is_right, match, normalise
from lowland.replies.clauses import denied
from lowland.replies.near import NEAR, near
from lowland.replies.number_words import HINDI, ROMANISED, UNITS, skeleton
from lowland.replies.numbers import numbers_in
from lowland.replies.wording import answer_part, plain

PAIRS = [
    json.loads(line) for line in (Path(__file__).parent / "near_misses.jsonl").read_text("utf-8").splitlines()
]

RIGHT_NAMES = [
    ("Paris", ["Paris"]),
    ("  paris.\n", ["Paris"]),
    ("PARIS!!!", ["Paris"]),
    ("The capital of France is Paris.", ["Paris"]),
    ("The capital of France is **Paris**.", ["Paris"]),
    ("The capital of France is *Paris*, a city on the Seine. It has two million inhabitants.", ["Paris"]),
    ("# Answer\n\n__Paris__ 🎉", ["Paris"]),
    ("Answer: Paris", ["Paris"]),
    ("**Final answer:** `Paris`", ["Paris"]),
    ("The answer is: Paris\n\nLyon and Marseille are other cities of France.", ["Paris"]),
    ("उत्तर: पेरिस", ["Paris", "पेरिस"]),
    ("Jawab: Paris", ["Paris"]),
    ("Great question! Many people think of Lyon, but it is Paris.", ["Paris"]),
    ("It is not Lyon but Paris.", ["Paris"]),
    ("Paris, not Lyon.", ["Paris"]),
    ("Not Lyon. Paris.", ["Paris"]),
    ("Lyon nahi, Paris hai.", ["Paris"]),
    ("ल्यों नहीं, पेरिस।", ["पेरिस"]),
    ("Paris rather than Lyon", ["Paris"]),
    ("Paris isn't just any city? It's the capital: Paris!", ["Paris"]),
    ("Lyon... wait, no: Paris", ["Paris"]),
    ("<think>Is it Lyon or Paris? Not Paris.</think>Paris", ["Paris"]),
    ("Paris, France", ["Paris"]),
    ("Paris (France)", ["Paris"]),
    ("Kolkata, or Calcutta", ["Kolkata"]),
    ("Calcutta or Kolkata", ["Kolkata", "Calcutta"]),
    ("Kolkata/Calcutta", ["Kolkata", "Calcutta"]),
    ("There is no doubt that it is Paris.", ["Paris"]),
    ("पेरिस", ["Paris", "पेरिस"]),
    ("फ्रांस की राजधानी पेरिस है।", ["Paris", "पेरिस"]),
    ("France की राजधानी Paris है।", ["Paris"]),
    ("Ｐａｒｉｓ", ["Paris"]),
    ("Par\u200bis", ["Paris"]),
    ("Brasília", ["Brasilia"]),
    ("the Sao Paulo region", ["São Paulo"]),
    ("हिन्दी", ["हिंदी"]),
    ("चाँद", ["चांद"]),
    ("Washington DC", ["Washington, D.C."]),
    ("the u.s.a.", ["USA"]),
    ("It was Newton's idea", ["Newton"]),
    ("Lord of the Rings", ["The Lord of the Rings"]),
    ("H₂O", ["H2O"]),
    ("O'Brien", ["O’Brien"]),
    ("the colours are red, green and blue", ["red, green and blue"]),
    ("red, green and blue", ["red, green and blue"]),
    ("Many people believe that the answer is Paris.", ["Paris"]),
    ("While many people think of Lyon, the capital is Paris.", ["Paris"]),
    ("Paris, which is larger than Lyon", ["Paris"]),
    ("It is none other than Paris", ["Paris"]),
    ("It lies in North Africa.", ["Africa", "North Africa"]),
    ("Suraj purab se nikalta hai aur paschim mein doobta hai.", ["purab"]),
    ("आम तौर पर आम को फलों का राजा कहते हैं।", ["आम"]),
    ("Ten million is one crore.", ["1 crore", "crore"]),
    ("इसे सौ लाख यानी एक करोड़ कहते हैं।", ["करोड़"]),
]
WRONG_NAMES = [
    ("", ["Paris"]),
    ("...", ["Paris"]),
    ("Lyon", ["Paris"]),
    ("It is not Paris but Lyon.", ["Paris"]),
    ("It isn't Paris.", ["Paris"]),
    ("Paris is not the capital of France.", ["Paris"]),
    ("Paris isn't the capital; Lyon is.", ["Paris"]),
    ("Lyon rather than Paris", ["Paris"]),
    ("Lyon instead of Paris", ["Paris"]),
    ("Neither Paris nor Lyon", ["Paris"]),
    ("Paris nahi, Lyon", ["Paris"]),
    ("पेरिस फ्रांस की राजधानी नहीं है।", ["पेरिस"]),
    ("Paris or Lyon", ["Paris"]),
    ("either Lyon or Paris", ["Paris"]),
    ("It could be Paris, Lyon, or Marseille.", ["Paris"]),
    ("It could be Lyon, Paris or Marseille.", ["Paris"]),
    ("पेरिस या ल्यों", ["पेरिस"]),
    ("Paris/Lyon", ["Paris"]),
    ("Paris and Lyon", ["Paris"]),
    ("Lyon, Marseille, Paris", ["Paris"]),
    ("1. Lyon\n2. Paris\n3. Nice", ["Paris"]),
    ("- Paris\n- Lyon", ["Paris"]),
    ("Comparison", ["Paris"]),
    ("Parisian", ["Paris"]),
    ("Answer: Lyon\nParis was the seat of the kings.", ["Paris"]),
    ("Paris. Wait, no: Lyon.", ["Paris"]),
    ("<think>The capital is Paris, I think. </think>\n\nIt is Lyon.", ["Paris"]),
    ("मंगलवार", ["मंगल"]),
    ("Many people think it's Paris, but it's actually Lyon.", ["Paris"]),
    ("While Paris is often mentioned, the capital is Lyon.", ["Paris"]),
    ("बहुत से लोग पेरिस को राजधानी मानते हैं, लेकिन ल्यों है।", ["पेरिस"]),
    ("Log Paris ko rajdhani samajhte hain, lekin Lyon hai.", ["Paris"]),
    ("Lyon is larger than Paris.", ["Paris"]),
    ("The Atlantic Ocean, followed by the Pacific Ocean.", ["Pacific"]),
    ("It lies in South Africa.", ["Africa"]),
    ("The Sun rises in the south-east.", ["east"]),
    ("सूरज दक्षिण-पूर्व में निकलता है।", ["पूर्व"]),
    ("आम तौर पर सेब को फलों का राजा कहते हैं।", ["आम"]),
    ("Aam taur par kela.", ["Aam"]),
    ("Ten million is 10 crore.", ["1 crore", "crore"]),
    ("दस मिलियन को दस करोड़ कहते हैं।", ["करोड़"]),
]
SYMBOLS = [
    ("He", ["He"], True),
    ("he", ["He"], True),
    ("The symbol is He.", ["He"], True),
    ("The symbol is **He**", ["He"], True),
    ("He is what they use.", ["He"], False),
    ("I think that it is Xe.", ["I"], False),
    ("The symbol of gold is Au.", ["Au"], True),
    ("Il faut aller au marché", ["Au"], False),
    ("Robert E. Lee", ["E"], False),
    ("The symbol is E. It stands for east.", ["E"], True),
]
PHRASES = [
    ("They use the process of photosynthesis", ["photosynthesis"], True),
    ("Light's speed, that is", ["the speed of light"], True),
    ("the speed that light has", ["the speed of light"], True),
    ("It is not the speed that light has", ["the speed of light"], False),
    ("The speed. Light.", ["the speed of light"], False),
    ("It has the speed of sound, not light", ["the speed of light"], False),
    ("A Bay. Of Bengal", ["Bay of Bengal"], True),
    ("Bay of Bengle", ["Bay of Bengal"], False),
]
NUMBERS = [
    # reply, gold, right, question
    ("5", ["5"], True, ""),
    ("15", ["5"], False, ""),
    ("5.0", ["5"], True, ""),
    ("-5", ["5"], False, ""),
    ("−40", ["-40"], True, ""),
    ("minus forty", ["-40"], True, ""),
    ("five", ["5"], True, ""),
    ("Five.", ["5"], True, ""),
    ("पाँच", ["5"], True, ""),
    ("paanch", ["5"], True, ""),
    ("panch hote hain", ["5"], True, ""),
    ("५", ["5"], True, ""),
    ("５", ["5"], True, ""),
    ("do", ["2"], True, ""),
    ("I do think it is 5", ["5"], True, ""),
    ("I do think it is 5", ["2"], False, ""),
    ("One of them has 5", ["1"], False, ""),
    ("1,000", ["1000"], True, ""),
    ("1,00,000", ["100000"], True, ""),
    ("1 lakh", ["100000"], True, ""),
    ("एक लाख", ["100000"], True, ""),
    ("ek lakh", ["100000"], True, ""),
    ("ten million", ["1 crore"], True, ""),
    ("three hundred and sixty-five", ["365"], True, ""),
    ("teen sau painsath", ["365"], True, ""),
    ("तीन सौ पैंसठ", ["365"], True, ""),
    ("100 °C", ["100"], True, ""),
    ("100°C", ["100 °C"], True, ""),
    ("100 degrees Celsius", ["100 °C"], True, ""),
    ("100 C", ["100 °C"], True, ""),
    ("सौ डिग्री सेल्सियस", ["100 °C"], True, ""),
    ("100 °F", ["100", "100 °C"], False, ""),
    ("100 °C (212 °F)", ["100", "100 °C"], True, ""),
    ("100 °C or 212 °F", ["100", "100 °C"], True, ""),
    ("212 °F, which is 100 °C", ["100", "100 °C"], True, ""),
    ("300,000 km/s", ["300000"], True, ""),
    ("3×10⁸ m/s", ["300000000"], True, ""),
    ("half", ["1/2"], True, ""),
    ("½", ["0.5"], True, ""),
    ("2 dozen", ["24"], True, ""),
    ("5 or 6", ["5"], False, ""),
    ("5, 6 or 7", ["5"], False, ""),
    ("between 5 and 6", ["5"], False, ""),
    ("5-6", ["5"], False, ""),
    ("not 5 but 6", ["5"], False, ""),
    ("not 5 but 6", ["6"], True, ""),
    ("5 nahi, 6", ["6"], True, ""),
    ("It is 5. No number is luckier!", ["5"], True, ""),
    ("There are 8 planets. Pluto was reclassified in 2006.", ["8"], True, ""),
    ("There are 8 planets in the Solar System, 4 of them rocky.", ["8"], True, ""),
    ("There are 9 planets. Some say 8.", ["8"], False, ""),
    ("7 + 8 = 15", ["15"], True, ""),
    ("7*8=56", ["56"], True, ""),
    ("Seven plus eight is fifteen.", ["15"], True, "What is seven plus eight?"),
    ("7 aur 8 ka jod 15 hota hai", ["15"], True, "What is seven plus eight?"),
    ("7 aur 8 ka jod 16 hota hai", ["15"], False, "What is seven plus eight?"),
    ("First 7 + 3 makes 10, then 5 more. So the total is 15.", ["15"], True, "What is seven plus eight?"),
    ("Seven plus eight.", ["15"], False, "What is seven plus eight?"),
    ("6 minus 3 is 3", ["3"], True, "What is six minus three?"),
    ("**Answer:** 15 legs", ["15"], True, ""),
    ("1. Take 81.\n2. Its root is sought.\n\nAnswer: 9", ["9"], True, ""),
    ("H2O", ["2"], False, ""),
    ("Ek hexagon ki chhah sides hoti hain", ["6"], True, ""),
    ("Spiders (of 45,000 species) have 8 legs", ["8"], True, ""),
    ("fiveteen", ["5"], False, ""),
    ("sixteeen", ["16"], False, ""),
    ("one one two", ["112", "one one two"], True, ""),
    ("Dial one one two.", ["112", "one one two"], True, ""),
    ("1", ["112", "one one two"], False, ""),
    ("72/6", ["12"], False, "What is seventy-two divided by six?"),
    ("72/6 = 12", ["12"], True, "What is seventy-two divided by six?"),
    ("1/4 of 80 = 20", ["20"], True, "What is a quarter of eighty?"),
    ("Carbon-12 has atomic number 6.", ["6"], True, ""),
    ("There used to be nine planets, but now there are eight.", ["8"], True, ""),
    ("An hour has 60 minutes of 60 seconds, so there are 3,600 seconds.", ["3600"], True, ""),
    ("1 ghante me 60 minute, 1 minute me 60 second, to total 3600 second", ["3600"], True, ""),
    ("एक दर्जन में 12 केले होते हैं, इसलिए डेढ़ दर्जन में 18 केले होते हैं।", ["18"], True, ""),
    ("There are 8 planets, so if Pluto counted there would be 9.", ["8"], True, ""),
    ("char chambers hote hain", ["4"], True, ""),
    ("sat continents hote hain", ["7"], True, ""),
    ("tin pahiye", ["3"], True, ""),
]
YEARS = [
    ("1947", ["1947"], True),
    ("In 1947.", ["1947"], True),
    ("१९४७", ["1947"], True),
    ("on 15 August 1947", ["1947"], True),
    ("August 15, 1947", ["1947"], True),
    ("nineteen forty-seven", ["1947"], True),
    ("उन्नीस सौ सैंतालीस में", ["1947"], True),
    ("unnis sau saintalis", ["1947"], True),
    ("1947 CE", ["1947"], True),
    ("AD 1947", ["1947"], True),
    ("1947 or 1950", ["1947"], False),
    ("1947-1950", ["1947"], False),
    ("19471", ["1947"], False),
    ("1974", ["1947"], False),
    ("It ended in 1945, having begun in 1939.", ["1945"], True),
    ("44 BC", ["44 BC"], True),
    ("44", ["44 BC"], False),
    ("1950", ["26 January 1950"], True),
]


@pytest.mark.parametrize(("reply", "answers"), RIGHT_NAMES)
def test_replies_that_name_the_answer(reply: str, answers: list[str]) -> None:
    assert match(reply, answers, "name").right
    assert not match(reply, answers, "name").near


@pytest.mark.parametrize(("reply", "answers"), WRONG_NAMES)
def test_replies_that_do_not_name_the_answer(reply: str, answers: list[str]) -> None:
    assert not match(reply, answers, "name").right


@pytest.mark.parametrize(("reply", "answers", "right"), SYMBOLS)
def test_symbols_in_sentences(reply: str, answers: list[str], right: bool) -> None:
    assert match(reply, answers, "word").right is right


@pytest.mark.parametrize(("reply", "answers", "right"), PHRASES)
def test_phrases(reply: str, answers: list[str], right: bool) -> None:
    assert match(reply, answers, "phrase").right is right


@pytest.mark.parametrize(("reply", "answers", "right", "question"), NUMBERS)
def test_numbers(reply: str, answers: list[str], right: bool, question: str) -> None:
    assert match(reply, answers, "number", question).right is right


@pytest.mark.parametrize(("reply", "answers", "right"), YEARS)
def test_years(reply: str, answers: list[str], right: bool) -> None:
    assert match(reply, answers, "year").right is right


def test_near_misses_against_the_listed_pairs(record_property: Any) -> None:
    """No wrong pair counts as near, and at most a quarter of the misspellings is missed."""
    for_right = [pair for pair in PAIRS if pair["right"]]
    for_wrong = [pair for pair in PAIRS if not pair["right"]]
    assert len(for_right) >= 30
    assert len(for_wrong) >= 30
    matches = {pair["reply"]: match(pair["reply"], [pair["gold"]], pair["kind"]) for pair in PAIRS}
    forgiven = [pair for pair in for_wrong if matches[pair["reply"]].right]
    missed = [pair for pair in for_right if not matches[pair["reply"]].right]
    print(
        f"\nnear >= {NEAR}: {len(for_right) - len(missed)} of {len(for_right)} misspellings; missed", *missed
    )
    record_property("near recall", 1 - len(missed) / len(for_right))
    assert forgiven == []
    assert len(missed) <= 0.25 * len(for_right)
    assert all(match(pair["gold"], [pair["gold"]], pair["kind"]).right for pair in PAIRS)


def test_a_near_miss_is_marked_and_does_not_exist_for_numbers() -> None:
    assert match("It is Canbera, I think", ["Canberra"], "name").near
    assert not match("It is not Canbera", ["Canberra"], "name").right
    assert not match("Canberra", ["Canberra"], "name").near
    assert not match("thirten", ["13", "thirteen"], "number").right
    assert not match("Canbera", ["Canberra"], "phrase").right


def test_the_threshold_of_near_misses() -> None:
    """One edit in eight letters and two in fifteen are near; one in seven is not."""
    assert near("abcdxfgh", "abcdefgh")
    assert near("abcedfgh", "abcdefgh")  # a swap is one edit
    assert not near("abcdxfg", "abcdefg")
    assert near("abcdxfghijkxmno", "abcdefghijklmno")
    assert not near("abcdxfghijkxmn", "abcdefghijklmn")
    assert near("abbcd", "abcd" + "d")  # double letters do not count, from five letters on
    assert not near("abbc", "abcc")
    assert not near("xbcdefgh", "abcdefgh")  # the first letter must be right
    assert not near("abcdefgh1", "abcdefgh2")  # numbers have no near misses


NAMES = st.text("bcdfgklmnprstvz", min_size=4, max_size=10).filter(lambda name: not re.search(r"(.)\1", name))
"""Names without double letters, which near misses forgive: "bbbb" and "bbbbb" count as the same name."""


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_any_name_counts_in_a_sentence_and_not_inside_a_word(name: str, other: str) -> None:
    assert match(f"I think that the answer is {name.title()}.", [name], "name").right
    assert match(f"**{name.upper()}**", [name], "name").right
    assert not match(f"It is {other}{name}{other}", [name], "word").right or name in (
        other,
        f"{other}{name}{other}",
    )
    assert not match(f"It is not {name}", [name], "name").right


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_any_number_is_read_in_any_notation(number: int) -> None:
    digits = str(number)
    head, tail = digits[:-3], digits[-3:]
    indian = (
        ",".join([*re.findall(r"\d{1,2}", head[::-1]), ""])[::-1].lstrip(",") + "," + tail if head else tail
    )
    for written in (
        digits,
        f"{number:,}",
        indian,
        digits.translate(str.maketrans("0123456789", "०१२३४५६७८९")),
    ):
        assert [read.value for read in numbers_in(plain(f"It is {written}."))] == [number]
    assert not match(str(number + 1), [digits], "number").right
    assert not match(f"{digits}7", [digits], "number").right


def each_of(text: str) -> list[str]:
    return text.split()


def test_number_words_from_0_to_100_in_english_devanagari_and_latin() -> None:
    ones = each_of("zero one two three four five six seven eight nine")
    teens = each_of("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
    tens = each_of("twenty thirty forty fifty sixty seventy eighty ninety")
    english = [
        *ones,
        *teens,
        *(f"{ten}{f'-{digit}' if number else ''}" for ten in tens for number, digit in enumerate(ones)),
    ]
    assert len(english) == len(HINDI) == len(ROMANISED) == 100
    for value, forms in enumerate(zip(english, HINDI, ROMANISED, strict=True)):
        for form in "/".join(forms).split("/"):
            assert [number.value for number in numbers_in(plain(form))] == [value], form
    for form in ("hundred", "a hundred", "one hundred", "सौ", "एक सौ", "sau", "ek sau"):
        assert [number.value for number in numbers_in(plain(form))] == [100], form


def test_no_spelling_stands_for_two_numbers() -> None:
    for forms in (HINDI, ROMANISED):
        sets = [{skeleton(plain(form)) for form in line.split("/")} for line in forms]
        assert [(a & b) for a, b in combinations(sets, 2) if a & b] == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("two thousand five hundred", [2500]),
        ("one million two hundred thousand and six", [1_200_006]),
        ("1.5 crore", [15_000_000]),
        ("do lakh pachas hazaar", [250_000]),
        ("दो करोड़ तीन लाख", [20_300_000]),
        ("five six", [5, 6]),
        ("7 - 3", [None]),
        ("7 minus 3", [7, 3]),
        ("-40 to -5", [(-40, -5)]),
        ("1945 300", [1945, 300]),
        ("3/4", [Fraction(3, 4)]),
        ("dhai", [Fraction(5, 2)]),
        ("CO2, vitamin B12 and 3D", [None]),
        ("1st, 21st and 100th", [1, 21, 100]),
        ("saath aur sau", [60, 100]),
        ("unis, chaalees, satar, bawan", [19, 40, 70, 52]),
    ],
)
def test_numbers_of_a_text(text: str, values: list[Any]) -> None:
    assert [number.value for number in numbers_in(plain(text))] == values


def test_every_unit_is_read_from_every_form() -> None:
    for form, unit in UNITS.items():
        (number,) = numbers_in(plain(f"12 {form}"), kelvin=unit == "kelvin")
        assert isinstance(number.value, Fraction)
        assert (abs(number.value), number.unit) == (12, "" if unit == "bc" else unit), form


def test_normalise() -> None:
    assert normalise("The  Great-Wall, of CHINA!") == "great wall of china"
    assert normalise("a whale") == "whale"
    assert normalise("Vitamin A") == "vitamin a"
    assert normalise("") == normalise("?!") == ""


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=60), st.text(max_size=12), st.sampled_from(["name", "word", "phrase", "number", "year"])
)
def test_any_text_is_read_without_an_error(reply: str, gold: str, kind: str) -> None:
    result = match(reply, [gold, "Paris"], kind, gold)
    assert result.right or not result.near


def test_parts_of_a_reply() -> None:
    assert answer_part("Answer: a\nAnswer: b\nc") == "b"
    assert answer_part("no marker") == "no marker"
    assert answer_part("Paris. Answer:") == "Paris. Answer:"
    assert denied("not x", 4, 5)
    assert not denied("not y, x", 7, 8)


def test_a_long_reply_is_read_to_its_end() -> None:
    reply = "The quick brown fox, or the lazy dog, was not here in 1999. " * 60
    assert not match(reply, ["Canberra"] * 10, "name").right
    assert match(reply + "Canberra.", ["Canberra"] * 10, "name").right


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("It is **Paris**.", "Paris", True),
        ("Canbera", "Canberra", True),  # a near miss
        ("Paris or Lyon", "Paris", False),
        ("not Paris but Lyon", "Paris", False),
        ("forty-two", "42", True),
        ("42 legs, of course", "42", True),
        ("43", "42", False),
        ("1,000", "1000", True),
        ("-3", "3", False),
        ("The Treaty of Versailles was signed", "Treaty of Versailles", True),
        ("by turning light into sugar", "turning light into sugar", True),
        ("it turns sugar into light", "turning light into sugar", False),
        (
            "sugar, by turning the light into it",
            "turning light into sugar",
            True,
        ),  # a phrase, by its content words
        ("June 5", "5 June 1944", False),
        ("", "Paris", False),
    ],
)
def test_the_kind_of_an_answer_is_taken_from_the_answer(reply: str, answer: str, right: bool) -> None:
    assert is_right(reply, answer, "What?") is right


def test_numbers_of_the_question_do_not_count() -> None:
    assert is_right("Of 5 and 9, it is 14", "14", "What are 5 and 9?")
    assert not is_right("Of 5 and 9, it is 14", "5", "What are 5 and 9?")
