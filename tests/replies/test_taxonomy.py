"""Taxonomy of errors, measured on labelled wrong replies; `-s` prints the precision of every rule."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import classification_report

from lowland.items import Item, languages
from lowland.replies.answers import match
from lowland.replies.language import profiles_of
from lowland.replies.taxonomy import (
    MESSY,
    MESSY_RULES,
    MULTILINGUAL,
    MULTILINGUAL_RULES,
    WRONG_FACT,
    category_of_messy,
    category_of_multilingual,
)

LANGUAGES = languages()
PROFILES = profiles_of(LANGUAGES.values())
ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "labelled_errors.jsonl").read_text("utf-8").splitlines()
]
FLOORS = {"messy": 0.75, "multilingual": 0.75}
"""Smallest precision of every category; each has five to seven replies in the test split."""


def item_of(row: dict[str, Any]) -> Item:
    return Item(
        row["question"],
        row["topic"],
        row["kind"],
        row["question"],
        tuple(row["answers"]),
        condition=row["condition"],
        literal=tuple(row["literal"]),
    )


MESSY_ITEMS = list({row["question"]: item_of(row) for row in ROWS if row["eval"] == "messy"}.values())


def category(row: dict[str, Any], **changed: Any) -> str:
    scored = (
        {key: row[key] for key in ("prompt", "reply", "condition")}
        | {"right": False, "status": "scored"}
        | changed
    )
    if row["eval"] == "messy":
        return category_of_messy(item_of(row), scored, MESSY_ITEMS)
    return category_of_multilingual(item_of(row), scored, LANGUAGES[row["condition"]], PROFILES)


def test_the_labelled_errors_are_wrong_replies_and_enough() -> None:
    counts = Counter((row["eval"], row["label"], row["split"]) for row in ROWS)
    assert len(ROWS) >= 80
    assert all(counts["messy", label, "test"] >= 5 for label in MESSY)
    assert all(counts["multilingual", label, "test"] >= 5 for label in MULTILINGUAL)
    forgiven = [
        row["reply"]
        for row in ROWS
        if match(row["reply"], row["answers"], row["kind"], row["question"]).right
    ]
    assert forgiven == []


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("kind", ["messy", "multilingual"])
def test_precision_of_the_rules(kind: str, split: str, record_property: Any) -> None:
    part = [row for row in ROWS if (row["eval"], row["split"]) == (kind, split)]
    gold, assigned = [row["label"] for row in part], [category(row) for row in part]
    names = MESSY if kind == "messy" else (*MULTILINGUAL, "unsure")
    print(f"\n{kind} {split}\n" + classification_report(gold, assigned, labels=names, zero_division=0.0))
    report = classification_report(gold, assigned, labels=names, zero_division=0.0, output_dict=True)
    wrong = [
        (row["reply"], row["label"], name)
        for row, name in zip(part, assigned, strict=True)
        if row["label"] != name
    ]
    print(*wrong, sep="\n")
    for name in names:
        record_property(f"{kind} {split} {name} precision", round(report[name]["precision"], 3))
        assert report[name]["precision"] >= FLOORS[kind], (name, wrong)


def test_right_and_failed_rows_have_no_error() -> None:
    for row in ROWS[::10]:
        assert category(row, right=True) == "right"
        assert category(row, right=False, status="failed", reply=None) == "failed"


def test_the_first_rule_that_holds_decides_and_the_rest_is_a_wrong_fact() -> None:
    assert (MESSY[-1], MULTILINGUAL[-1]) == (WRONG_FACT, WRONG_FACT)
    assert len(set(MESSY)) == len(MESSY_RULES) + 1 == 7
    assert len(set(MULTILINGUAL)) == len(MULTILINGUAL_RULES) + 1 == 6
    broken = next(row for row in ROWS if row["label"] == "emoji interference")
    assert category(broken, reply="I see \ufffd emoji, please rephrase") == "encoding failure"
    assert category(broken, reply="I see emoji, please rephrase") == "emoji interference"
    assert category(broken, prompt="no decoration", reply="I see emoji, please rephrase") == "parse failure"


def test_a_score_is_read_if_right_is_missing() -> None:
    row = next(row for row in ROWS if row["eval"] == "messy")
    scored = {"prompt": row["prompt"], "reply": "Paris", "condition": "typos", "status": "scored"}
    assert category_of_messy(item_of(row), scored | {"score": 1.0}) == "right"
    assert category_of_messy(item_of(row), scored | {"score": 0.0}) != "right"


@pytest.mark.parametrize(
    ("question", "prompt", "reply", "name"),
    [
        ("How many legs does a spider have?", "", "6", WRONG_FACT),  # another item's number proves nothing
        ("How many legs does a spider have?", "", "Insects have 6.", "entity misread"),
        (
            "What is the capital of France?",
            "What is 🍕 the capital of France?",
            "Pizza",
            "emoji interference",
        ),
        ("What is the capital of Japan?", "", "ä¸œäº¬", "encoding failure"),  # UTF-8 read as Windows-1252
        ("What is the capital of France?", "", "Nîmes, près de là", WRONG_FACT),  # accents are not damage
    ],
)
def test_edge_cases_of_the_rules(question: str, prompt: str, reply: str, name: str) -> None:
    row = next(row for row in ROWS if row["question"] == question)
    assert category(row, prompt=prompt or question, reply=reply, condition="emoji") == name
