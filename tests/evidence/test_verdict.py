"""Verdicts: what pairs, what is said, what it would take, margins, and the Python function."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lowland
from lowland.evidence import compare_scores
from lowland.evidence.core.by_item import holm
from lowland.evidence.pairing import pair
from lowland.evidence.results import Results, as_results, with_different_names
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake


def results(
    name: str = "a",
    share: float = 0.7,
    *,
    seeds: tuple[int, ...] = (),
    examples: int = 200,
    number: int = 0,
    prefix: str = "q",
    repeats: int = 1,
) -> Results:
    """Right and wrong answers of one method; the difficulty of the examples is the same for all."""
    hard = np.random.default_rng(99).normal(0, 1, examples)
    rng = np.random.default_rng(number)
    rows = [
        {
            "example": f"{prefix}{n}",
            "score": float(hard[n] + rng.normal(0, 0.7) < stats.norm.ppf(share) * 1.22),
            **({"seed": seed} if seeds else {}),
        }
        for seed in seeds or (0,)
        for n in range(examples)
        for _ in range(repeats)
    ]
    return as_results(pd.DataFrame(rows), name, "accuracy", f"{name}.csv")


def test_pairing_takes_what_both_have_in_whatever_order() -> None:
    ours, theirs = results(seeds=(1, 2, 3)), results("b", 0.8, seeds=(3, 2, 7), number=1)
    shuffled = as_results(theirs.rows.sample(frac=1, random_state=0), "b", "accuracy", "b.csv")
    pairing = pair(ours, shuffled)
    assert pairing.seeds == ("2", "3")
    assert pairing.unpaired_seeds == ("1", "7")
    for s, seed in enumerate(pairing.seeds):
        for n in (0, 57, 199):
            rows = theirs.rows
            expected = rows[(rows["seed"] == seed) & (rows["example"] == pairing.examples[n])]["score"].item()
            assert pairing.scores_reference[s, n] == expected


def test_repeats_count_as_one_by_their_mean() -> None:
    often, once = results(repeats=3), results("b", number=1)
    pairing = pair(often, once)
    assert pairing.repeats == 3
    assert pairing.scores.shape == (1, 200)
    means = often.rows.groupby("example", sort=False)["score"].mean()
    assert dict(zip(pairing.examples, pairing.scores[0], strict=True)) == pytest.approx(means.to_dict())


def test_a_verdict_is_that_of_the_paired_comparison() -> None:
    theirs, ours = results(seeds=(1, 2, 3)), results("b", 0.85, seeds=(1, 2, 3), number=1)
    (verdict,) = compare_results([theirs, ours])
    pairing = pair(ours, theirs)
    expected = compare_scores(
        pairing.scores,
        pairing.scores_reference,
        method="b",
        reference="a",
        metric="accuracy",
        seeds=range(3),
    )
    assert verdict.comparison == expected
    assert verdict.outcome == ("better" if expected.p < 0.05 else "undecided")
    assert verdict.mean - verdict.mean_reference == pytest.approx(expected.difference)
    right = pairing.scores.mean(axis=0) - pairing.scores_reference.mean(axis=0)
    assert (len(verdict.fixed), len(verdict.broken)) == ((right > 0).sum(), (right < 0).sum())
    assert [flip.difference for flip in verdict.fixed] == pytest.approx(
        sorted(right[right > 0], reverse=True)
    )
    assert [flip.difference for flip in verdict.broken] == pytest.approx(sorted(right[right < 0]))
    names = {test.name: test for test in verdict.t_tests}
    paired = stats.ttest_rel(pairing.scores.mean(axis=1), pairing.scores_reference.mean(axis=1))
    assert names["paired t over seeds"].p == pytest.approx(paired.pvalue)
    assert verdict.effect_size == pytest.approx(right.mean() / right.std(ddof=1))


def test_several_comparisons_are_corrected_together() -> None:
    reference = results()
    others = [results(f"m{n}", 0.7 + 0.02 * n, number=n + 1) for n in range(6)]
    verdicts = compare_results([reference, *others])
    assert [verdict.p_holm for verdict in verdicts] == pytest.approx(
        holm([verdict.comparison.p for verdict in verdicts])
    )
    assert any(
        verdict.comparison.p < 0.05 <= verdict.p_holm for verdict in verdicts
    )  # else the test says little
    for verdict in verdicts:
        assert (verdict.outcome == "undecided") == (verdict.p_holm >= 0.05)


@pytest.mark.parametrize(
    ("margin", "expected"), [(20.0, "non-inferior"), (2.0, "inconclusive"), (0.01, "inconclusive")]
)
def test_a_margin_is_held_against_the_interval(margin: float, expected: str) -> None:
    (verdict,) = compare_results([results(), results("b", 0.7, number=3)], margin=margin)
    assert verdict.margin_outcome == expected
    low = verdict.comparison.low
    assert (low > -margin / 100) == (expected == "non-inferior")
    (worse,) = compare_results([results(share=0.9), results("b", 0.4, number=3)], margin=3)
    assert (worse.margin_outcome, worse.outcome) == ("inferior", "worse")
    assert "b is inferior: it loses more than 3 points" in str(worse)


@pytest.mark.parametrize(
    ("examples", "expected"), [(2, "inconclusive"), (100, "inconclusive"), (200, "non-inferior")]
)
def test_equal_scores_meet_a_margin_only_if_the_examples_are_enough(examples: int, expected: str) -> None:
    same = [results(name, examples=examples) for name in "ab"]
    (verdict,) = compare_results(same, margin=3)
    assert verdict.margin_outcome == expected
    unseen = stats.binomtest(0, examples).proportion_ci(0.95, method="exact").high
    assert (unseen < 0.03) == (expected == "non-inferior")
    assert f"{100 * unseen:.1f} points away" in str(verdict)


def test_shares_beside_percents_are_refused() -> None:
    ours, theirs = results(), results("b", number=1)
    percents = as_results(theirs.rows.assign(score=100 * theirs.rows["score"]), "b", "accuracy", "b.csv")
    with pytest.raises(Mistake, match="the scores of a are 0 and 1, and those of b are 0 and 100"):
        compare_results([ours, percents])


def test_what_is_needed_makes_the_difference_detectable() -> None:
    """Oracle: so many examples of the same kind, copied, in a study of the same seeds."""
    theirs, ours = results(seeds=(1, 2, 3, 4, 5)), results("b", 0.72, seeds=(1, 2, 3, 4, 5), number=1)
    (verdict,) = compare_results([theirs, ours])
    now = 100 * verdict.comparison.detectable
    (same,) = compare_results([theirs, ours], detect=now)
    assert same.needed is not None
    assert same.needed.examples == pytest.approx(200, rel=0.1)
    assert same.needed.seeds == pytest.approx(5, abs=1)
    (harder,) = compare_results([theirs, ours], detect=now / 1.5)
    assert harder.needed is not None
    assert harder.needed.examples is None or harder.needed.examples > 1.5 * same.needed.examples
    (unseeded,) = compare_results([results(), results("b", 0.72, number=1)], detect=2)
    assert unseeded.needed is not None
    assert unseeded.needed.seeds is None
    by_normal = (2.8 * unseeded.comparison.standard_error / 0.02) ** 2 * 200
    assert unseeded.needed.examples == pytest.approx(by_normal, rel=0.05)


def test_seeds_that_differ_much_make_no_number_of_examples_enough() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random((3, 400)) < np.array([[0.5], [0.7], [0.9]])
    ours = rng.random((3, 400)) < np.array([[0.9], [0.6], [0.5]])
    verdict = lowland.verdict(theirs, ours, detect=1)
    assert verdict.needed is not None
    assert verdict.needed.examples is None
    assert "no number of examples with 3 seeds would do" in str(verdict)


@pytest.mark.parametrize("seeded", [True, False])
def test_the_function_takes_arrays_lists_and_tables(seeded: bool) -> None:
    seeds = (1, 2, 3) if seeded else ()
    theirs, ours = results(seeds=seeds), results("b", 0.8, seeds=seeds, number=1)
    (expected,) = compare_results([theirs, ours])
    rows = len(seeds) or 1
    arrays = [each.rows["score"].to_numpy().reshape(rows, -1) for each in (theirs, ours)]
    given = arrays if seeded else [array[0].tolist() for array in arrays]
    by_array = lowland.verdict(*given, names=("a", "b"), metric="accuracy", seeds=seeds or None)
    assert by_array.comparison == expected.comparison
    assert str(by_array) == str(expected)
    columns = ["example", "score", "seed"] if seeded else ["example", "score"]
    tables = [each.rows[columns] for each in (theirs, ours)]
    assert lowland.verdict(*tables, names=("a", "b"), metric="accuracy").comparison == expected.comparison


def test_groups_are_no_independent_evidence() -> None:
    theirs, ours = (np.tile(results(number=n).rows["score"].to_numpy(), 4) for n in (0, 1))
    alone = lowland.verdict(theirs[:200], ours[:200])
    grouped = lowland.verdict(theirs, ours, groups=list(range(200)) * 4)
    assert grouped.comparison.standard_error == pytest.approx(alone.comparison.standard_error)


def test_scores_that_are_no_shares_are_written_in_their_own_unit() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(20, 3, 300)
    verdict = lowland.verdict(
        theirs, theirs + rng.normal(1, 1, 300), metric="bleu", margin=0.5, names=("a", "b")
    )
    assert str(verdict).startswith("b is better than a in bleu by 0.99 (95 % interval")
    assert "points" not in str(verdict)
    assert verdict.margin_outcome == "non-inferior"


def test_equal_results_are_identical() -> None:
    verdict = lowland.verdict([1, 0, 1, 1], [1, 0, 1, 1], names=("a", "b"))
    assert verdict.outcome == "identical"
    assert str(verdict) == "The scores of b and a are the same on all 4 examples."


def test_names_that_are_equal_are_told_apart() -> None:
    first, second, third = (
        Results("lora", "accuracy", pd.DataFrame(), source) for source in ("runs/a", "runs/b", "other/b")
    )
    assert [each.name for each in with_different_names([first, second])] == ["lora (a)", "lora (b)"]
    assert [each.name for each in with_different_names([second, third])] == ["lora (1)", "lora (2)"]


@pytest.mark.parametrize(
    ("ours", "problem"),
    [
        (
            results("b", seeds=(1, 2)),
            "b has seeds (1, 2), and a has none; give both a column seed, or neither",
        ),
        (
            results("b", prefix="z"),
            "0 examples pair of 200 of b and 200 of a (only b has 'z0', only a has 'q0')",
        ),
        (
            results("b", examples=150),
            "150 examples pair of 150 of b and 200 of a (only a has 'q150'); compare results on the same examples,"
            " or add --partial",
        ),
    ],
)
def test_what_does_not_pair_is_said(ours: Results, problem: str) -> None:
    with pytest.raises(Mistake) as mistake:
        compare_results([results(), ours])
    assert problem in str(mistake.value)


def test_few_pairs_are_compared_on_request() -> None:
    (verdict,) = compare_results([results(), results("b", examples=150, number=1)], partial=True)
    assert verdict.pairing.unpaired == (0, 50)


def test_no_seed_pairs() -> None:
    with pytest.raises(Mistake, match="b has seeds 4, 5, and a has 1, 2: none pairs; run both with the same"):
        compare_results([results(seeds=(1, 2)), results("b", seeds=(4, 5))])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"example": ["1", "2"], "score": [1, "abc"]}, "the score in row 2 is 'abc', and 1 score of 2 is no finite"),
        ({"example": ["1", "2"], "score": [1, float("nan")]}, "the score in row 2 is 'nan'"),
        ({"example": ["1", None], "score": [1, 0]}, "lacks example in 1 row of 2"),
        ({"example": ["1", "1"], "score": [1, 0], "group": ["x", "y"]}, "puts example '1' into several groups"),
        ({"example": [], "score": []}, "holds no scores"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_said(table: dict[str, list[object]], problem: str) -> None:
    with pytest.raises(Mistake, match=problem.replace("'", ".")):
        as_results(pd.DataFrame(table), "a", "score", "a.csv")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            ([1, 0, 1], [1, 0]),
            "the first has 3 scores and the second has 2; arrays are paired by place",
        ),
        ((np.ones((2, 2, 2)), [1, 0]), r"the first has shape \(2, 2, 2\); expected \(N,\), or \(S, N\)"),
        (
            (pd.DataFrame({"example": [1, 2], "score": [0, 1]}), [1, 0]),
            "one of both is a table, and the other is not",
        ),
    ],
)
def test_arrays_that_cannot_be_compared_are_said(given: tuple[object, object], problem: str) -> None:
    with pytest.raises(Mistake, match=problem):
        lowland.verdict(*given)


def test_true_and_false_and_whole_numbers_of_examples_are_read_alike() -> None:
    words = as_results(
        pd.DataFrame({"example": [1.0, 2.0], "score": ["True", "false"]}), "a", "score", "a.csv"
    )
    assert words.rows["example"].tolist() == ["1", "2"]
    assert words.rows["score"].tolist() == [1.0, 0.0]


def test_groups_that_one_of_both_names_are_taken() -> None:
    theirs, ours = results(), results("b", number=1)
    grouped = as_results(theirs.rows.assign(group=[n // 4 for n in range(200)]), "a", "accuracy", "a.csv")
    assert pair(ours, grouped).groups == pair(grouped, ours).groups == tuple(str(n // 4) for n in range(200))
    other = as_results(ours.rows.assign(group=[n // 5 for n in range(200)]), "b", "accuracy", "b.csv")
    with pytest.raises(Mistake, match="b and a put the same examples into different groups"):
        pair(other, grouped)
    together = as_results(theirs.rows.assign(group="all"), "a", "accuracy", "a.csv")
    with pytest.raises(Mistake, match="all examples of b and a are in one group"):
        pair(ours, together)


def test_few_seeds_that_pair_are_refused() -> None:
    theirs, ours = results(seeds=(0, 1, 2, 3, 4)), results("b", seeds=(4, 5, 6, 7, 8))
    with pytest.raises(Mistake, match=r"less than half of the seeds of b and a pair \(4\)"):
        compare_results([theirs, ours])
    (verdict,) = compare_results([theirs, ours], partial=True)
    assert verdict.pairing.seeds == ("4",)


def test_rounding_is_no_difference() -> None:
    assert lowland.verdict([0.3] * 9, [0.1 + 0.2] * 9).outcome == "identical"


def test_equal_differences_of_few_examples_are_no_evidence() -> None:
    assert [lowland.verdict([0] * n, [1] * n).outcome for n in (2, 5, 6)] == [
        "undecided",
        "undecided",
        "better",
    ]


def test_series_with_other_indexes_are_refused() -> None:
    first = pd.Series([1, 0, 1], index=["a", "b", "c"])
    with pytest.raises(Mistake, match="the two series have different indexes"):
        lowland.verdict(first, first.sort_values())
    with pytest.raises(Mistake, match="expected the same seeds in both"):
        lowland.verdict(np.ones((3, 4)), np.ones((2, 4)))
