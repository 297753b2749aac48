"""Oracles: scikit-learn, scipy, counting by hand, and simulated studies whose truth is known."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from lowland.evidence import (
    METRICS,
    compare_predictions,
    detectable_difference,
    mcnemar,
    paired_metric_interval,
    permutation_p,
)
from lowland.evidence.core.metrics import resample_counts
from tests.evidence.core.anova import anova_interval

SEEDS_OF_DATA = st.integers(0, 2**32 - 1)


def study(data_seed, *, seeds=3, examples=60, classes=3, share=0.85, share_reference=0.8):
    """Labels (N,) and two predictions (S, N) that are right with the given shares."""
    rng = np.random.default_rng(data_seed)
    labels = rng.integers(classes, size=examples)

    def answers(right):
        wrong = rng.integers(classes, size=(seeds, examples))
        return np.where(rng.random((seeds, examples)) < right, labels, wrong)

    return labels, answers(share), answers(share_reference)


def compare(labels, ours, theirs, **options):
    names = {"method": "flat-lora", "reference": "lora", "seeds": range(len(ours))}
    return compare_predictions(labels, ours, theirs, resamples=200, **{**names, **options})


# --- metrics -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data_seed=SEEDS_OF_DATA, examples=st.integers(2, 12), classes=st.integers(1, 6))
def test_metrics_agree_with_sklearn_on_every_resample(data_seed, examples, classes):
    labels, predicted, _ = study(data_seed, seeds=2, examples=examples, classes=classes, share=0.4)
    counts = resample_counts(np.random.default_rng(data_seed), 5, examples)
    oracles = {
        "accuracy": accuracy_score,
        "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
        "weighted_f1": lambda y, p: f1_score(y, p, average="weighted", zero_division=0),
    }
    for name, metric in METRICS.items():
        ours = metric(labels, predicted, counts)
        for r, s in itertools.product(range(5), range(2)):
            drawn = np.repeat(np.arange(examples), counts[r].astype(int))
            oracle = oracles[name](labels[drawn], predicted[s, drawn])
            assert ours[r, s] == pytest.approx(oracle, abs=1e-12), name


def test_resamples_have_n_examples_and_binomial_counts():
    counts = resample_counts(np.random.default_rng(0), 4000, 20)
    assert (counts.sum(axis=1) == 20).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.1)
    assert counts.var(axis=0).mean() == pytest.approx(19 / 20, abs=0.05)


# --- the interval --------------------------------------------------------------------------


def test_interval_of_accuracy_follows_its_formula():
    labels, ours, theirs = study(4, seeds=4, examples=200)
    result = paired_metric_interval(labels, ours, theirs)
    d = (ours == labels).astype(float) - (theirs == labels)  # (S, N)
    error, expected = anova_interval(d)
    assert result.difference == pytest.approx(d.mean())
    assert result.per_seed == pytest.approx(d.mean(axis=1))
    assert result.standard_error == pytest.approx(error)
    assert result.high - result.difference == pytest.approx(expected)
    half = stats.t.ppf(0.975, result.df) * result.standard_error
    assert (result.low, result.high) == pytest.approx((result.difference - half, d.mean() + half))


@pytest.mark.parametrize(("seeds", "examples", "seed_sd"), [(3, 1000, 0.05), (5, 300, 0.0)])
def test_interval_has_its_nominal_coverage(seeds, examples, seed_sd):
    rng = np.random.default_rng(11)
    luck_sd = seed_sd / np.sqrt(2) / stats.norm.pdf(1.0)
    hits = 0
    for _ in range(300):
        hard = rng.normal(0, 0.9, examples)  # (N,)
        luck = rng.normal(0, luck_sd, (2, seeds, 1))
        chance = rng.normal(0, np.sqrt(0.19 - luck_sd**2), (2, seeds, examples))
        ours, theirs = 1.0 + hard + luck + chance > 0
        result = paired_metric_interval(np.ones(examples, int), ours, theirs)
        hits += result.low <= 0 <= result.high
    assert hits / 300 >= 0.91  # with normal quantiles, three seeds fall to about 0.85


def test_seeds_that_differ_much_rule_the_width():
    """If only the seeds differ much, t with S - 1 degrees of freedom determines the width."""
    right = np.arange(1000) < np.array([[900], [850], [880]])
    result = paired_metric_interval(np.ones(1000, int), right, np.ones((3, 1000), int))
    spread = np.std([0.9, 0.85, 0.88], ddof=1) / np.sqrt(3)
    assert result.df < 3
    assert result.high - result.low > 2 * 0.9 * stats.t.ppf(0.975, 2) * spread


@settings(max_examples=25, deadline=None)
@given(data_seed=SEEDS_OF_DATA, seeds=st.integers(1, 4), metric=st.sampled_from(sorted(METRICS)))
def test_swapping_the_methods_flips_sign_and_bounds(data_seed, seeds, metric):
    labels, ours, theirs = study(data_seed, seeds=seeds)
    interval = paired_metric_interval(labels, ours, theirs, metric=metric, resamples=100)
    swapped = paired_metric_interval(labels, theirs, ours, metric=metric, resamples=100)
    assert (swapped.difference, swapped.low, swapped.high) == (
        -interval.difference,
        -interval.high,
        -interval.low,
    )
    assert swapped.standard_error == interval.standard_error


def test_same_seed_gives_the_same_interval_and_no_global_state_is_used():
    labels, ours, theirs = study(0, seeds=1)
    state = np.random.get_state()[1].copy()
    first = paired_metric_interval(labels, ours, theirs, metric="macro_f1", seed=5)
    np.testing.assert_array_equal(state, np.random.get_state()[1])
    assert first == paired_metric_interval(labels, ours, theirs, metric="macro_f1", seed=5)
    assert first != paired_metric_interval(labels, ours, theirs, metric="macro_f1", seed=6)


def test_order_of_seeds_does_not_matter():
    labels, ours, theirs = study(9, seeds=4)
    interval = paired_metric_interval(labels, ours, theirs)
    reversed_order = paired_metric_interval(labels, ours[::-1], theirs[::-1])
    assert (interval.low, interval.high) == pytest.approx((reversed_order.low, reversed_order.high))


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("seeds", [1, 3])
def test_identical_predictions_have_zero_width_at_zero_and_say_so(metric, seeds):
    labels, ours, _ = study(1, seeds=seeds)
    result = compare(labels, ours, ours.copy(), metric=metric)
    assert (result.difference, result.low, result.high, result.detectable) == (0, 0, 0, 0)
    assert result.identical
    assert "identical" in result.sentence()


# --- examples in groups --------------------------------------------------------------------


def clustered(rng, *, seeds=3, groups=100, size=4):
    """Labels, two predictions and groups, which share most of the methods' difference; its true mean is 0."""

    def of_groups(sd):
        return np.repeat(rng.normal(0, sd, groups), size)  # (N,)

    hard = of_groups(0.6)
    ours, theirs = (
        1 + hard + of_groups(0.8) + rng.normal(0, 0.3, (seeds, groups * size)) > 0 for _ in range(2)
    )
    return np.ones(groups * size, int), ours.astype(int), theirs.astype(int), np.arange(groups * size) // size


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_groups_of_one_example_give_exactly_the_interval_without_groups(metric):
    labels, ours, theirs = study(6)
    without = paired_metric_interval(labels, ours, theirs, metric=metric)
    for groups in (np.arange(60), [f"text {60 - i}" for i in range(60)], [(i % 2, i) for i in range(60)]):
        assert paired_metric_interval(labels, ours, theirs, metric=metric, groups=groups) == without
    assert compare(labels, ours, theirs, groups=range(60)) == compare(labels, ours, theirs)


def test_resamples_of_a_mean_score_tend_to_its_linear_variance():
    """F1 of two classes that all examples share is the accuracy: its resamples are compared with the mean squares."""
    rng = np.random.default_rng(6)
    hard = rng.random(400)
    right = (rng.random((2, 4, 400)) < 0.5 + 0.4 * hard).astype(int)
    micro = {"labels": np.ones(400, int), "predicted": right[0], "predicted_reference": right[1]}
    exact = paired_metric_interval(**micro)
    resampled = _interval_of_resamples(**micro)
    for name in ("difference", "standard_error", "low", "high", "p"):
        assert getattr(resampled, name) == pytest.approx(getattr(exact, name), rel=0.05, abs=2e-3), name


def _interval_of_resamples(labels, predicted, predicted_reference):
    """The interval of accuracy, as that of a metric that is no mean."""
    from lowland.evidence.core import intervals

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "as resampled", METRICS["accuracy"])
        return intervals.paired_metric_interval(
            labels, predicted, predicted_reference, metric="as resampled", resamples=20_000
        )


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("lay", [lambda x: np.repeat(x, 4, axis=-1), lambda x: np.tile(x, 4)])
def test_copies_grouped_together_add_no_evidence(metric, seeds, lay):
    """Four copies of each example, a group of each: the interval of the examples without copies."""
    labels, ours, theirs = study(8, seeds=seeds)
    once = paired_metric_interval(labels, ours, theirs, metric=metric)
    copied = lay(labels), lay(ours), lay(theirs)
    assert paired_metric_interval(*copied, metric=metric, groups=lay(np.arange(60))) == once
    assert paired_metric_interval(*copied, metric=metric).standard_error < once.standard_error


@pytest.mark.parametrize("metric", ["macro_f1", "weighted_f1"])
def test_groups_of_unequal_size_are_drawn_whole(metric):
    """Oracle: the drawn groups' examples laid end to end and given to scikit-learn, one seed."""
    labels, ours, theirs = study(5, seeds=1, examples=30)
    groups = np.random.default_rng(0).permutation(np.repeat(list("abcde"), [1, 2, 3, 10, 14]))
    names = list(dict.fromkeys(groups))  # numbered in order of appearance
    score = {
        "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
        "weighted_f1": lambda y, p: f1_score(y, p, average="weighted", zero_division=0),
    }[metric]
    gaps = []
    for drawn in np.random.default_rng(1).integers(5, size=(50, 5)):
        rows = np.concatenate([np.flatnonzero(groups == names[g]) for g in drawn])
        gaps.append(score(labels[rows], ours[0, rows]) - score(labels[rows], theirs[0, rows]))
    result = paired_metric_interval(labels, ours, theirs, metric=metric, groups=groups, resamples=50, seed=1)
    assert result.standard_error == pytest.approx(np.std(gaps, ddof=1))
    assert result.df == 4
    half = stats.t.ppf(0.975, 4) * result.standard_error
    assert result.high - result.low == pytest.approx(2 * half)


def test_interval_covers_correlated_groups_only_if_it_knows_them():
    rng = np.random.default_rng(5)
    hits = {True: 0, False: 0}
    for _ in range(300):
        labels, ours, theirs, groups = clustered(rng)
        for known in hits:
            units = groups if known else None
            result = paired_metric_interval(labels, ours, theirs, groups=units)
            hits[known] += result.low <= 0 <= result.high
    assert hits[False] / 300 < 0.90
    assert hits[True] / 300 >= 0.92


def test_sentence_names_the_groups_where_examples_share_them():
    labels, ours, theirs, groups = clustered(np.random.default_rng(0))
    result = compare(labels, ours, theirs, groups=groups)
    assert (result.n_examples, result.n_groups) == (400, 100)
    alone = paired_metric_interval(labels, ours, theirs, groups=groups, resamples=200)
    assert (result.low, result.high, result.df) == (alone.low, alone.high, alone.df)
    assert "3 seeds, 400 test examples in 100 groups)" in result.sentence()
    assert "groups" not in compare(labels, ours, theirs).sentence()
    same = compare(labels, ours, ours, groups=groups)
    assert "identical on all 400 test examples in 100 groups in all 3 seeds" in same.sentence()
    wrong, other = np.full((3, 400), 2), np.full((3, 400), 3)
    assert (
        "these 400 test examples in 100 groups do not show"
        in compare(labels, wrong, other, groups=groups).sentence()
    )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["news"] * 60, "puts all 60 examples into one group, 'news'; expected 2 groups or more"),
        (range(59), "groups has 59 labels; expected 60, one for each example"),
        ([None, *range(59)], "groups lacks 1 of 60 labels"),
        ([float("nan")] * 2 + [*range(58)], "groups lacks 2 of 60 labels"),
        (np.zeros((60, 2)), r"groups holds one ndarray for each example; expected \(N,\) hashable labels"),
    ],
)
def test_groups_that_do_not_fit_are_named(groups, message):
    with pytest.raises(ValueError, match=message):
        paired_metric_interval(*study(0), groups=groups)
    with pytest.raises(ValueError, match=message):
        compare(*study(0), groups=groups)


# --- the tests over seeds and over examples ------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=8))
def test_permutation_p_is_the_share_of_sign_patterns(counts):
    d = np.array(counts) / 420
    flips = np.array(list(itertools.product([1, -1], repeat=len(d)))) @ np.array(counts)
    result = permutation_p(d)
    assert result.exact
    assert result.p == pytest.approx(np.mean(abs(flips) >= abs(sum(counts))))
    assert result.smallest_p == 2 / 2 ** len(d)


def test_three_seeds_cannot_go_below_a_quarter():
    result = permutation_p([0.5, 0.4, 0.6])
    assert (result.p, result.smallest_p) == (0.25, 0.25)


def test_permutation_of_many_seeds_is_sampled_and_near_the_exact():
    d = np.random.default_rng(3).normal(0.2, 1, 16)
    flips = np.array(list(itertools.product([1.0, -1.0], repeat=16))) @ d
    result = permutation_p(d, seed=1)
    assert not result.exact
    assert result.p == pytest.approx(np.mean(abs(flips) >= abs(d.sum()) - 1e-9), abs=0.02)
    assert result == permutation_p(d, seed=1)


def test_mcnemar_by_hand():
    # right in the method alone: 5; in the reference alone: 1; p = 2 (C(6,0) + C(6,1)) / 2^6
    labels = np.zeros(10, int)
    ours = np.array([0, 0, 0, 0, 0, 1, 0, 0, 1, 1])
    theirs = np.array([1, 1, 1, 2, 1, 0, 0, 0, 1, 2])
    result = mcnemar(labels, ours, theirs)
    assert (result.only_method, result.only_reference) == (5, 1)
    assert result.p == pytest.approx(14 / 64)


@settings(max_examples=40, deadline=None)
@given(data_seed=SEEDS_OF_DATA)
def test_mcnemar_agrees_with_the_binomial_test(data_seed):
    labels, ours, theirs = (x if x.ndim == 1 else x[0] for x in study(data_seed))
    pairs = list(zip(ours == labels, theirs == labels, strict=True))
    b, c = pairs.count((True, False)), pairs.count((False, True))
    oracle = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(labels, ours, theirs).p == pytest.approx(oracle)
    assert mcnemar(labels, ours, ours).p == 1.0


# --- detectable differences ----------------------------------------------------------------


@pytest.mark.parametrize("df", [1.0, 2.0, 3.7, 40.0])
@pytest.mark.parametrize("level", [0.95, 0.9])
def test_a_detectable_difference_is_found_four_times_in_five(df, level):
    true = detectable_difference(0.01, df, level=level)
    rng = np.random.default_rng(0)
    mean = true + 0.01 * rng.standard_normal(200_000)
    error = 0.01 * np.sqrt(rng.chisquare(df, 200_000) / df)
    result = mean - stats.t.ppf((1 + level) / 2, df) * error > 0
    assert result.mean() == pytest.approx(0.8, abs=0.005)


def test_detectable_difference_holds_for_whole_studies():
    """Five seeds, 300 examples: the rule's own power at the detectable difference."""
    rng = np.random.default_rng(2)

    def draw(gain):
        hard = rng.normal(0, 0.9, 300)
        luck = rng.normal(0, 0.04, (2, 5, 1))
        chance = rng.normal(0, 0.43, (2, 5, 300))
        means = np.array([stats.norm.ppf(0.8 + gain), stats.norm.ppf(0.8)])[:, None, None]
        ours, theirs = means + hard + luck + chance > 0
        return paired_metric_interval(np.ones(300, int), ours, theirs, resamples=200)

    trials = [draw(0.0) for _ in range(100)]
    error, df = (np.median([getattr(t, x) for t in trials]) for x in ("standard_error", "df"))
    true = detectable_difference(error, df)
    power = np.mean([draw(true).low > 0 for _ in range(300)])
    assert 0.72 <= power <= 0.95  # standard errors err on the wide side, so power may exceed 0.8


def test_detectable_difference_grows_with_error_power_and_fewer_seeds():
    assert detectable_difference(0.0, 5) == 0
    assert detectable_difference(0.02, 5) == pytest.approx(2 * detectable_difference(0.01, 5))
    assert detectable_difference(1, 2) > detectable_difference(1, 4) > detectable_difference(1, 999)
    assert detectable_difference(1, 9, power=0.9) > detectable_difference(1, 9)
    normal = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert detectable_difference(1, 19_999) == pytest.approx(normal, rel=1e-3)


# --- the comparison and its sentence -------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    data_seed=SEEDS_OF_DATA,
    seeds=st.integers(1, 4),
    share=st.floats(0.3, 1.0),
    reference=st.floats(0.3, 1.0),
    metric=st.sampled_from(sorted(METRICS)),
)
@example(data_seed=0, seeds=3, share=0.95, reference=0.5, metric="accuracy")
@example(data_seed=0, seeds=1, share=0.5, reference=0.95, metric="macro_f1")
def test_sentence_claims_no_more_than_the_interval(data_seed, seeds, share, reference, metric):
    labels, ours, theirs = study(data_seed, seeds=seeds, share=share, share_reference=reference)
    result = compare(labels, ours, theirs, metric=metric)
    sentence = result.sentence()
    assert ("better" in sentence) == (result.low > 0 and seeds > 1)
    assert ("worse" in sentence) == (result.high < 0 and seeds > 1)
    assert "significant" not in sentence
    assert "no difference exists" not in sentence.lower()
    assert ("One seed says nothing of the methods" in sentence) == (seeds == 1)
    assert "60 test examples" in sentence
    assert f"{seeds} seed" in sentence


def with_numbers(**changes):
    return dataclasses.replace(compare(*study(0)), **{"n_examples": 420, "n_groups": 420, **changes})


def test_sentence_to_the_letter():
    better = with_numbers(difference=0.012, low=0.003, high=0.021, seeds=(0, 1, 2, 3, 4))
    assert better.sentence() == (
        "flat-lora is better than lora in accuracy by 1.2 points "
        "(95 % interval 0.3 to 2.1, 5 seeds, 420 test examples)."
    )
    worse = with_numbers(difference=-0.012, low=-0.021, high=-0.003, metric="macro_f1")
    assert worse.sentence() == (
        "flat-lora is worse than lora in macro F1 by 1.2 points "
        "(95 % interval 0.3 to 2.1, 3 seeds, 420 test examples)."
    )
    alike = with_numbers(difference=0.012, low=0.003, high=0.021, n_examples=432, n_groups=108)
    assert alike.sentence() == (
        "flat-lora is better than lora in accuracy by 1.2 points "
        "(95 % interval 0.3 to 2.1, 3 seeds, 432 test examples in 108 groups)."
    )
    open_question = with_numbers(difference=0.003, low=-0.012, high=0.018, detectable=0.021)
    assert open_question.sentence() == (
        "These runs do not show a difference in accuracy between flat-lora and lora: "
        "+0.3 points (95 % interval -1.2 to 1.8, 3 seeds, 420 test examples). A true difference "
        "of about 2.1 points would be detected in 80 % of such studies; a smaller one may go undetected."
    )


def test_with_one_seed_the_sentence_speaks_of_two_runs():
    labels, ours, theirs = study(0, seeds=1)
    single = dataclasses.replace(compare(labels, ours, theirs), n_examples=420, n_groups=420)
    clear = dataclasses.replace(single, difference=0.012, low=0.003, high=0.021)
    assert clear.sentence() == (
        "With seed 0, the run of flat-lora scores +1.2 points in accuracy against the run of lora "
        "(95 % interval 0.3 to 2.1 over test examples alone, 1 seed, 420 test examples): the two runs differ. "
        "One seed says nothing of the methods; train several to compare them."
    )
    chance = dataclasses.replace(single, difference=-0.003, low=-0.018, high=0.012)
    assert "scores -0.3 points in accuracy" in chance.sentence()
    assert "the two runs could differ by that much by chance." in chance.sentence()


def test_one_seed_of_equal_methods_is_never_called_better():
    """Two methods that are the same, with a spread of 0.15 over seeds: their runs differ, the methods do not."""
    rng = np.random.default_rng(0)
    verdicts = 0
    for _ in range(200):
        labels = np.zeros(300, int)
        accuracies = np.clip(rng.normal(0.7, 0.15, 2), 0.05, 0.95)
        ours, theirs = ((rng.random((1, 300)) > accuracy).astype(int) for accuracy in accuracies)
        sentence = compare(labels, ours, theirs).sentence()
        verdicts += "better" in sentence or "worse" in sentence
    assert verdicts == 0


def test_sentence_does_not_round_a_bound_to_zero():
    assert "interval 0.04 to 2.10" in with_numbers(difference=0.01, low=4e-4, high=0.021).sentence()


def test_same_score_with_other_predictions_is_not_called_identical():
    labels = np.zeros(50, int)
    ours, theirs = np.full((3, 50), 1), np.full((3, 50), 2)
    sentence = compare(labels, ours, theirs).sentence()
    assert "identical" not in sentence
    assert "do not show what other examples would" in sentence


def test_comparison_gathers_the_parts():
    labels, ours, theirs = study(7)
    result = compare(labels, ours, theirs, metric="weighted_f1", seeds=[3, 1, 4])
    alone = paired_metric_interval(labels, ours, theirs, metric="weighted_f1", resamples=200)
    assert (result.low, result.high, result.per_seed) == (alone.low, alone.high, alone.per_seed)
    assert result.permutation == permutation_p(alone.per_seed)
    assert result.mcnemar == tuple(mcnemar(labels, *rows) for rows in zip(ours, theirs, strict=True))
    assert result.detectable == detectable_difference(alone.standard_error, alone.df)
    assert (result.seeds, result.n_examples) == ((3, 1, 4), 60)


def test_one_seed_speaks_of_examples_alone():
    labels, ours, theirs = study(2, seeds=1, examples=300)
    result = paired_metric_interval(labels, ours, theirs, resamples=20_000)
    d = (ours[0] == labels).astype(float) - (theirs[0] == labels)
    assert not result.over_seeds
    assert result.df == 299
    assert result.standard_error == pytest.approx(d.std() / np.sqrt(300), rel=0.02)


# --- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [[]], [[]]), r"labels has shape \(0,\)"),
        (
            ([0, 1], np.zeros((0, 2), int), np.zeros((0, 2), int)),
            r"shape \(0, 2\); expected \(S, 2",
        ),
        (([0, 1], [0, 1], [0, 1]), r"predicted has shape \(2,\)"),
        (([0, 1], [[0, 1]], [[0, 1, 1]]), r"predicted_reference has shape \(1, 3\)"),
        (([0, 1], [[0, 1]], [[0, 1], [0, 1]]), "1 seeds and predicted_reference has 2"),
        (([0, 1], [[0.5, 1]], [[0, 1]]), "expected whole numbers"),
    ],
)
def test_misfits_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_metric_interval(*arguments)
    with pytest.raises(ValueError, match=message):
        compare_predictions(*arguments, method="a", reference="b", seeds=[0])


def test_other_mistakes_are_named():
    labels, ours, theirs = study(0)
    with pytest.raises(ValueError, match="did you mean 'macro_f1'"):
        paired_metric_interval(labels, ours, theirs, metric="macrof1")
    with pytest.raises(ValueError, match="level is 95"):
        paired_metric_interval(labels, ours, theirs, level=95)
    with pytest.raises(ValueError, match="resamples is 1"):
        paired_metric_interval(labels, ours, theirs, resamples=1)
    with pytest.raises(ValueError, match="expected 3 different ones"):
        compare(labels, ours, theirs, seeds=[0, 0, 1])
    with pytest.raises(ValueError, match=r"expected \(S,\)"):
        permutation_p([])
    with pytest.raises(ValueError, match=r"expected \(N,\) thrice"):
        mcnemar(labels, ours, theirs)
    for wrong in ({"standard_error": -1, "df": 2}, {"standard_error": 1, "df": 0}):
        with pytest.raises(ValueError, match="expected"):
            detectable_difference(**wrong)
    with pytest.raises(ValueError, match=r"power is 1\.5"):
        detectable_difference(1, 2, power=1.5)


def test_evidence_needs_no_torch():
    code = "import sys, lowland.evidence; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
