"""A mistake is a `ValueError` with one clear sentence for each problem."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import LONG, Mistake, one_of, unknown_setting

METHODS = ("full", "lora", "flat-lora")


def test_a_mistake_is_a_value_error_that_tells_every_problem_a_line():
    with pytest.raises(ValueError, match="rank is 0") as caught:
        raise Mistake("rank is 0", "rho is -1")
    assert isinstance(caught.value, Mistake)
    assert caught.value.problems == ("rank is 0", "rho is -1")
    assert str(caught.value).splitlines() == ["rank is 0", "rho is -1"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("flat", "flat-lora"),
        ("lroa", "lora"),
        ("ful", "full"),
        ("flatlora", "flat-lora"),
        ("flat_lora", "flat-lora"),
    ],
)
def test_the_nearest_name_is_offered(name, nearest):
    assert f"'{name}'; did you mean '{nearest}'?" in one_of("method", name, METHODS)


def test_nothing_is_offered_where_nothing_is_near():
    message = one_of("method", "xyz", METHODS)
    assert "did you mean" not in message
    assert message.startswith("unknown method 'xyz';")


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=8), max_size=6, unique=True))
@settings(deadline=None, max_examples=80)
def test_the_sentence_names_the_value_and_all_allowed_values(name, allowed):
    message = one_of("thing", name, allowed)
    assert f"unknown thing '{name}'" in message
    assert message.endswith("Allowed: " + (", ".join(allowed) or "none"))


@pytest.mark.parametrize("value", [None, 3, 2.5, ["lora"]])
def test_values_that_are_not_text_are_named_too(value):
    assert f"'{value}'" in one_of("method", value, METHODS)


def test_any_collection_of_names_will_do():
    assert "did you mean 'lora'?" in one_of("method", "lora2", {"lora": 1, "full": 2})


@pytest.mark.parametrize(
    ("given", "allowed"), [("maybe", ["no", "yes", "both"]), ("zzz", ["lr"]), ("", ["lr"])]
)
def test_nothing_is_offered_that_is_not_near(given, allowed):
    assert "did you mean" not in one_of("protect", given, allowed)
    assert "did you mean" not in unknown_setting("option", given, allowed)


def test_a_long_list_is_not_shown_whole():
    names = [f"column{number:03}" for number in range(LONG + 5)]
    assert one_of("column", "colum003", names) == "unknown column 'colum003'; did you mean 'column003'?"
    assert one_of("column", "zzz", names).endswith(f"{names[LONG - 1]} and 5 more")
    assert unknown_setting("option", "zzz", names, "x --help") == "unknown option 'zzz'; x --help lists all"


def test_a_synonym_counts_where_its_name_is_allowed():
    assert "did you mean 'alpha'?" in unknown_setting("field", "lora_alpha", ["r", "alpha"])
    assert "did you mean 'r'?" in unknown_setting("field", "rank", ["r", "alpha"])
    assert "did you mean '--lr'?" in unknown_setting("option", "--leraning_rate", ["--lr-ratio", "--lr"])
    assert "did you mean" not in one_of(
        "column", "learning_rate", ["lr", "text"]
    )  # a column may have any name
