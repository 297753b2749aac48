"""Cases: drawn from the templates, the same for the same seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.stress.behaviour.cases import _shares, cases_of
from lowland.stress.behaviour.suites import Suite, read_suite
from tests.stress.behaviour.toy import write_suite

WHO = ("the firm", "its unit", "a bank")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return read_suite(str(write_suite(tmp_path)))


def suite_of(change: dict, template: str = "{who} gains {much}", **slots: list) -> Suite:
    test = {"name": "t", "capability": "c", "kind": "invariance", "change": change, "templates": [template]}
    return Suite(name="s", slots=slots, tests=[test])


def pairs_of(suite: Suite) -> set[tuple[str, str]]:
    cases = cases_of(suite)
    return set(zip(cases["original"], cases["text"], strict=True))


def test_without_a_limit_all_combinations_are_cases(suite: Suite) -> None:
    cases = cases_of(suite).set_index("test")
    assert list(cases.loc["verbs", "text"]) == [
        f"{who} {verb}" for verb in ("gains", "wins", "falls", "loses") for who in WHO
    ]
    assert list(cases.loc["verbs", "label"]) == ["good"] * 6 + ["bad"] * 6
    assert set(cases.loc["verbs", "original"]) == {""}
    names = {tuple(row) for row in cases.loc["names", ["original", "text"]].to_numpy()}
    pairs = itertools.permutations(WHO, 2)
    assert names == {(f"{a} {verb}", f"{b} {verb}") for a, b in pairs for verb in ("gains", "fails")}
    added = {tuple(row) for row in cases.loc["added", ["original", "text"]].to_numpy()}
    texts = [f"{who} {verb}" for who in WHO for verb in ("gains", "loses")]
    assert added == {(text, f"{text} {more}") for text in texts for more in ("it wins", "it fails")}
    assert set(cases.loc["added", "expected"]) == {"good must not fall"}
    assert cases["item"].is_unique
    assert cases.groupby("group").ngroups == 8


def test_the_same_seed_draws_the_same_cases(suite: Suite) -> None:
    pd.testing.assert_frame_equal(cases_of(suite, 5, 1), cases_of(suite, 5, 1))
    assert not cases_of(suite, 5, 1).equals(cases_of(suite, 5, 2))
    finance = read_suite("finance")
    assert not cases_of(finance, seed=0).equals(cases_of(finance, seed=1))


def test_a_test_that_is_added_changes_no_other(suite: Suite) -> None:
    fewer = suite.replace(tests=suite.tests[1:])
    whole = cases_of(suite, 5)
    pd.testing.assert_frame_equal(cases_of(fewer, 5), whole[whole["test"] != "verbs"].reset_index(drop=True))


def test_a_limit_takes_about_equally_many_cases_of_each_template(suite: Suite) -> None:
    cases = cases_of(suite, 6)
    assert set(cases["test"].value_counts()) == {6}
    assert sorted(cases[cases["test"] == "verbs"].groupby("group").size()) == [1, 1, 2, 2]
    assert len(cases_of(suite, 1000)) == len(cases_of(suite))


def test_each_template_and_each_test_draws_values_of_its_own() -> None:
    texts = ("{number} gains", "{number} wins")
    tests = [
        {"name": name, "capability": "c", "kind": "minimum functionality", "templates": {"good": texts}}
        for name in ("first", "second")
    ]
    suite = Suite(name="s", cases=40, slots={"number": [f"no{n}" for n in range(1000)]}, tests=tests)
    cases = cases_of(suite)
    drawn = {tuple(text.split()[0] for text in block["text"]) for _, block in cases.groupby("group")}
    assert len(drawn) == 4


def test_a_rewritten_slot_keeps_its_value() -> None:
    suite = suite_of(
        {"rewrite": "much"}, who=["we"], much=[["1 mn", "1 million"], ["2 mn", "2 million"], "3"]
    )
    assert pairs_of(suite) == {
        (f"we gains {n} {a}", f"we gains {n} {b}")
        for n in (1, 2)
        for a, b in (("mn", "million"), ("million", "mn"))
    }


def test_an_increased_slot_grows() -> None:
    suite = suite_of({"increase": "much"}, who=["we"], much=[["1%", "5%", "9%"]])
    assert pairs_of(suite) == {
        (f"we gains {a}", f"we gains {b}") for a, b in (("1%", "5%"), ("1%", "9%"), ("5%", "9%"))
    }


def test_an_exchanged_slot_gets_another_value_and_not_another_form() -> None:
    suite = suite_of({"exchange": "much"}, who=["we"], much=[["1 mn", "1 million"], "3"])
    assert pairs_of(suite) == {
        (f"we gains {a}", f"we gains {b}") for x in ("1 mn", "1 million") for a, b in ((x, "3"), ("3", x))
    }


def test_an_added_sentence_has_the_values_of_the_text() -> None:
    suite = suite_of({"append": ["Yes, {who}."]}, "{who} gains.", who=["A", "B"])
    assert pairs_of(suite) == {(f"{who} gains.", f"{who} gains. Yes, {who}.") for who in "AB"}


def test_a_change_that_alters_no_text_is_a_mistake() -> None:
    suite = suite_of({"corrupt": "typos"}, "{who}", who=["2019"])
    with pytest.raises(Mistake, match="test 't' has no case: its change alters no text"):
        cases_of(suite)


@given(st.integers(0, 60), st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_shares_are_equal_as_far_as_sizes_allow(total: int, sizes: list[int]) -> None:
    shares = _shares(total, sizes)
    assert sum(shares) == min(total, sum(sizes))
    largest = max(shares)
    assert all(
        share <= size and (share >= largest - 1 or share == size)
        for share, size in zip(shares, sizes, strict=True)
    )
