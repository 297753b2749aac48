"""The A/A check: near the nominal rate where the rule holds, far from it where the rule is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowland.evidence import calibration
from lowland.evidence.calibration import false_verdicts as false_verdicts_of
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.pairing import Pairing, pair
from lowland.evidence.results import as_results


def pairing_of(seeds: int, *, seed_sd: float, taste: float, shift: float = 0.0, group: int = 1) -> Pairing:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.9, 400)

    def results(name: str, shift: float) -> object:
        liked = rng.normal(0, taste, 400 // group).repeat(group)
        latent = (
            1 + shift + hard + liked + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, 0.4, (seeds, 400))
        )
        table = pd.DataFrame({"example": np.tile(np.arange(400), seeds), "score": (latent > 0).ravel() * 1.0})
        table["group"] = table["example"] // group
        if seeds > 1:
            table["seed"] = np.repeat(np.arange(seeds), 400)
        return as_results(table, name, "accuracy", name)

    return pair(results("a", shift), results("b", 0.0))


def false_verdicts(pairing: Pairing, **options: float) -> float:
    return false_verdicts_of(pairing.scores, pairing.scores_reference, pairing.groups, **options)


@pytest.mark.parametrize("seeds", [1, 3, 10])
@pytest.mark.parametrize("seed_sd", [0.0, 0.15])
@pytest.mark.parametrize(("taste", "group"), [(0.0, 1), (0.4, 4)])
def test_a_study_without_a_difference_gets_a_verdict_in_5_per_cent(
    seeds: int, seed_sd: float, taste: float, group: int
) -> None:
    pairing = pairing_of(seeds, seed_sd=seed_sd, taste=taste, shift=0.3, group=group)
    assert 0.03 < false_verdicts(pairing, studies=1000) < 0.075


def test_the_level_is_what_it_is_held_against() -> None:
    assert false_verdicts(pairing_of(5, seed_sd=0.05, taste=0.2), level=0.5) == pytest.approx(0.5, abs=0.06)


def test_a_rule_that_ignores_the_seeds_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def over_examples(variances: object, seeds: int, groups: int, level: float) -> np.ndarray:
        return 1.96 * np.sqrt(variances.examples)

    pairing = pairing_of(5, seed_sd=0.15, taste=0.0)
    assert false_verdicts(pairing) < 0.075
    monkeypatch.setattr(calibration, "half_width", over_examples)
    assert false_verdicts(pairing) > 0.15


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("taste", [0.0, 0.4])
def test_simulated_studies_vary_as_the_given_one(
    seeds: int, taste: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A normal mean exceeds its standard deviation in 31.7 % of cases."""
    pairing = pairing_of(seeds, seed_sd=0.0, taste=taste)
    study = variances_of(pairing.scores - pairing.scores_reference, np.arange(400))
    error = float(np.sqrt(np.maximum(study.seeds, study.interaction) + study.examples_alone))
    monkeypatch.setattr(calibration, "half_width", lambda *rest: error)
    assert false_verdicts(pairing) == pytest.approx(0.317, abs=0.04)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_variances_of_many_studies_are_those_of_each(seeds: int) -> None:
    studies = np.random.default_rng(0).normal(size=(4, seeds, 30))
    together = calibration._variances_of_each(studies)
    for number, study in enumerate(studies):
        alone = variances_of(study, np.arange(30))
        assert together.seeds[number] == pytest.approx(float(alone.seeds))
        assert together.examples[number] == pytest.approx(float(alone.examples))
        assert together.interaction[number] == pytest.approx(float(alone.interaction))


def test_draws_have_either_sign_equally_often() -> None:
    drawn = calibration._signed_draws(np.random.default_rng(0), np.array([1.0, 2.0]), (100, 200))
    assert set(np.unique(drawn)) == {-2.0, -1.0, 1.0, 2.0}
    assert (drawn > 0).mean() == pytest.approx(0.5, abs=0.02)
