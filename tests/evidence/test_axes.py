"""Curves along the settings of an ablation."""

from __future__ import annotations

import itertools

import pytest

from lowland.evidence.axes import setting_axes
from tests.evidence.test_study import record_of


def run(seed: int, score: float, name: str = "lora", **settings):
    label = f"{name}-" + "-".join(f"{key}{value}" for key, value in settings.items())
    method = {"name": name, "label": label, "lr": 1e-4, **settings}
    asked = {"task": {"name": "toy"}, "method": method, "seed": seed}
    return record_of(label, seed, asked=asked, scores={"test": {"accuracy": score}})


def test_a_curve_has_mean_and_range_at_each_value():
    records = [run(seed, rank / 100 + seed / 1000, rank=rank) for rank in (16, 4, 8) for seed in (0, 2)]
    (axis,) = setting_axes(records, "accuracy")
    assert (axis.method, axis.setting, axis.others) == ("lora", "rank", "")
    assert [point.value for point in axis.points] == [4, 8, 16]
    assert [point.score.mean for point in axis.points] == pytest.approx([0.041, 0.081, 0.161])
    assert (axis.points[0].low, axis.points[0].high) == pytest.approx((0.04, 0.042))
    assert axis.points[0].label == "lora-rank4"


def test_alpha_that_goes_with_the_rank_is_no_axis():
    tied = [run(0, 0.5, rank=rank, alpha=2.0 * rank) for rank in (4, 8, 16)]
    assert [axis.setting for axis in setting_axes(tied, "accuracy")] == ["rank"]


def test_crossed_settings_have_a_curve_for_each_value_of_the_other():
    records = [
        run(0, 0.5, rank=rank, lr=lr) for rank, lr in itertools.product((4, 8, 16), (1e-4, 5e-4, 1e-3))
    ]
    axes = setting_axes(records, "accuracy")
    assert sorted((axis.setting, axis.others) for axis in axes) == sorted(
        [("rank", f"lr {lr}") for lr in (1e-4, 5e-4, 1e-3)] + [("lr", f"rank {rank}") for rank in (4, 8, 16)]
    )


def test_methods_that_differ_in_name_texts_or_two_values_have_no_curve():
    assert setting_axes([run(0, 0.5, name=name) for name in ("lora", "dora", "full")], "accuracy") == []
    assert setting_axes([run(0, 0.5, targets=[name]) for name in ("a", "b", "c")], "accuracy") == []
    assert setting_axes([run(0, 0.5, rank=rank) for rank in (4, 8)], "accuracy") == []
