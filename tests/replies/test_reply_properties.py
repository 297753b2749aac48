"""Properties of the matcher: what is right however it is written, what is never right, and how long it takes."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lowland.items import Item, messy_items, multilingual_items
from lowland.replies.answers import match
from lowland.replies.numbers import numbers_in
from lowland.replies.wording import plain, words_of

ITEMS = [*messy_items(), *multilingual_items()]
SURROUNDS = ["{}", " {} ", "{}.", "{}!", "**{}**", "{}\n", "\t{}", "`{}`", "\u200b{}\ufeff", "{}।"]
WRITTEN = [
    "{}",
    "{:,}",
    "It is {}.",
    "The answer is {:,}",
    "= {}",
    "**{}**",
    "{}.0",
    "{}.",
    "{} .",
    "Answer: {}",
]
UNREAD = [
    "ish",
    "x",
    "abc",
    "+",
    "^n",
    " or more",
    "个",
    "_1",
    ",5",
    ":30",
    " millon",
    "-fold",
    "²",
]
LONGEST = 2
"""Seconds of computing in which a long reply is read; the fuzz tier has replies of five times the length."""
LONG = {
    "a denied name": ("not Paris, ", "name"),
    "a name": ("Lyon or Paris ", "name"),
    "lines": ("Paris\n", "name"),
    "sentences": ("Sydney. Paris is small. ", "name"),
    "beliefs": ("many people ", "name"),
    "symbols": ("Au. ", "name"),
    "blank lines": ("\n", "name"),
    "headings": ("#\n", "name"),
    "numbers": ("1 ", "number"),
    "numbers with commas": ("1, ", "number"),
    "minus": ("5 -", "number"),
    "brackets": ("(5) ", "number"),
    "units": ("5 km ", "number"),
    "ratios": ("1/", "number"),
    "powers": ("9^", "number"),
    "large powers": ("9^400 ", "number"),
    "groups": (" 111", "number"),
    "halves": ("half ", "number"),
    "quarters": ("साढ़े ", "number"),
    "decimals": ("one point one ", "number"),
    "decimal places": ("one ", "number"),
    "millions": ("million ", "number"),
    "dates": ("1/1/2000 ", "year"),
    "centuries": ("nineteen ", "year"),
    "digits": ("1", "number"),
    "content words": ("big dog ", "phrase"),
}
"""What a long reply repeats, and the kind of answer."""


@settings(max_examples=150)
@given(st.sampled_from(ITEMS), st.data())
def test_the_answer_alone_is_right_in_any_case_and_with_any_points(item: Item, data: st.DataObject) -> None:
    alias = data.draw(st.sampled_from(item.answers))
    text = data.draw(st.sampled_from(SURROUNDS)).format(alias)
    for form in ("NFC", "NFD"):
        assert match(unicodedata.normalize(form, text), item.answers, item.kind, item.question).right
    if item.kind in ("name", "word", "phrase") and alias.isascii() and len(alias) > 2:
        for written in (text.upper(), text.lower(), text.title()):
            assert match(written, item.answers, item.kind, item.question).right, written


@settings(max_examples=150)
@given(st.integers(0, 10**12), st.integers(1, 10**6), st.sampled_from(WRITTEN))
@example(0, 1, "{}.0")
def test_a_number_is_right_for_itself_alone(number: int, more: int, written: str) -> None:
    text = written.format(number)
    assert match(text, [str(number)], "number").right, text
    for other in (number + more, number * 10 + 1, -number - more):
        assert not match(text, [str(other)], "number").right, (text, other)


@settings(max_examples=150)
@given(
    st.integers(2, 10**9), st.sampled_from(UNREAD), st.sampled_from(["{}", "It is {}", "so {}", "Answer: {}"])
)
def test_a_number_with_an_unread_ending_is_never_right(number: int, ending: str, written: str) -> None:
    assert not match(written.format(f"{number}{ending}"), [str(number)], "number").right


@settings(max_examples=150)
@given(
    st.text(max_size=80),
    st.sampled_from(ITEMS),
    st.sampled_from(["{text}", "{text} {alias}", "{alias} {text}", "{text}\n{alias}, {text}"]),
)
def test_the_coding_of_a_reply_does_not_change_its_verdict(text: str, item: Item, written: str) -> None:
    reply = written.format(text=text, alias=item.answers[0])
    composed, parted = (unicodedata.normalize(form, reply) for form in ("NFC", "NFD"))
    verdicts = {match(form, item.answers, item.kind, item.question).right for form in (composed, parted)}
    assert len(verdicts) == 1


@settings(max_examples=200)
@given(
    st.text(st.characters(), max_size=60)
    | st.text("0123456789.,-+/^%°()[]*_ \n\u0301\ud800०१²½", max_size=40),
    st.sampled_from(ITEMS),
    st.sampled_from(["name", "word", "phrase", "number", "year"]),
)
def test_any_text_is_read(text: str, item: Item, kind: str) -> None:
    result = match(text, item.answers, kind, item.question)
    assert result.right or not result.near
    for number in numbers_in(plain(text)):
        assert 0 <= number.start < number.end <= len(plain(text))


@pytest.mark.parametrize("name", LONG)
def test_a_long_reply_is_read_in_seconds(name: str) -> None:
    part, kind = LONG[name]
    reply = (part * (20_000 // len(part))) + " end"
    answers = {"name": ["Paris", "Au"], "phrase": ["dog big"], "number": ["7", "7 km"], "year": ["1947"]}[
        kind
    ]
    start = time.process_time()
    match(reply, answers, kind)
    assert time.process_time() - start < LONGEST


@pytest.mark.parametrize("length", [90, 150, 2000])
def test_words_are_seen_over_long_white_space(length: int) -> None:
    """Only so many characters before a number are searched; white space does not use them up."""
    space = " " * length
    assert not match(f"minus{space}5", ["5"], "number").right
    assert not match(f"more{space}than{space}5", ["5"], "number").right
    assert not match(f"not{space}Paris", ["Paris"], "name").right
    assert match(f"minus{space}5", ["-5"], "number").right


def test_a_row_of_groups_that_is_too_long_has_no_value() -> None:
    reply = "1" + " 111" * 400
    assert next(number.value for number in numbers_in(reply)) is None
    assert not match(reply, ["111", re.sub(" ", "", "1" + " 111" * 249)], "number").right
    assert len(words_of(reply)) == 401
