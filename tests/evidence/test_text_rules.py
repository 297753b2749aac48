"""Rules for kinds of texts: plain examples, and bounds of their errors on tagged sentences."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from lowland.evidence.text_rules import TEXT_RULES


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("text_rules")


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        (
            "numeric-context",
            ["Sales rose to 5 million.", "A margin of 3%, not 5%.", "Profit doubled to €4 mn."],
        ),
        ("jargon", ["EBITDA was stable.", "A covenant waiver was granted.", "An Impairment hit the unit."]),
        ("forward-looking", ["Sales will fall.", "It expects growth.", "We're looking ahead to 2030."]),
        ("mixed-signal", ["Sales rose, but profit fell.", "Despite strong demand it closed the plant."]),
        ("negation", ["It did not pay.", "It doesn’t pay.", "No dividend is paid.", "It failed to pay."]),
        ("long", [" ".join(["word"] * 25)]),
    ],
)
def test_a_rule_holds_for_texts_of_its_kind(rule, texts):
    assert all(TEXT_RULES[rule].holds(text) for text in texts)


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        ("numeric-context", ["It opened in 2019.", "It employs 300 people.", "Sales rose.", ""]),
        ("jargon", ["Sales rose.", "Bondi beach is crowded.", ""]),
        ("forward-looking", ["Sales rose in May.", "The willow is old.", ""]),
        ("mixed-signal", ["Sales rose.", "Sales fell.", "A but without news."]),
        ("negation", ["The notary paid.", "Application No. 5 was filed.", "Nothingham is a town."]),
        ("long", [" ".join(["word"] * 24), ""]),
    ],
)
def test_a_rule_does_not_hold_for_others(rule, texts):
    assert not any(TEXT_RULES[rule].holds(text) for text in texts)


def test_precision_and_recall_on_the_demo_are_no_worse_than_stated(benchmark):
    measured = benchmark.on_demo(("test", "shifted"))
    floors = {
        "numeric-context": (0.40, 0.70),
        "jargon": (0.55, 0.88),
        "forward-looking": (0.48, 0.6),
        "mixed-signal": (0.60, 0.38),
        "negation": (0.60, 0.98),
    }
    for rule, (precision, recall) in floors.items():
        assert measured[rule]["precision"] >= precision
        assert measured[rule]["recall"] >= recall


def test_the_tags_of_phrasebank_name_200_sentences_and_no_text(benchmark):
    tags = pd.read_csv(benchmark.TAGS).fillna("")
    assert len(tags) == tags["sha256"].nunique() == 200
    assert set(tags.columns) == {"sha256", "first", "second"}
    named = set(" ".join(tags["first"] + " " + tags["second"]).split())
    assert named <= set(TEXT_RULES)


@pytest.mark.data
def test_precision_and_recall_on_phrasebank_are_no_worse_than_stated(
    benchmark: ModuleType, shared_data: Callable[[str], Path]
) -> None:
    measured = benchmark.on_phrasebank(shared_data("financial_phrasebank/Sentences_50Agree.txt"))
    floors = {"numeric-context": (0.6, 0.9), "jargon": (0.85, 0.75), "forward-looking": (0.78, 0.84)}
    for rule, (precision, recall) in floors.items():
        assert measured[rule]["precision"] >= precision
        assert measured[rule]["recall"] >= recall
        assert measured[rule]["kappa_of_readers"] > 0.9
