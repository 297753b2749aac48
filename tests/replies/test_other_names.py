"""Mentions that are not the answer: inside longer names, and behind another answer; and symbols in lower case."""

from __future__ import annotations

import pytest

from lowland.replies.answers import match


@pytest.mark.parametrize(
    ("reply", "gold", "right"),
    [
        ("Ice", "Ice", True),
        ("Ice cream", "Ice", False),
        ("ice cream", "Ice", False),
        ("It is ice cream.", "Ice", False),
        ("ice-cream", "Ice", False),
        ("anti-matter", "matter", False),
        ("Ice floats on water.", "Ice", True),
        ("Paris Hilton", "Paris", False),
        ("I think Paris Hilton, the heiress", "Paris", False),
        ("It is Paris obviously.", "Paris", True),
        ("Paris city", "Paris", True),
        ("Mars planet", "Mars", True),
        ("Carbon-12", "carbon", True),
        ("C++", "C", False),
        ("A", "A+", False),
        ("It is A+.", "A+", True),
    ],
)
def test_a_mention_inside_a_longer_name(reply: str, gold: str, right: bool) -> None:
    assert match(reply, [gold], "word").right is right


def test_words_of_the_question_make_no_longer_name() -> None:
    assert match("Canberra Australia", ["Canberra"], "name", "What is the capital of Australia?").right
    assert not match("Canberra Cavalry", ["Canberra"], "name", "What is the capital of Australia?").right


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Sydney. Canberra is smaller", False),
        ("sydney. canberra is smaller.", False),
        ("New South Wales. It beat Canberra.", False),
        ("सिडनी। Canberra छोटा शहर है।", False),
        ("Sydney. No, Canberra.", True),
        ("Sure. Canberra is the capital.", True),
        ("Not Sydney. Canberra.", True),
        ("Australia. Its capital is Canberra.", True),
        ("Australia. Canberra governs it.", True),
        ("1. Canberra is the capital.", True),
        ("St. Canberra", True),
    ],
)
def test_a_mention_behind_another_answer(reply: str, right: bool) -> None:
    assert match(reply, ["Canberra"], "name", "What is the capital of Australia?").right is right


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("au", True),
        ("The symbol is au.", True),
        ("sone ka symbol au hai", True),
        ("Il faut aller au marché", False),
    ],
)
def test_a_symbol_in_lower_case_must_be_called_one(reply: str, right: bool) -> None:
    assert match(reply, ["Au"], "word").right is right


def test_a_symbol_that_spells_a_function_word_needs_its_case() -> None:
    assert not match("it is he", ["He"], "word").right
