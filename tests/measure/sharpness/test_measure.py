"""Tests of the table of sharpness of trained runs: its rows, its pairing, and where a ladder ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import no_remark
from lowland.measure.losses import row_losses
from lowland.measure.sharpness.measure import COLUMNS, Meter, Sharpness, measure_sharpness
from lowland.measure.sharpness.noise import normals, row_scale
from lowland.measure.sharpness.settings import SharpnessSample, SharpnessSettings
from lowland.measure.space import Point, Space
from lowland.measure.subject import load_subject
from lowland.tasks.examples import Batch

SAMPLE = SharpnessSample(limit=12, batch_size=5)
SMALL = {"sigmas": (0.1, 0.3), "draws": 2, "m": 4, "steps": 2}


def settings(*runs: Path, **changes: object) -> SharpnessSettings:
    return SharpnessSettings(runs=runs, **{**SMALL, **changes})


@pytest.fixture(scope="module")
def measured(study: dict[str, list[Path]]) -> Sharpness:
    return measure_sharpness(settings(*study["lora"], study["flat-lora"][0], study["full"][0]), SAMPLE)


def test_table_has_a_row_for_each_run_space_measure_draw_and_example(measured: Sharpness) -> None:
    table = measured.table
    assert tuple(table.columns) == COLUMNS
    assert measured.sizes == {"train": 12, "test": 12}
    counts = table.groupby(["method", "seed", "split", "space", "measure", "strength"]).size()
    assert set(counts.xs("expected", level="measure")) == {24}
    assert {name: set(counts.xs(name, level="measure")) for name in ("sam", "worst", "adaptive")} == {
        name: {12} for name in ("sam", "worst", "adaptive")
    }
    runs_and_spaces = {
        (method, seed): set(rows["space"]) for (method, seed), rows in table.groupby(["method", "seed"])
    }
    both = {"full", "adapter"}
    assert runs_and_spaces == {
        ("lora", 1): both,
        ("lora", 2): both,
        ("flat-lora", 1): both,
        ("full", 1): {"full"},
    }


def test_rise_by_noise_is_that_of_a_plain_loop(study: dict[str, list[Path]], measured: Sharpness) -> None:
    subject = load_subject(study["full"][0], no_remark)
    names, model = list(subject.space("full").center), subject.model
    sample = subject.sample("test", limit=12, batch_size=12)
    (batch,) = sample.batches
    with torch.no_grad():
        start = row_losses(model(**batch), batch, shifted=False)
        both = torch.zeros_like(start)
        for sign in (1, -1):
            weights = {name: model.get_parameter(name).clone() for name in names}
            for name in names:
                noise = row_scale(weights[name], False) * normals(weights[name], "full", 1, name, 0)
                model.get_parameter(name).add_(sign * 0.3 * noise)
            both += row_losses(model(**batch), batch, shifted=False) / 2
            for name in names:
                model.get_parameter(name).copy_(weights[name])
    rows = measured.table.query(
        "method == 'full' and split == 'test' and measure == 'expected' and strength == 0.3 and draw == 1"
    ).set_index("example")
    np.testing.assert_allclose(rows.loc[sample.examples, "rise"], both - start, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(rows.loc[sample.examples, "loss"], start, rtol=1e-5)


def test_same_run_sample_and_seed_give_the_same_numbers_to_the_bit(
    study: dict[str, list[Path]], measured: Sharpness
) -> None:
    again = measure_sharpness(settings(study["lora"][1]), SAMPLE).table
    first = measured.table.query("method == 'lora' and seed == 2").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    other = measure_sharpness(settings(study["lora"][1], splits="test"), SAMPLE.replace(seed=1)).table
    again = again[again["split"] == "test"].reset_index(drop=True)
    expected = again["measure"] == "expected"
    assert not np.array_equal(again["rise"][expected], other["rise"][expected])
    assert np.array_equal(again["rise"][~expected], other["rise"][~expected])


def test_worst_case_is_at_least_that_of_the_first_step(measured: Sharpness) -> None:
    means = measured.table.groupby(["method", "seed", "split", "space", "measure"])["rise"].mean().unstack()
    assert (means["worst"] >= means["sam"]).all()
    assert (means["adaptive"] >= 0).all()


def test_adaptive_sharpness_is_grouped_by_its_batches_of_m(measured: Sharpness) -> None:
    rows = measured.table.query("measure == 'adaptive' and method == 'full' and split == 'test'")
    assert rows["group"].value_counts().to_dict() == {"batch 0": 4, "batch 1": 4, "batch 2": 4}
    assert rows["example"].nunique() == 12
    examples = measured.table.query("measure == 'worst' and method == 'full' and split == 'test'")["example"]
    assert set(rows["example"]) == set(examples)
    assert list(rows["example"]) != list(examples)  # drawn at random, not by length


class Bursting(Space):
    """A space whose loss is infinite more than 0.5 away from the center in any weight."""

    def losses(self, point: Point, batch: Batch) -> Tensor:
        losses = super().losses(point, batch)
        far = max(float((point[name].detach() - weight).abs().max()) for name, weight in self.center.items())
        return losses * torch.inf if far > 0.5 else losses


def test_ladder_ends_where_the_loss_is_not_finite_and_says_so(study: dict[str, list[Path]]) -> None:
    subject = load_subject(study["full"][0], no_remark)
    subject = replace(subject, spaces={"full": Bursting(**vars(subject.space("full")))})
    asked = settings(study["full"][0], sigmas=(0.1, 50, 60), splits="test", radius=100.0)
    meter = Meter(subject, asked, SAMPLE)
    steps: list[int] = []
    (table,) = meter.measure(steps.append)
    assert set(table["measure"]) == {"expected", "adaptive"}
    assert set(table["strength"][table["measure"] == "expected"]) == {0.1}
    assert np.isfinite(table["rise"]).all()
    about = ["with noise of sigma 50", "within the radius 100 (sam)", "within the radius 100 (worst)"]
    assert [sentence.split(" in the ")[0] for sentence in meter.ended] == [
        f"The loss of full, seed 1 is not finite {where}" for where in about
    ]


def test_run_with_an_infinite_loss_as_it_is_is_refused(study: dict[str, list[Path]]) -> None:
    subject = load_subject(study["full"][0], no_remark)
    space = subject.space("full")
    broken = replace(space, center={name: weight * torch.nan for name, weight in space.center.items()})
    subject = replace(subject, spaces={"full": broken})
    with pytest.raises(Mistake, match="not finite at its trained weights; leave it out"):
        Meter(subject, settings(study["full"][0]), SAMPLE).measure(lambda count: None)


@pytest.mark.parametrize(
    ("methods", "changes", "problem"),
    [
        (("lora", "bag-of-words"), {}, "a run of bag-of-words, which trains no network; leave it out"),
        (("lora",), {"reference": "lorra"}, "unknown reference 'lorra'; did you mean 'lora'?"),
        (("full",), {"spaces": "adapter"}, "no factors A and B"),
        (("lora",), {"splits": "tests"}, "no split 'tests'"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    study: dict[str, list[Path]], methods: tuple[str, ...], changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(Mistake, match=problem.replace("?", r"\?")):
        measure_sharpness(settings(*(study[method][0] for method in methods), **changes), SAMPLE)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sigmas": (0.1, 0.1)}, "sigmas names 0.1 more than once"),
        ({"sigmas": (0.0,)}, "sigmas"),
        ({"draws": 1}, "draws is 1; it must be at least 2"),
        ({"spaces": "whole"}, "whole"),
        ({"radius": -1}, "radius is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    study: dict[str, list[Path]], changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(Mistake, match=problem):
        settings(study["lora"][0], **changes)


def test_sigmas_are_sorted_and_repeated_names_count_once(study: dict[str, list[Path]]) -> None:
    asked = settings(study["lora"][0], sigmas=(0.3, 0.1), splits=("test", "test"), spaces=("full", "full"))
    assert (asked.sigmas, asked.splits, asked.spaces) == ((0.1, 0.3), ("test",), ("full",))
