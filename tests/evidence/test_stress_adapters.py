"""Methods on damaged texts. Oracles: differences by hand, and `paired_interval`."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from lowland.evidence import paired_interval
from lowland.evidence.core.by_item import holm
from lowland.evidence.readers.stress_rows import Cell
from lowland.evidence.stress_adapters import adapter_evidence
from lowland.ground.mistakes import Mistake
from tests.evidence.core.anova import anova_interval

KEPT = {"clean": 0.9, "ocr": 0.8, "typos": 0.7}  # accuracies of lora; flat-lora loses half as much
N = 120


def runs(methods=("flat-lora", "lora"), seeds=(0, 1, 2), *, data_seed=0, group_size=1) -> pd.DataFrame:
    rng = np.random.default_rng(data_seed)
    rows = []
    for method, seed, (condition, share) in itertools.product(methods, seeds, KEPT.items()):
        accuracy = 0.9 - (0.9 - share) * (0.5 if method == "flat-lora" else 1.0)
        right = rng.random(N) < accuracy
        rows.append(
            pd.DataFrame(
                {
                    "eval": "adapter",
                    "model": method,
                    "seed": seed,
                    "item": np.arange(N)[::-1],
                    "group": [f"g{n // group_size}" for n in range(N)[::-1]],
                    "condition": condition,
                    "level": "" if condition == "clean" else "heavy",
                    "rate": 0.0 if condition == "clean" else 0.2,
                    "protected": False,
                    "mitigation": "none",
                    "epoch": 1,
                    "status": "scored",
                    "score": right.astype(float),
                    "near": False,
                    "category": "",
                    "kept": None,
                }
            )
        )
    return pd.concat(rows).sample(frac=1, random_state=3)


def right(rows: pd.DataFrame, method: str, condition: str) -> np.ndarray:
    """(S, N)"""
    mine = rows[(rows["model"] == method) & (rows["condition"] == condition)]
    return mine.pivot(index="seed", columns="item", values="score").to_numpy().astype(int)


def test_accuracy_and_drop_are_over_seeds():
    rows = runs()
    for score in adapter_evidence(rows).scores:
        by_seed = right(rows, score.method, score.cell.condition).mean(axis=1)
        assert score.accuracy.mean == pytest.approx(by_seed.mean())
        assert score.accuracy.sd == pytest.approx(by_seed.std(ddof=1))
        if score.cell.condition == "clean":
            assert score.drop is None
        else:
            drops = by_seed - right(rows, score.method, "clean").mean(axis=1)
            assert score.drop.per_seed == pytest.approx(drops)


def test_methods_are_paired_by_seed_and_text_in_their_groups():
    rows = runs(group_size=4)
    evidence = adapter_evidence(rows)
    assert (evidence.reference, evidence.examples, evidence.groups, evidence.seeds) == (
        "lora",
        N,
        N // 4,
        (0, 1, 2),
    )
    groups = np.arange(N) // 4
    for difference in evidence.accuracy:
        pair = [right(rows, name, difference.cells[0].condition) for name in ("flat-lora", "lora")]
        expected = paired_interval(*pair, groups=groups)
        assert difference.interval.difference == pytest.approx(expected.difference)
        assert (difference.interval.low, difference.interval.high) == pytest.approx(
            (expected.low, expected.high)
        )
    assert [difference.p_holm for difference in evidence.accuracy] == pytest.approx(
        holm([difference.p for difference in evidence.accuracy])
    )


def test_holding_up_is_the_difference_of_the_drops():
    rows = runs()
    evidence = adapter_evidence(rows)
    mean = {(m, c): right(rows, m, c) for m in ("flat-lora", "lora") for c in KEPT}
    gaps = {}
    for difference in evidence.drop_difference:
        c = difference.cells[0].condition
        gap = (mean["flat-lora", c] - mean["flat-lora", "clean"]) - (mean["lora", c] - mean["lora", "clean"])
        gaps[c] = gap
        assert difference.interval.per_seed == pytest.approx(gap.mean(axis=1))
        assert difference.interval.standard_error == pytest.approx(anova_interval(gap)[0])
        assert difference.p == difference.interval.p
        assert (difference.p < 0.05) == (difference.interval.low > 0 or difference.interval.high < 0)
    (overall,) = evidence.overall
    together = (gaps["ocr"] + gaps["typos"]) / 2
    assert overall.interval.per_seed == pytest.approx(together.mean(axis=1))
    assert overall.interval.standard_error == pytest.approx(anova_interval(together)[0])
    assert [cell.condition for cell in overall.cells] == ["ocr", "typos"]


def test_copies_of_texts_in_one_group_do_not_narrow_the_interval():
    rows = runs()
    copies = pd.concat([rows.assign(item=rows["item"] + k * N) for k in range(3)])
    once = adapter_evidence(rows).overall[0].interval
    thrice = adapter_evidence(copies).overall[0].interval
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=0.02)


def test_seeds_missing_from_one_method_are_left_out_of_the_pair():
    rows = runs()
    fewer = rows[~((rows["model"] == "flat-lora") & (rows["seed"] == 2))]
    evidence = adapter_evidence(fewer)
    assert all(
        len(difference.interval.per_seed) == 2 for difference in (*evidence.accuracy, *evidence.overall)
    )
    assert {score.method: score.seeds for score in evidence.scores} == {"flat-lora": 2, "lora": 3}


def test_the_clean_texts_of_a_mitigation_are_its_reference():
    rows = runs()
    harmed = rows.assign(mitigation="normalise", score=rows["score"].where(rows["condition"] != "clean", 0.0))
    evidence = adapter_evidence(pd.concat([rows, harmed]))
    drops = {
        score.cell: score.drop.difference
        for score in evidence.scores
        if score.drop and score.method == "lora"
    }
    assert (
        drops[Cell("typos", "heavy", False, "none")] < 0 < drops[Cell("typos", "heavy", False, "normalise")]
    )
    assert len(evidence.overall) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="seed"), "lacks the columns seed"),
        (lambda rows: rows[rows["condition"] != "clean"], "of the condition 'clean'"),
        (lambda rows: pd.concat([rows, rows]), "answered twice"),
        (lambda rows: rows[~((rows["model"] == "lora") & (rows["item"] == 5))], "lora lacks answers"),
        (lambda rows: rows.assign(seed=rows["seed"] + 10 * (rows["model"] == "lora")), "share no seed"),
        (
            lambda rows: rows[(rows["model"] != "lora") | (rows["condition"] != "ocr")],
            "lora was not asked under ocr",
        ),
    ],
)
def test_runs_that_cannot_be_held_together_are_refused(change, message):
    with pytest.raises(Mistake, match=message):
        adapter_evidence(change(runs()))


def test_a_reference_must_have_taken_part():
    with pytest.raises(Mistake, match="'dora'; expected one of flat-lora, lora"):
        adapter_evidence(runs(), reference="dora")
