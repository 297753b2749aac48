"""Comparison by a score for each example. Oracles: comparison by predicted classes, and formulas by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.evidence import compare_predictions, compare_scores, paired_interval
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.wording import points, quantities, score_name
from lowland.ground.mistakes import Mistake
from tests.evidence.core.anova import anova_interval
from tests.evidence.core.test_pairs import SEEDS_OF_DATA, study

NAMES = {"method": "flat-lora", "reference": "lora"}


def scores_of(data_seed=0, *, seeds=3, examples=60, scale=1.0, shift=0.0):
    """Two arrays of scores (S, N) that share the difficulty of the examples."""
    rng = np.random.default_rng(data_seed)
    hard = rng.normal(0, 1, examples)
    return (shift + scale * (hard + rng.normal(0, 0.5, (seeds, examples))) for _ in range(2))


def compare(ours, theirs, **options):
    return compare_scores(ours, theirs, **NAMES, seeds=range(len(ours)), **options)


@settings(max_examples=40, deadline=None)
@given(data_seed=SEEDS_OF_DATA, seeds=st.integers(1, 4), group_size=st.sampled_from([1, 3]))
def test_scores_of_0_and_1_give_the_accuracy_to_the_bit(data_seed, seeds, group_size):
    labels, ours, theirs = study(data_seed, seeds=seeds)
    groups = np.arange(60) // group_size
    result = compare(ours == labels, theirs == labels, groups=groups)
    by_class = compare_predictions(
        labels, ours, theirs, **NAMES, seeds=range(seeds), resamples=200, groups=groups
    )
    identical = bool(np.array_equal(ours == labels, theirs == labels))
    assert result == dataclasses.replace(by_class, compared="scores", identical=identical)
    if not identical:
        assert result.sentence() == by_class.sentence().replace("same predictions", "same scores")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_interval_of_any_scores_follows_its_formula(scale):
    ours, theirs = scores_of(4, seeds=4, examples=200, scale=scale)
    result = paired_interval(ours, theirs)
    d = ours - theirs  # (S, N)
    error, half = anova_interval(d)
    assert result.per_seed == pytest.approx(d.mean(axis=1))
    assert result.standard_error == pytest.approx(error)
    assert result.high - result.difference == pytest.approx(half)
    assert result.difference - result.low == pytest.approx(result.high - result.difference)


def test_interval_changes_with_the_unit_of_the_score_and_not_with_its_zero():
    ours, theirs = scores_of(2)
    once = paired_interval(ours, theirs)
    other = paired_interval(100 * ours + 7, 100 * theirs + 7)
    assert (other.difference, other.low, other.high) == pytest.approx(
        (100 * once.difference, 100 * once.low, 100 * once.high)
    )
    assert other.df == pytest.approx(once.df)


def test_only_an_interval_of_shares_ends_at_one():
    right = np.array([[1.0] * 6, [0.0] * 3 + [1.0] * 3])
    shares = paired_interval(right, np.zeros((2, 6)))
    assert (shares.difference, shares.high) == (0.75, 1.0)
    numbers = paired_interval(3 * right, np.zeros((2, 6)))
    assert numbers.high > 3
    assert numbers.low < -1


def test_copies_grouped_together_add_no_evidence():
    ours, theirs = scores_of(8)
    once = paired_interval(ours, theirs)
    copied = paired_interval(np.tile(ours, 4), np.tile(theirs, 4), groups=np.tile(np.arange(60), 4))
    assert copied.standard_error == pytest.approx(once.standard_error)


def test_mcnemar_needs_right_and_wrong():
    labels, ours, theirs = study(3)
    assert len(compare(ours == labels, theirs == labels).mcnemar) == 3
    shares = compare((ours == labels) * 0.5, (theirs == labels) * 1.0)
    assert (shares.mcnemar, shares.is_share) == ((), True)
    assert compare(*scores_of()).mcnemar == ()


def test_sentences_speak_of_points_only_where_scores_are_shares():
    result = compare(*scores_of(shift=10.0), metric="matthews_corrcoef")
    better = dataclasses.replace(result, difference=1.25, low=0.31, high=2.19, n_examples=420, n_groups=420)
    assert better.sentence() == (
        "flat-lora is better than lora in matthews corrcoef by 1.25 "
        "(95 % interval 0.31 to 2.19, 3 seeds, 420 test examples)."
    )
    unclear = dataclasses.replace(better, difference=0.3, low=-1.2, high=1.8, detectable=2.1)
    assert unclear.sentence() == (
        "These runs do not show a difference in matthews corrcoef between flat-lora and lora: "
        "+0.30 (95 % interval -1.20 to 1.80, 3 seeds, 420 test examples). A true difference "
        "of about 2.1 would be detected in 80 % of such studies; a smaller one may go undetected."
    )
    share = dataclasses.replace(better, is_share=True, difference=0.0125, low=0.0031, high=0.0219)
    assert "by 1.2 points (95 % interval 0.3 to 2.2" in share.sentence()


def test_equal_scores_are_called_identical_scores_and_not_predictions():
    ours, _ = scores_of()
    sentence = compare(ours, ours.copy()).sentence()
    assert (
        sentence == "The scores of flat-lora and lora are identical on all 60 test examples in all 3 seeds."
    )


def test_names_and_numbers_are_written_as_sentences_need_them():
    assert [score_name(name) for name in ("accuracy", "macro_f1", "f1", "exact_match")] == [
        "accuracy",
        "macro F1",
        "F1",
        "exact match",
    ]
    assert points([0.01, 4e-4, -1e-6]) == ["1.0000", "0.0400", "-0.0001"]
    assert quantities([1234.0, -1300.0]) == ["1234", "-1300"]
    assert quantities([0.012, 0.0, -0.0031]) == ["0.0120", "0.0000", "-0.0031"]
    assert quantities([0.0]) == ["0.0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), r"scores has shape \(0,\)"),
        (([0.5, 1.0], [0.5, 1.0]), r"scores has shape \(2,\); expected \(S, N\)"),
        (([[1.0]], [[1.0]]), "N of 2 or more"),
        (([[0.5, 1.0]], [[0.5, 1.0, 0.0]]), r"scores_reference has shape \(1, 3\)"),
        (([[0, 1]], [[0, 1], [0, 1]]), "scores has 1 seeds and scores_reference has 2"),
        (([[0, np.nan]], [[0, 1]]), "scores holds NaN or infinity"),
        (([[0, 1]], [["right", "wrong"]]), "scores_reference holds <U5; expected numbers"),
    ],
)
def test_misfits_are_named(arguments, message):
    with pytest.raises(Mistake, match=message):
        paired_interval(*arguments)
    with pytest.raises(Mistake, match=message):
        compare_scores(*arguments, **NAMES, seeds=[0])


@settings(max_examples=40, deadline=None)
@given(data_seed=SEEDS_OF_DATA, seeds=st.integers(1, 5), shift=st.sampled_from([0.02, 0.2, 1.0]))
def test_p_is_one_less_the_level_at_which_the_interval_reaches_zero(data_seed, seeds, shift):
    ours, theirs = scores_of(data_seed, seeds=seeds)
    result = paired_interval(ours + shift, theirs)
    level = 1 - result.p
    if not 1e-9 < result.p < 1 - 1e-9:
        return
    touching = paired_interval(ours + shift, theirs, level=level)
    assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-6)


def test_p_where_nothing_differs_or_everything_does_alike():
    ours, _ = scores_of(3)
    assert paired_interval(ours, ours).p == 1
    for examples in (2, 3, 4, 5, 8):  # a sign test
        assert paired_interval(np.ones((3, examples)), np.zeros((3, examples))).p == 2 / 2**examples
    tiny, huge = np.array([[1.0, 2.0, 4.0, 3.0]]), np.array([[0.5, 2.5, 1.0, 0.0]])
    expected = paired_interval(tiny, huge).p
    for scale in (1e-140, 1e90):
        assert paired_interval(tiny * scale, huge * scale).p == pytest.approx(expected)


def test_seeds_that_agree_by_chance_do_not_make_an_interval_without_width():
    """Both seeds have the same difference, made of different examples: the interaction keeps the interval open."""
    ours = np.ones((2, 100))
    theirs = np.ones((2, 100))
    theirs[0, :4] = 0
    theirs[1, 4:8] = 0
    result = paired_interval(ours, theirs)
    assert result.per_seed == (0.04, 0.04)
    assert result.low < 0.04 - 0.01


@pytest.mark.parametrize(("seeds", "examples"), [(3, 200), (5, 100)])
def test_variances_are_those_of_a_crossed_mixed_model(seeds, examples):
    """Oracle: statsmodels' REML of crossed random effects, where no component is at its bound."""
    import pandas as pd
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(1)
    d = (
        0.3
        + rng.normal(0, 0.5, (seeds, 1))
        + rng.normal(0, 1, (1, examples))
        + rng.normal(0, 1, (seeds, examples))
    )
    table = pd.DataFrame(
        {
            "d": d.ravel(),
            "seed": np.repeat(np.arange(seeds), examples),
            "example": np.tile(np.arange(examples), seeds),
            "all": 1,
        }
    )
    parts = {"seed": "0 + C(seed)", "example": "0 + C(example)"}
    model = smf.mixedlm("d ~ 1", table, groups="all", vc_formula=parts, re_formula="0")
    fitted = model.fit(reml=True)
    of_example, of_seed = fitted.vcomp  # in the order of their names
    expected = of_seed / seeds + of_example / examples + fitted.scale / (seeds * examples)
    result = paired_interval(d, np.zeros_like(d))
    assert result.standard_error == pytest.approx(np.sqrt(expected), rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_that_agree_by_chance_are_no_certainty(seeds):
    """Each seed gains two examples of 40, but never the same ones: seeds agree, and examples do not."""
    theirs = np.zeros((seeds, 40))
    ours = np.zeros((seeds, 40))
    for seed in range(seeds):
        ours[seed, [3 * seed, 3 * seed + 1, 3 * seed + 2]] = 1.0
        theirs[seed, 39 - seed] = 1.0
    result = paired_interval(ours, theirs)
    assert len(set(result.per_seed)) == 1
    assert result.standard_error > 0
    assert result.low < 0 < result.high or result.p < 0.05
    assert paired_interval(ours, theirs, level=1 - result.p).low == pytest.approx(0, abs=1e-6)
    assert result.p > 1e-5


def test_the_part_of_the_seeds_is_what_lme4_gives_for_batches():
    """Yields of six batches of dyestuff (Davies, 1947), whose means are these: lme4 reports the standard error 19.383
    of the intercept (Bates, Maechler, Bolker and Walker, 2015, Fitting Linear Mixed-Effects Models Using lme4).
    """
    means = np.array([1505.0, 1528.0, 1564.0, 1498.0, 1600.0, 1470.0])
    differences = means[:, None] + np.zeros((6, 5))
    variances = variances_of(differences, np.arange(5))
    assert np.sqrt(float(variances.seeds)) == pytest.approx(19.383, abs=5e-4)
    assert paired_interval(differences, np.zeros((6, 5))).difference == pytest.approx(1527.5)
