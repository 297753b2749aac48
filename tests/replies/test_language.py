"""Language detection, measured on a labelled sample; `-s` prints the precision and recall of every label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import classification_report

from lowland.items import Profile, languages
from lowland.replies.language import keeps, language_of, profiles_of, script_of

LANGUAGES = languages()
PROFILES = profiles_of(LANGUAGES.values())
SAMPLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "labelled_replies.jsonl").read_text("utf-8").splitlines()
]
LABELS = ("english", "hindi", "hinglish", "code-switched", "other", "undecided")
FLOOR = 0.8
"""Smallest precision and recall of every label."""


@pytest.mark.parametrize("split", ["dev", "test"])
def test_precision_and_recall_on_the_labelled_sample(split: str, record_property: Any) -> None:
    part = [row for row in SAMPLE if row["split"] == split]
    assert len(SAMPLE) >= 200
    gold, detected = [row["label"] for row in part], [language_of(row["text"], PROFILES) for row in part]
    print(f"\n{split}\n" + classification_report(gold, detected, labels=LABELS, zero_division=0.0))
    report = classification_report(gold, detected, labels=LABELS, zero_division=0.0, output_dict=True)
    wrong = [
        (row["text"], row["label"], label)
        for row, label in zip(part, detected, strict=True)
        if row["label"] != label
    ]
    print(*wrong, sep="\n")
    for label in LABELS:
        for score in ("precision", "recall"):
            record_property(f"{split} {label} {score}", round(report[label][score], 3))
            assert report[label][score] >= FLOOR, (label, score, wrong)


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("", "undecided"),
        ("  \n\u200b", "undecided"),
        ("🕷️ 8️⃣", "undecided"),
        ("Москва", "other"),
        ("मंगल ग्रह (Mars, the planet) लाल है।", "hindi"),
        ("(यह Mars है)", "code-switched"),
        ("टोकियो जापानस्य राजधानी वर्तते", "other"),  # Sanskrit: none of its words is listed anywhere
        ("<think>Is it Tokyo? It is.</think>राजधानी टोक्यो है", "hindi"),
        ("Ｔｈｅ ｃａｐｉｔａｌ ｉｓ Ｐａｒｉｓ", "english"),
        ("राजधानी `print(x)` https://example.org है", "hindi"),
        ("the capital is Paris " * 400, "english"),
        ("Leonardo da Vinci painted it.", "english"),
        ("Gold's symbol is Au.", "english"),
    ],
)
def test_edge_cases(reply: str, label: str) -> None:
    assert language_of(reply, PROFILES) == label


def test_a_further_language_is_a_profile() -> None:
    """Spanish is "other" without a profile and "spanish" with one; its words then leave the foreign list."""
    reply = "La capital de Japón es Tokio."
    assert language_of(reply, PROFILES) == "other"
    spanish = Profile(label="spanish", script="Latin", function_words=frozenset({"la", "de", "es", "el"}))
    assert language_of(reply, (*PROFILES, spanish)) == "spanish"
    tamil = Profile(label="tamil", script="Tamil", function_words=frozenset({"ஒரு"}))
    assert language_of("டோக்கியோ", (*PROFILES, tamil)) == "tamil"


def test_replies_keep_the_language_of_a_condition() -> None:
    assert keeps("जापान की राजधानी टोक्यो है।", LANGUAGES["hindi"], PROFILES) is True
    assert keeps("The capital of Japan is Tokyo.", LANGUAGES["hindi"], PROFILES) is False
    assert keeps("Tokyo", LANGUAGES["hindi"], PROFILES) is None
    assert keeps("Japan ki rajdhani Tokyo hai.", LANGUAGES["code-switched"], PROFILES) is True
    assert keeps("Japan की राजधानी Tokyo है।", LANGUAGES["hinglish"], PROFILES) is False


def test_the_script_of_a_word() -> None:
    assert [script_of(word) for word in ("Tokyo", "टोक्यो", "東京", "٣")] == [
        "latin",
        "devanagari",
        "cjk",
        "?",
    ]
