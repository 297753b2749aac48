"""Trained runs that were asked the same questions: methods are compared by seed and item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lowland.ground.records import ROW_COLUMNS, StressRecord
from lowland.report.markdown import render
from lowland.report.stress_trained import trained_sections

SEEDS, ITEMS = (1, 2, 3), 40


def stress_test(
    method: str | None, seed: int, right: dict[str, float], eval: str = "messy", sha256: str = "a"
) -> Any:
    """A stress test whose share of right answers is given by condition."""
    draw = np.random.default_rng([seed, len(method or "")])
    rows = [
        {
            **dict.fromkeys(ROW_COLUMNS, ""),
            "eval": eval,
            "model": f"lowland/x {method}-s{seed}",
            "item": f"i{number}",
            "condition": condition,
            "level": "light" if condition == "typos" else "",
            "rate": 0.05 if condition == "typos" else 0.0,
            "protected": False,
            "mitigation": "none",
            "epoch": 1,
            "status": "scored",
            "score": float(draw.random() < share),
            "near": False,
            "kept": None,
        }
        for number in range(ITEMS)
        for condition, share in right.items()
    ]
    trained = None if method is None else [method, str(seed), "key"]
    record = StressRecord("k", {"trained": trained}, "finished", items={"sha256": sha256})
    return record, pd.DataFrame(rows)


def page(tests: list[Any]) -> str:
    return render(trained_sections(tests), level=1)


@pytest.fixture(scope="module")
def studied() -> list[Any]:
    """LoRA loses 0.5 under typos, Flat-LoRA 0.1."""
    shares = {"lora": {"clean": 0.9, "typos": 0.4}, "flat-lora": {"clean": 0.9, "typos": 0.8}}
    return [stress_test(method, seed, right) for method, right in shares.items() for seed in SEEDS]


def test_the_method_that_loses_less_is_named_with_its_difference(studied: list[Any]) -> None:
    means = {
        (record.asked["trained"][0], condition): []
        for record, _ in studied
        for condition in ("clean", "typos")
    }
    for record, rows in studied:
        for condition, block in rows.groupby("condition"):
            means[record.asked["trained"][0], str(condition)].append(block["score"].mean())
    mean = {key: float(np.mean(values)) for key, values in means.items()}
    less = (
        mean["flat-lora", "typos"]
        - mean["flat-lora", "clean"]
        - mean["lora", "typos"]
        + mean["lora", "clean"]
    )
    text = page(studied)
    assert text.startswith("# messy: trained runs compared")
    assert "clean ones are undamaged" in text
    assert f"Under typos light, flat-lora loses {100 * less:.1f} points less than lora" in text
    assert f"{100 * mean['lora', 'typos']:.1f} ±" in text


def test_epochs_are_averaged_and_missing_answers_are_wrong(studied: list[Any]) -> None:
    doubled = [(record, pd.concat([rows, rows.assign(epoch=2)])) for record, rows in studied]
    assert page(doubled) == page(studied)
    lost = [
        (record, rows.assign(score=rows["score"].where(rows["score"] == 1), status="failed"))
        for record, rows in studied
    ]
    assert page(lost) == page(studied)


def test_languages_are_compared_with_english() -> None:
    shares = {"lora": 0.2, "flat-lora": 0.7}
    tests = [
        stress_test(method, seed, {"english": 0.9, "hindi": share}, eval="multilingual")
        for method, share in shares.items()
        for seed in SEEDS
    ]
    assert "Under hindi, flat-lora loses" in page(tests)
    assert "clean ones are in English" in page(tests)


def test_several_languages_are_conditions_without_a_level() -> None:
    shares = {"lora": 0.2, "flat-lora": 0.7}
    tests = [
        stress_test(method, seed, {"english": 0.9, "hindi": share, "hinglish": share}, eval="multilingual")
        for method, share in shares.items()
        for seed in SEEDS
    ]
    assert "Under 2 conditions, flat-lora loses" in page(tests)


def test_only_several_methods_on_the_same_questions_are_compared(studied: list[Any]) -> None:
    right = {"clean": 0.9, "typos": 0.4}
    assert trained_sections([test for test in studied if test[0].asked["trained"][0] == "lora"]) == []
    assert trained_sections([stress_test(None, 1, right), studied[0]]) == []
    assert trained_sections([studied[0], stress_test("flat-lora", 1, right, sha256="b")]) == []


def test_models_without_training_stand_beside_the_methods(studied: list[Any]) -> None:
    base = stress_test(None, 1, {"clean": 0.5, "typos": 0.25})
    other = stress_test(None, 1, {"clean": 0.5, "typos": 0.25}, sha256="b")
    assert "Without training" not in page([*studied, other])
    text = page([*studied, base])
    rows = base[1].groupby("condition")["score"].mean()
    assert "Without training, the same questions give (accuracy in per cent):" in text
    assert f"| clean | {100 * rows['clean']:.1f} |" in " ".join(text.split())
    assert f"| typos light | {100 * rows['typos']:.1f} |" in " ".join(text.split())


def test_runs_with_other_questions_are_counted(studied: list[Any]) -> None:
    other = [stress_test("lora", seed, {"clean": 0.5, "typos": 0.25}, sha256="b") for seed in SEEDS]
    hindi = stress_test("lora", 1, {"english": 0.5, "hindi": 0.25}, eval="multilingual", sha256="c")
    assert "left out" not in page(studied)
    text = page([*studied, *other, hindi])
    assert "3 tests of trained runs are left out: no other method was asked the same questions." in text
