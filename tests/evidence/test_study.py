"""Evidence of runs on disk, by method and in pairs. Oracles: pandas, numpy, scikit-learn, joins by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from lowland.evidence import compare_predictions
from lowland.evidence.calibration import false_verdicts
from lowland.evidence.core.spread import Spread
from lowland.evidence.readers.runs import finished, pair_scores
from lowland.evidence.study import (
    MethodScores,
    by_method,
    compare_with_reference,
    dominated,
    false_verdicts_of_study,
    reference_of,
)
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, write_predictions, write_record
from lowland.ground.records import RunRecord

SCORES = ("accuracy", "macro_f1", "weighted_f1")
NAMES = np.array(["negative", "neutral", "positive"])


def record_of(method: str, seed: int, **changes: Any) -> RunRecord:
    """A record with random numbers that depend on method and seed; its accuracy is that of `answers_of`."""
    luck = np.random.default_rng([seed, len(method)])
    record = RunRecord(
        key=f"{method}-{seed}",
        asked={"task": {"name": "toy"}, "method": {"name": method, "label": method}, "seed": seed},
        status="finished",
        data={"sizes": {"train": 90, "test": 40, "shifted": 20}},
        model={"name": "tiny"},
        parameters={"trainable": 100 * len(method), "total": 9000, "share": len(method) / 90},
        scores={
            split: {
                "accuracy": float(answers["score"].mean()),
                **{n: luck.uniform(0.6, 0.9) for n in SCORES[1:]},
            }
            for split, answers in answers_of(method, seed).groupby("split", sort=False)
        },
        code={"version": "0", "sha256": "c0de"},
        environment={"python": "3", "cores": 2},
        cost={"train_seconds": luck.uniform(5, 9), "peak_bytes": luck.uniform(1e8, 2e8)},
    )
    return dataclasses.replace(record, **changes)


def answers_of(method: str, seed: int, *, group_size: int = 1) -> pd.DataFrame:
    """40 rows of test and 20 of shifted, the same examples for every method and seed."""
    same, own = np.random.default_rng(7), np.random.default_rng([seed, *method.encode()])
    label = NAMES[same.integers(3, size=60)]
    number = np.arange(60)
    predicted = np.where(own.random(60) < 0.7, label, NAMES[own.integers(3, size=60)])
    return pd.DataFrame(
        {
            "split": np.where(number < 40, "test", "shifted"),
            "example": 1000 - 7 * number,
            "group": [f"g{n % (40 // group_size)}" for n in number],
            "category": "",
            "score": (predicted == label).astype(float),
            "text": "",
            "label": label,
            "predicted": predicted,
        }
    )


def leave_run(
    root: Path, method: str, seed: int, answers: pd.DataFrame | None = None, **changes: Any
) -> Path:
    """The folder of a run, as a study leaves it."""
    folder = root / f"{method}-{seed}"
    folder.mkdir()
    write_record(folder, record_of(method, seed, **changes))
    write_predictions(folder, answers_of(method, seed) if answers is None else answers)
    return folder


def runs_of(root: Path, *pairs: tuple[str, int], group_size: int = 1) -> dict[Path, RunRecord]:
    root.mkdir(exist_ok=True)
    return finished([leave_run(root, m, s, answers_of(m, s, group_size=group_size)) for m, s in pairs])


# --- by method -------------------------------------------------------------------------------


def test_finished_keeps_the_runs_that_did_not_fail(tmp_path):
    good = leave_run(tmp_path, "lora", 1)
    bad = leave_run(tmp_path, "lora", 0, status="failed", failure="loss is NaN")
    later = leave_run(tmp_path, "flat-lora", 0)
    result = finished([later, bad, good])
    assert list(result) == [later, good]
    assert result[good] == record_of("lora", 1)


@pytest.mark.parametrize("split", ["test", "shifted"])
def test_means_and_deviations_are_those_of_pandas(split):
    records = [record_of(m, s) for s in (4, 0, 2) for m in ("lora", "flat-lora", "full")]
    table = pd.DataFrame(
        {"method": record.method, **record.scores[split], **record.cost, **record.parameters}
        for record in records
    )
    result = by_method(records, split)
    assert [method.method for method in result] == ["lora", "flat-lora", "full"]
    for method in result:
        mine = table[table["method"] == method.method]
        spreads = {**method.scores, "train_seconds": method.seconds, "peak_bytes": method.peak_bytes}
        for name, spread in spreads.items():
            assert spread.mean == pytest.approx(mine[name].mean()), name
            assert spread.sd == pytest.approx(mine[name].std()), name
        assert tuple(method.scores) == SCORES
        assert method.seeds == (4, 0, 2)
        assert (method.trainable, method.share) == (mine["trainable"].iloc[0], mine["share"].iloc[0])


def test_one_seed_has_no_deviation():
    (result,) = by_method([record_of("lora", 3)])
    assert result.scores["accuracy"].mean == record_of("lora", 3).scores["test"]["accuracy"]
    assert math.isnan(result.scores["accuracy"].sd)
    assert math.isnan(result.seconds.sd)


@pytest.mark.parametrize(
    ("methods", "reference"),
    [(["full", "lora", "flat-lora"], "lora"), (["full", "flat-lora"], "full"), (["flat-lora"], "flat-lora")],
)
def test_the_reference_is_lora_or_else_the_first(methods, reference):
    assert reference_of(methods) == reference


# --- in pairs --------------------------------------------------------------------------------


def scores_by_hand(root: Path, method: str, seed: int, metric: str, split: str) -> float:
    table = read_predictions(root / f"{method}-{seed}")
    table = table[table["split"] == split]
    if metric == "accuracy":
        return accuracy_score(table["label"], table["predicted"])
    average = metric.partition("_")[0]
    return f1_score(table["label"], table["predicted"], average=average, zero_division=0)


@pytest.mark.parametrize("split", ["test", "shifted"])
def test_differences_are_those_of_scikit_learn(tmp_path, split):
    runs = runs_of(tmp_path, *[(m, s) for m in ("flat-lora", "lora") for s in (2, 0, 1)])
    (result,) = compare_with_reference(runs, "lora", split=split)
    ours, theirs = (
        [scores_by_hand(tmp_path, method, seed, "accuracy", split) for seed in (2, 0, 1)]
        for method in ("flat-lora", "lora")
    )
    assert result.per_seed == pytest.approx(np.subtract(ours, theirs))
    assert (result.method, result.reference, result.metric) == ("flat-lora", "lora", "accuracy")
    assert result.seeds == (2, 0, 1)
    assert result.n_examples == {"test": 40, "shifted": 20}[split]


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("split", ["test", "shifted"])
def test_differences_of_predicted_classes_are_those_of_scikit_learn(tmp_path, metric, split):
    runs_of(tmp_path, *[(m, s) for m in ("flat-lora", "lora") for s in (2, 0, 1)])
    number = {name: index for index, name in enumerate(NAMES)}

    def column(method, seed, name):
        table = read_predictions(tmp_path / f"{method}-{seed}")
        return table[table["split"] == split][name].map(number).to_numpy()

    ours, theirs = ([column(m, s, "predicted") for s in (2, 0, 1)] for m in ("flat-lora", "lora"))
    labels = column("lora", 0, "label")
    result = compare_predictions(
        labels, ours, theirs, method="flat-lora", reference="lora", seeds=(2, 0, 1), metric=metric
    )
    ours, theirs = (
        [scores_by_hand(tmp_path, method, seed, metric, split) for seed in (2, 0, 1)]
        for method in ("flat-lora", "lora")
    )
    assert result.per_seed == pytest.approx(np.subtract(ours, theirs))
    assert result.metric == metric
    assert result.n_examples == {"test": 40, "shifted": 20}[split]


def test_the_comparison_names_the_recorded_score_that_it_compares(tmp_path):
    pairs = [(m, s) for m in ("flat-lora", "lora") for s in (0, 1)]
    runs = runs_of(tmp_path, *pairs)

    def named(change):
        changed = {
            folder: dataclasses.replace(record, scores={"test": change(record.scores["test"])})
            for folder, record in runs.items()
        }
        return compare_with_reference(changed, "lora")[0]

    assert named(lambda scores: {"matthews_corrcoef": 0.3, **scores}).metric == "accuracy"
    unnamed = named(lambda scores: {"matthews_corrcoef": 0.3})
    assert unnamed.metric == "mean score"
    assert "in mean score" in unnamed.sentence()


def test_scores_of_any_kind_are_compared(tmp_path):
    """Scores outside [0, 1], as of a regression: the mean difference in the score's unit, without McNemar."""
    pairs = [(m, s) for m in ("flat-lora", "lora") for s in (0, 1, 2)]
    runs = {}
    for number, pair in enumerate(pairs):
        answers = answers_of(*pair)
        answers["score"] = -10 * np.random.default_rng(number).random(60)
        mean = float(answers["score"][:40].mean())
        scores = {"test": {"negative_error": mean}}
        runs |= finished([leave_run(tmp_path, *pair, answers, scores=scores)])
    (result,) = compare_with_reference(runs, "lora")
    means = [record.scores["test"]["negative_error"] for record in runs.values()]
    assert result.per_seed == pytest.approx(np.subtract(means[:3], means[3:]))
    assert (result.metric, result.mcnemar, result.is_share) == ("negative_error", (), False)
    assert "in negative error" in result.sentence()
    assert "points" not in result.sentence()


def test_examples_are_paired_by_number_in_any_order_of_rows(tmp_path):
    pairs = [(m, s) for m in ("lora", "flat-lora") for s in (0, 1, 2)]
    in_order = runs_of(tmp_path / "a", *pairs, group_size=4)
    shuffled = runs_of(tmp_path / "b", *pairs, group_size=4)
    for number, folder in enumerate(shuffled):
        table = read_predictions(folder).sample(frac=1, random_state=number)
        write_predictions(folder, table)
    assert compare_with_reference(shuffled, "lora") == compare_with_reference(in_order, "lora")


def test_seeds_of_only_one_method_are_left_out(tmp_path):
    pairs = [("lora", 0), ("lora", 1), ("lora", 2), ("flat-lora", 2), ("flat-lora", 5), ("flat-lora", 1)]
    result = compare_with_reference(runs_of(tmp_path / "a", *pairs), "lora")
    assert [comparison.seeds for comparison in result] == [(2, 1)]
    shared = [pair for pair in pairs if pair[1] in (1, 2)]
    assert result == compare_with_reference(runs_of(tmp_path / "b", *shared), "lora")


def test_a_method_that_shares_no_seed_is_left_out_and_the_others_keep_their_order(tmp_path):
    pairs = [("full", 0), ("lora", 0), ("flat-lora", 1), ("dora", 0)]
    result = compare_with_reference(runs_of(tmp_path, *pairs), "lora")
    assert [comparison.method for comparison in result] == ["full", "dora"]
    assert not result[0].over_seeds


@pytest.mark.parametrize("group_size", [1, 4])
def test_groups_are_those_of_the_predictions(tmp_path, group_size):
    pairs = [(m, s) for m in ("flat-lora", "lora") for s in (0, 1, 2)]
    (result,) = compare_with_reference(runs_of(tmp_path, *pairs, group_size=group_size), "lora")
    tables = {pair: answers_of(*pair)[:40].iloc[::-1] for pair in pairs}  # examples count downward
    number = {name: index for index, name in enumerate(NAMES)}
    ours, theirs = (
        np.stack([tables[m, s]["predicted"].map(number) for s in range(3)]) for m in ("flat-lora", "lora")
    )
    by_class = compare_predictions(
        tables[pairs[0]]["label"].map(number),
        ours,
        theirs,
        method="flat-lora",
        reference="lora",
        seeds=[0, 1, 2],
        groups=np.arange(40)[::-1] % (40 // group_size),
    )
    assert result == dataclasses.replace(by_class, compared="scores")
    assert result.n_groups == 40 // group_size
    assert ("in 10 groups" in result.sentence()) == (group_size == 4)


def other_numbers(table):
    return table.assign(example=table["example"] + 1)


def other_groups(table):
    return table.assign(group=["another", *table["group"][1:]])


def fewer_rows(table):
    return table[1:]


@pytest.mark.parametrize("change", [other_numbers, other_groups, fewer_rows])
def test_runs_on_different_examples_are_refused(tmp_path, change):
    runs = runs_of(tmp_path, ("lora", 0), ("lora", 1), ("flat-lora", 0), ("flat-lora", 1))
    assert compare_with_reference(runs, "lora")
    write_predictions(tmp_path / "flat-lora-1", change(answers_of("flat-lora", 1)))
    with pytest.raises(Mistake, match="seed 0, and flat-lora, seed 1, were tested on different examples"):
        compare_with_reference(runs, "lora")


def test_runs_on_data_with_other_texts_or_labels_are_refused(tmp_path):
    """The hash of the data covers all texts and labels."""
    first = leave_run(tmp_path, "lora", 0, data={"sha256": "a", "sizes": {"test": 40}})
    runs = finished([first, leave_run(tmp_path, "flat-lora", 0, data={"sha256": "b", "sizes": {"test": 40}})])
    with pytest.raises(Mistake, match="tested on different examples"):
        compare_with_reference(runs, "lora")


@pytest.mark.parametrize(
    ("changes", "entry"),
    [
        ({"scores": {}}, "scores.test"),
        ({"model": {}}, "model.name"),
        ({"data": {"sizes": {"train": 9}}}, "data.sizes"),
        ({"parameters": {"total": 9}}, "parameters.trainable, parameters.share"),
        ({"cost": {"train_seconds": 1.0}}, "cost.peak_bytes"),
        ({"baseline": {"majority": {"test": {"weighted_f1": 0.5}}}}, "baseline.majority.test"),
    ],
)
def test_a_finished_record_without_what_a_report_shows_is_refused(tmp_path, changes, entry):
    with pytest.raises(Mistake, match=f"is damaged: it lacks {entry};"):
        finished([leave_run(tmp_path, "lora", 0, **changes)])


def test_records_of_different_scores_are_refused():
    records = [record_of("lora", 0), record_of("lora", 1, scores={"test": {"pearson": 0.5}})]
    with pytest.raises(Mistake, match="different scores on 'test'"):
        by_method(records)


def test_a_test_set_of_a_single_group_tells_nothing(tmp_path):
    assert (
        compare_with_reference(runs_of(tmp_path, ("lora", 0), ("flat-lora", 0), group_size=40), "lora") == []
    )


def test_the_calibration_is_that_of_each_comparison(tmp_path):
    runs = runs_of(tmp_path, *[(method, seed) for method in ("lora", "full", "dora") for seed in (1, 2, 3)])
    shares = false_verdicts_of_study(runs, "lora")
    assert list(shares) == ["full", "dora"]
    for pair in pair_scores(runs, "lora", "test"):
        assert shares[pair.method] == false_verdicts(pair.scores, pair.scores_reference, pair.groups)


def method_of(name: str, score: float, trainable: int, seconds: float, memory: float) -> MethodScores:
    nan = float("nan")
    return MethodScores(
        name,
        (1,),
        {"accuracy": Spread(score, nan)},
        trainable,
        0.1,
        Spread(seconds, nan),
        Spread(memory, nan),
    )


def test_the_pareto_front_is_that_of_a_search_by_hand():
    methods = [
        method_of("full", 0.81, 1000, 9.0, 50.0),
        method_of("lora", 0.80, 10, 6.0, 30.0),
        method_of("slow", 0.80, 10, 7.0, 30.0),
        method_of("twin", 0.80, 10, 6.0, 30.0),
        method_of("words", 0.70, 5, 1.0, 0.1),
        method_of("worst", 0.60, 2000, 9.0, 60.0),
    ]
    assert dominated(methods) == {"slow": "lora", "worst": "full"}


def test_a_little_less_time_or_memory_is_no_advantage():
    methods = [method_of("a", 0.8, 10, 6.0, 30.0), method_of("b", 0.8, 10, 5.8, 31.0)]
    assert dominated(methods) == {}
    assert dominated([*methods, method_of("c", 0.8, 10, 5.0, 30.5)]) == {"a": "c", "b": "c"}


def test_memory_that_is_not_known_of_all_does_not_count():
    methods = [method_of("a", 0.8, 10, 6.0, 30.0), method_of("b", 0.8, 10, 5.0, 0.0)]
    assert dominated(methods) == {"a": "b"}
    assert dominated(methods[::-1]) == {"a": "b"}
