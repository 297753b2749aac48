"""Error analysis. Oracles: scikit-learn, cleanlab, counts by hand, and planted effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_self_confidence_for_each_label
from sklearn.metrics import confusion_matrix

from lowland.evidence.categories import category_scores, recorded_categories, rule_categories
from lowland.evidence.core.arrays import check_groups
from lowland.evidence.errors import analyse
from lowland.evidence.readers.answers import Answers, MethodAnswers
from lowland.evidence.wrong_examples import changes, churn, confident_mistakes, confusion, never_right

LABELS = ("bad", "good", "none")


def answers_of(
    seed=0, *, methods=("lora", "full"), seeds=3, examples=120, skill=3.0, wrong_labels=(), categories=None
):
    """Predictions of runs whose probabilities are larger for the true class; some recorded labels may be wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=examples)
    recorded = true.copy()
    recorded[list(wrong_labels)] = (true[list(wrong_labels)] + 1) % 3
    runs = {}
    for method in methods:
        logits = rng.normal(0, 1, (seeds, examples, 3)) + skill * np.eye(3)[true]
        shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        chosen = shares.argmax(axis=2)
        runs[method] = MethodAnswers(
            seeds=tuple(range(seeds)),
            scores=(chosen == recorded).astype(float),
            predicted=np.array(LABELS, dtype=object)[chosen],
            probabilities=shares,
        )
    about = pd.DataFrame(
        {
            "example": np.arange(examples) + 100,
            "group": [f"g{n}" for n in range(examples)],
            "category": [""] * examples if categories is None else categories,
            "text": [f"text {n}" for n in range(examples)],
            "label": np.array(LABELS, dtype=object)[recorded],
        }
    )
    return Answers(about, LABELS, runs, "toy")


def test_confusions_are_those_of_scikit_learn():
    answers = answers_of(skill=1.0)
    expected = np.mean(
        [
            confusion_matrix(answers.examples["label"], run, labels=LABELS)
            for run in answers.methods["lora"].predicted
        ],
        axis=0,
    )
    assert confusion(answers, "lora") == pytest.approx(expected)


def test_changes_count_seeds_by_hand():
    ours = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1]], dtype=float)
    theirs = np.array([[0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=float)
    base = answers_of(examples=4, methods=("a",))
    methods = {
        "a": MethodAnswers((1, 2, 3), ours, None, None),
        "b": MethodAnswers((3, 2, 1), theirs[::-1], None, None),
        "c": MethodAnswers((9,), theirs[:1], None, None),
    }
    answers = Answers(base.examples, (), methods, "toy")
    changed = changes(answers, "a", "b")
    assert changed.seeds == (1, 2, 3)
    assert list(changed.fixed) == [3, 0, 0, 1]
    assert list(changed.broken) == [0, 1, 0, 1]
    assert changed.share == pytest.approx(6 / 12)
    assert changes(answers, "a", "c") is None
    assert churn(methods["a"]) == pytest.approx(np.mean([2 / 4, 2 / 4, 0]))
    assert np.isnan(churn(methods["c"]))


def test_wrong_labels_come_first_as_cleanlab_ranks_them():
    planted = [3, 17, 44, 90]
    answers = answers_of(2, wrong_labels=planted, skill=6.0)
    listed = never_right(answers)
    assert {each.row for each in listed[:4]} == set(planted)
    shares = np.mean(
        np.concatenate([each.probabilities for each in answers.methods.values()]), axis=0
    )  # (N, K)
    numbers = np.array([LABELS.index(label) for label in answers.examples["label"]])
    quality = get_self_confidence_for_each_label(numbers, shares)
    for each in listed:
        assert each.label_probability == pytest.approx(quality[each.row])
    assert [each.row for each in listed] == sorted(
        (each.row for each in listed), key=lambda row: quality[row]
    )
    issues = find_label_issues(numbers, shares, return_indices_ranked_by="self_confidence")
    assert len(set(issues) & set(planted)) >= 3  # it wants more certainty for its own verdict


def test_an_example_that_one_run_gets_right_is_not_never_right():
    answers = answers_of(2, wrong_labels=[5], skill=8.0)
    assert [each.row for each in never_right(answers)] == [5]
    answers.methods["full"].scores[1, 5] = 1.0
    assert never_right(answers) == []


def test_confident_mistakes_come_in_order_and_need_half_of_the_seeds():
    each = answers_of(4, skill=1.0).methods["lora"]
    mistakes = confident_mistakes(each)
    assert [m.confidence for m in mistakes] == sorted((m.confidence for m in mistakes), reverse=True)
    wrong = (each.right == 0).sum(axis=0)
    assert {m.row for m in mistakes} == {n for n in range(120) if wrong[n] >= 2}
    for m in mistakes:
        seeds = each.right[:, m.row] == 0
        assert m.seeds == seeds.sum()
        assert m.confidence == pytest.approx(each.confidence[seeds, m.row].mean())


def test_the_gap_of_a_category_is_the_difference_of_means_with_its_standard_error():
    answers = answers_of(5, skill=1.0, seeds=1, methods=("lora",))
    mask = np.arange(120) < 40
    [scores] = category_scores(answers, {"first": mask})
    right = answers.methods["lora"].right[0]
    inside, outside = right[mask], right[~mask]
    assert scores.gap.difference == pytest.approx(inside.mean() - outside.mean())
    error = np.sqrt(inside.var() / 40 + outside.var() / 80) * np.sqrt(120 / 119)
    assert scores.gap.standard_error == pytest.approx(error)
    assert scores.accuracy["lora"] == pytest.approx(inside.mean())


def test_a_category_that_is_harder_is_found_and_an_equal_one_is_not():
    names = np.where(np.arange(300) % 3 == 0, "hard", np.where(np.arange(300) % 3 == 1, "even", "odd"))
    answers = answers_of(6, examples=300, skill=2.0, categories=list(names))
    for each in answers.methods.values():
        each.scores[:, (names == "hard") & (np.arange(300) % 2 == 0)] = 0.0
    scores = {each.name: each for each in category_scores(answers, recorded_categories(answers))}
    assert scores["hard"].is_harder
    assert not scores["even"].is_harder
    assert scores["hard"].count == 100


def test_gaps_of_equal_categories_are_seldom_taken_for_real():
    false = 0
    for seed in range(200):
        answers = answers_of(seed, examples=90, skill=1.0, methods=("lora",))
        [scores] = category_scores(answers, {"third": np.arange(90) % 3 == 0})
        false += scores.gap.p < 0.05
    assert 1 <= false <= 21  # 5 % of 200, give or take four standard errors, of a rule that is not exact


def test_groups_that_are_few_give_no_gap():
    answers = answers_of(1)
    answers.examples["group"] = ["a"] * 60 + ["b"] * 60
    [scores] = category_scores(answers, {"first": np.arange(120) < 60})
    assert scores.gap is None
    assert np.isnan(scores.p_holm)
    assert not scores.is_harder
    assert check_groups(answers.examples["group"], 120).max() == 1


def test_rules_need_texts_and_leave_out_what_holds_for_all_or_none():
    answers = answers_of(1)
    assert set(rule_categories(answers)) == set()
    answers.examples.loc[:30, "text"] = "It did not pay."
    assert set(rule_categories(answers)) == {"negation"}
    answers.examples["text"] = ""
    assert rule_categories(answers) == {}


def test_an_analysis_has_every_part_and_leaves_out_what_is_unknown():
    analysis = analyse(answers_of(7, skill=1.0), method="lora", reference="lora")
    assert [each.method for each in analysis.changes] == ["full"]
    assert set(analysis.confidence) == {"lora", "full"}
    assert analysis.categories == []
    surplus = analysis.confidence["lora"].surplus
    each = analysis.answers.methods["lora"]
    assert surplus.difference == pytest.approx(each.confidence.mean() - each.right.mean())
    bare = {
        name: MethodAnswers(each.seeds, each.scores, None, None)
        for name, each in analysis.answers.methods.items()
    }
    without = analyse(
        Answers(analysis.answers.examples, (), bare, "toy"), method="full", reference="lora", rules=False
    )
    assert without.confidence == {}
    assert without.mistakes == []
    assert all(np.isnan(each.label_probability) for each in without.never_right)


def test_groups_that_are_half_inside_a_category_cancel():
    """Each group has an example inside and one outside with the same outcome: the gap is certainly 0."""
    right = np.random.default_rng(0).integers(0, 2, (2, 40)).astype(float).repeat(2, axis=1)
    base = answers_of(examples=80, methods=("a",), seeds=2)
    base.examples["group"] = [f"g{n // 2}" for n in range(80)]
    answers = Answers(base.examples, (), {"a": MethodAnswers((1, 2), right, None, None)}, "toy")
    [scores] = category_scores(answers, {"even": np.arange(80) % 2 == 0})
    assert scores.gap.difference == pytest.approx(0)
    assert scores.gap.standard_error == pytest.approx(0, abs=1e-9)
