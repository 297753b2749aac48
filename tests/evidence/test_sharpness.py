"""Tests of the sharpness of methods: means, pairs, Holm's correction, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowland.evidence.core.by_item import holm
from lowland.evidence.sharpness import SharpnessAt, sharpness_of


def table(
    methods: dict[str, float],
    seeds: int = 3,
    *,
    strengths: tuple[float, ...] = (0.1, 0.2),
    spread: float = 0.1,
    draws: int = 3,
) -> pd.DataFrame:
    """Rises of 40 examples: each method's own mean, on what a seed and the noise do to all, and a little chance."""
    rng = np.random.default_rng(0)
    shared = {(strength, draw): rng.normal(size=40) for strength in strengths for draw in range(draws)}
    rows = []
    for method, mean in methods.items():
        for seed in range(1, seeds + 1):
            for (strength, draw), noise in shared.items():
                rise = strength * mean + seed + noise + spread * rng.normal(size=40)
                rows.append(
                    pd.DataFrame({"example": range(40), "rise": rise}).assign(
                        method=method, seed=seed, strength=strength, draw=draw
                    )
                )
    whole = pd.concat(rows, ignore_index=True)
    return whole.assign(
        run=whole["method"], split="test", space="full", measure="expected", group=whole["example"]
    )


def only(measured: list[SharpnessAt], strength: float) -> SharpnessAt:
    (at,) = [each for each in measured if each.strength == strength]
    return at


def test_means_are_those_of_all_rows() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5})
    at = only(sharpness_of(rows, "lora"), 0.2)
    for rise in at.rises:
        own = rows.query("method == @rise.method and strength == 0.2")["rise"]
        assert rise.mean == pytest.approx(own.mean())
        assert rise.interval is not None
        assert rise.interval.difference == pytest.approx(rise.mean)
        assert rise.seeds == (1, 2, 3)


def test_differences_are_paired_by_seed_draw_and_example() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5})
    at = only(sharpness_of(rows, "lora"), 0.2)
    (difference,) = at.differences
    assert (difference.method, difference.reference) == ("flat-lora", "lora")
    interval = difference.interval
    assert interval.low < interval.difference < interval.high < 0
    own = at.rises[0].interval
    assert own is not None
    assert interval.high - interval.low < (own.high - own.low) / 5  # the noise that both share cancels
    shuffled = rows.sample(frac=1, random_state=0)
    (again,) = only(sharpness_of(shuffled, "lora"), 0.2).differences
    assert again.interval.difference == pytest.approx(interval.difference)
    assert again.interval.p == pytest.approx(interval.p)


def test_holm_is_over_the_ladder_and_the_methods_of_one_measure() -> None:
    rows = table({"lora": 1.0, "a": 0.9, "b": 1.05}, spread=0.5)
    other = rows.assign(measure="worst")
    measured = sharpness_of(pd.concat([other, rows]), "lora")
    assert [(at.measure, at.strength) for at in measured] == [
        (measure, strength) for measure in ("expected", "worst") for strength in (0.1, 0.2)
    ]
    for measure in ("expected", "worst"):
        differences = [each for at in measured if at.measure == measure for each in at.differences]
        assert len(differences) == 4
        corrected = holm([each.interval.p for each in differences])
        assert [each.p_holm for each in differences] == pytest.approx(list(corrected))
    assert any(each.p_holm > each.interval.p for at in measured for each in at.differences)


def test_method_whose_ladder_ended_in_one_seed_has_no_mean_there() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5})
    rows = rows[~((rows["method"] == "lora") & (rows["seed"] == 2) & (rows["strength"] == 0.2))]
    measured = sharpness_of(rows, "lora")
    assert [rise.method for rise in only(measured, 0.1).rises] == ["lora", "flat-lora"]
    assert [rise.method for rise in only(measured, 0.2).rises] == ["flat-lora"]
    assert only(measured, 0.2).differences == ()


def test_methods_are_compared_on_the_seeds_that_both_have() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5})
    rows = rows[~((rows["method"] == "flat-lora") & (rows["seed"] == 2))]
    (difference,) = only(sharpness_of(rows, "lora"), 0.1).differences
    assert difference.seeds == (1, 3)
    assert len(difference.interval.per_seed) == 2


def test_example_in_several_windows_has_their_mean() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5})
    apart = [rows.assign(rise=rows["rise"] + shift) for shift in (-0.5, 0.5)]
    first, second = (sharpness_of(each, "lora") for each in (rows, pd.concat(apart)))
    for before, after in zip(first, second, strict=True):
        assert after.differences[0].interval.low == pytest.approx(before.differences[0].interval.low)


def test_one_group_has_a_mean_and_no_interval() -> None:
    rows = table({"lora": 1.0, "flat-lora": 0.5}).assign(group="batch 0")
    at = only(sharpness_of(rows, "lora"), 0.1)
    assert [rise.interval for rise in at.rises] == [None, None]
    assert at.differences == ()
