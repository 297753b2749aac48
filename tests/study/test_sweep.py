"""Sweeps: equal budgets, validation data alone, what is kept, and what is wrong with a storage."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record
from lowland.models.source import ModelSource
from lowland.study import trials
from lowland.study.search import Search, space_of
from lowland.study.sweep import sweep, tuned
from lowland.tasks.examples import TaskData
from lowland.train.choice import MethodChoice
from lowland.train.fitted import Diverged
from lowland.train.job import Job
from lowland.train.settings import Settings
from lowland.train.table import METHODS
from tests.conftest import job_of

Command = Callable[..., tuple[int, str, str]]
Score = Callable[[Job], float]


@pytest.fixture
def jobs(data: TaskData, source: ModelSource, tmp_path: Path) -> list[Job]:
    return [
        job_of(name, data, source, seed=7, out=str(tmp_path), epochs=2)
        for name in ("lora", "flat-lora", "full")
    ]


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Score], list[Job]]:
    """Replace training by a function from a job to its validation score; the jobs are kept in a list."""

    def replace_by(score: Score) -> list[Job]:
        seen: list[Job] = []

        def fit(job: Job, callbacks: Sequence[Any]) -> Any:
            seen.append(job)
            value = score(job)
            for _ in range(job.settings.epochs):
                callbacks[0].on_epoch_end(None, None, None)
                callbacks[0].on_evaluate(None, None, None, metrics={"eval_accuracy": value})
            return SimpleNamespace(validation={"accuracy": value, "loss": -value})

        monkeypatch.setattr(trials, "fit", fit)
        return seen

    return replace_by


def by_rate(job: Job) -> float:
    """A score with its maximum at 1e-3."""
    import math

    return 1 - abs(math.log10(job.settings.lr / 1e-3)) / 10


@pytest.mark.parametrize("name", [name for name in METHODS if name != "bag-of-words"])
def test_the_range_of_a_rate_surrounds_the_methods_default(name: str) -> None:
    choice = MethodChoice.choose(name, Settings())
    method, space = choice.method, space_of(choice, Search())
    default = method.defaults.get("lr", 5e-4)
    assert (space["lr"].low, space["lr"].high) == (default / 10, default * 10)
    strengths = {"rho", "sam_rho", "bar_alpha", "bi_rho", "efm_rho", "mgpo_rho", "ivon_ess"}
    assert set(space) == {"lr", *strengths} & set(method.uses)


def test_a_range_is_wide_enough_for_the_recipes_own_value(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    choice = MethodChoice.choose("lora", Settings(), {"lr": 0.2, "rank": 5})
    space = space_of(choice, Search(search=("lr", "rank")))
    assert (space["lr"].low, space["lr"].high) == (5e-5, 0.2)
    assert space["rank"].choices == (4, 5, 8, 16, 32)
    seen = faked(by_rate)
    sweep([dataclasses.replace(jobs[0], method=choice)], Search(trials=3, search=("lr", "rank")))
    assert (seen[0].settings.lr, seen[0].settings.rank) == (0.2, 5)


def test_every_method_gets_the_same_trials_and_examples(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    seen = faked(by_rate)
    tunings = sweep(jobs, Search(trials=6))
    assert [job.method.label for job in seen] == ["lora", "flat-lora", "full"] * 6  # in turns
    assert {len(tuning.trials) for tuning in tunings.values()} == {6}
    assert {tuning.examples for tuning in tunings.values()} == {6 * 2 * len(jobs[0].data.splits["train"])}
    assert {job.seed for job in seen} == {0}
    assert not any(job.keep_weights for job in seen)
    assert [job.settings.lr for job in seen[:3]] == [5e-4, 5e-4, 5e-5]  # the recipe's own


def test_the_best_is_kept_and_more_trials_find_better_ones(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    seen = faked(by_rate)
    tuning = sweep(jobs[:1], Search(trials=12))["lora"]
    best = max(seen, key=by_rate)
    assert tuning.best == {"lr": best.settings.lr}
    curve = tuning.best_so_far
    assert curve == sorted(curve)
    assert curve[-1] == by_rate(best) > curve[0]
    assert tuning.describe()["space"] == {"lr": [5e-5, 5e-3]}


def test_of_equal_scores_the_smaller_loss_wins(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.5, 0.2, 0.4])
    rates: list[float] = []

    def fit(job: Job, callbacks: Sequence[Any]) -> Any:
        rates.append(job.settings.lr)
        return SimpleNamespace(validation={"accuracy": 0.5, "loss": next(losses)})

    monkeypatch.setattr(trials, "fit", fit)
    assert sweep(jobs[:1], Search(trials=3))["lora"].best == {"lr": rates[1]}


def test_a_rank_brings_its_alpha(jobs: list[Job], faked: Callable[[Score], list[Job]]) -> None:
    seen = faked(by_rate)
    tuning = sweep(jobs[:1], Search(trials=4, search=("rank",)))["lora"]
    assert all(job.settings.alpha == 2 * job.settings.rank for job in seen)
    lora, flat, _ = tuned(jobs, {"lora": tuning})
    assert lora.settings.rank == tuning.best["rank"]
    assert lora.settings.alpha == 2 * lora.settings.rank
    assert lora.method.as_recipe() == {"lora": {"rank": lora.settings.rank, "alpha": lora.settings.alpha}}
    assert lora.tuning["best"] == tuning.best
    assert flat is jobs[1]


def test_a_sweep_goes_on_where_it_was_stopped(jobs: list[Job], faked: Callable[[Score], list[Job]]) -> None:
    seen = faked(by_rate)
    whole = sweep(jobs[:2], Search(trials=5, storage=None))
    count = len(seen)

    def killed(job: Job) -> float:
        if len(seen) == count + 4:
            raise KeyboardInterrupt
        return by_rate(job)

    other = [replace_out(job, "other") for job in jobs[:2]]
    seen = faked(killed)
    count = 0
    with pytest.raises(KeyboardInterrupt):
        sweep(other, Search(trials=5))
    seen = faked(by_rate)
    again = sweep(other, Search(trials=5))
    assert len(seen) == 2 * 5 - 3  # the fourth was lost
    assert {label: len(tuning.trials) for label, tuning in again.items()} == {"lora": 5, "flat-lora": 5}
    assert again["lora"].best_so_far[0] == whole["lora"].best_so_far[0]
    faked(by_rate)
    assert sweep(other, Search(trials=5)) == again


def replace_out(job: Job, name: str) -> Job:
    return dataclasses.replace(job, out=job.out / name)


def test_the_best_scores_are_said_while_it_lasts(
    jobs: list[Job], faked: Callable[[Score], list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowland.ground.progress.SECONDS", 0.0)
    faked(by_rate)
    stream = io.StringIO()
    outcome = sweep(jobs[:2], Search(trials=3, storage=None), Progress(stream))
    lines = [line for line in stream.getvalue().splitlines() if "best so far" in line]
    first = {label: tuning.best_so_far[0] for label, tuning in outcome.items()}
    assert lines[0].startswith("1 of 6 trials, 0 s; best so far on validation data: lora ")
    assert f"lora {first['lora']:.3f}, flat-lora {first['flat-lora']:.3f}" in lines[1]
    assert f"lora {outcome['lora'].best_so_far[-1]:.3f}, " in lines[-1]


def test_a_trial_that_was_interrupted_is_made_again(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    def killed(job: Job) -> float:
        raise KeyboardInterrupt

    faked(killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(jobs[:1], Search(trials=4))
    seen = faked(by_rate)
    again = sweep(jobs[:1], Search(trials=4))
    assert seen[0].settings.lr == 5e-4  # the recipe's own
    whole = sweep([replace_out(jobs[0], "whole")], Search(trials=4))
    assert again == whole


def test_the_recipes_own_settings_are_tried_even_if_their_trial_was_lost(
    jobs: list[Job], faked: Callable[[Score], list[Job]], tmp_path: Path
) -> None:
    """In a shared storage, the lost trial stays there as one that seems to run."""

    def killed(job: Job) -> float:
        raise KeyboardInterrupt

    search = Search(trials=3, storage=f"sqlite:///{tmp_path / 'trials.db'}")
    faked(killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(jobs[:1], search)
    seen = faked(by_rate)
    sweep(jobs[:1], search)
    assert [job.settings.lr == 5e-4 for job in seen] == [True, False, False]


def test_trials_that_diverge_count_and_are_not_chosen(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    def score(job: Job) -> float:
        if job.settings.lr != 5e-4:
            raise Diverged("loss is nan")
        return 0.5

    faked(score)
    tuning = sweep(jobs[:1], Search(trials=3))["lora"]
    assert tuning.best == {"lr": 5e-4}
    assert [trial["state"] for trial in tuning.trials] == ["complete", "fail", "fail"]
    assert tuning.best_so_far == [0.5, 0.5, 0.5]

    def always(job: Job) -> float:
        raise Diverged("loss is nan")

    faked(always)
    with pytest.raises(Mistake, match="no trial of full gave a score: all 2 diverged"):
        sweep(jobs[2:], Search(trials=2))


def test_trials_are_stopped_early_only_on_request(
    jobs: list[Job], faked: Callable[[Score], list[Job]]
) -> None:
    scores = iter([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1] * 2)
    faked(lambda job: next(scores))
    plain = sweep(jobs[:1], Search(trials=8))["lora"]
    assert {trial["state"] for trial in plain.trials} == {"complete"}
    pruned = sweep(jobs[:1], Search(trials=8, prune=True))["lora"]
    assert [trial["state"] for trial in pruned.trials] == ["complete"] * 6 + ["pruned"] * 2
    assert pruned.examples < plain.examples


def test_several_processes_share_a_storage(
    jobs: list[Job], faked: Callable[[Score], list[Job]], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    seen = faked(by_rate)
    sweep(jobs[:1], Search(trials=2, storage=url))
    sweep([replace_out(jobs[0], "elsewhere")], Search(trials=4, storage=url))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"storage": "nosuchdb://x"}, "the storage of the trials, nosuchdb://x, cannot be used"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, "cannot be used"),
        (
            {"search": ("dropout",)},
            "there is nothing to search: full uses none of dropout; take another method",
        ),
    ],
)
def test_what_cannot_be_searched_is_said(jobs: list[Job], options: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(Mistake) as mistake:
        sweep(jobs[2:], Search(trials=1, **options))
    assert problem in str(mistake.value)


def test_a_study_is_tuned_then_tested_with_fresh_seeds(
    lowland: Command, texts: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--task", "classification", "--data", texts, "--model", tiny_model, "--out", tmp_path / "runs")
    words = (*map(str, options), "--epochs", "1", "--seeds", "1", "2")
    from lowland.study import run as running

    tested: list[int] = []
    real = running.test
    monkeypatch.setattr(
        running, "test", lambda fitted, *rest: tested.append(fitted.job.seed) or real(fitted, *rest)
    )
    methods = ("--methods", "lora", "full", "bag-of-words")
    code, out, err = lowland("compare", *methods, "--tune", "2", *words, small=False)
    assert code == 0, err
    assert sorted(tested) == [1, 1, 1, 2, 2, 2]  # no trial reads a test set
    assert "Settings were searched on validation data, with 2 trials for each method" in out
    assert "Not searched, since it uses none of these settings: bag-of-words." in out
    records = [read_record(folder) for folder in (tmp_path / "runs").glob("classification-*")]
    by_label = {record.method: record for record in records}
    assert by_label["lora"].asked["method"]["lr"] == by_label["lora"].tuning["best"]["lr"]
    assert len(by_label["full"].tuning["trials"]) == 2
    assert by_label["bag-of-words"].tuning == {}
    code, again, err = lowland("compare", *methods, "--tune", "2", *words, small=False)
    assert again == out
    assert err.count("found") == 6
    code, out, err = lowland("sweep", *methods, "--trials", "2", *words, small=False)
    assert code == 0, err
    assert "As methods of a recipe file:" in out
    assert "validation accuracy" not in err  # the trials are there


def test_the_search_is_shown_though_its_best_runs_were_there(
    lowland: Command, texts: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The first trial has the recipe's own settings, so that the runs of the study are found."""
    options = ("--task", "classification", "--data", texts, "--model", tiny_model, "--out", tmp_path / "runs")
    words = ("compare", "--methods", "lora", "--seeds", "1", "2", "--epochs", "1", *map(str, options))
    code, out, err = lowland(*words, small=False)
    assert code == 0, err
    assert "Settings were searched" not in out
    code, out, err = lowland(*words, "--tune", "1", small=False)
    assert code == 0, err
    assert err.count("found") == 2
    assert "Settings were searched on validation data, with 1 trial for each method" in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("compare", "--search", "lr"), "--search is given, and no settings are searched; add --tune N"),
        (("compare", "--tune", "0"), "tune is 0; it must be at least 1"),
        (
            ("compare", "--tune", "2", "--search-seed", "42"),
            "search_seed is 42, which is also a seed of the study",
        ),
        (("sweep", "--trials", "x", "--epochs", "0"), "trials is 'x'"),
        (("sweep", "--trials", "x", "--epochs", "0"), "epochs is 0"),
        (("sweep", "--search", "alpha"), "alpha"),
        (("sweep", "--trials", "100"), "the study has 300 runs (3 methods, each with 100 trials); add --yes"),
    ],
)
def test_mistakes_are_sentences(lowland: Command, words: tuple[str, ...], problem: str) -> None:
    code, _, err = lowland(*words, small=False)
    assert code == 2
    assert problem in err


def test_optuna_is_named_where_it_is_missing(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(Mistake, match=r"needs the package optuna; pip install 'lowland\[sweep\]'"):
        sweep(jobs[:1], Search(trials=1))


def test_a_wrong_setting_is_one_mistake() -> None:
    with pytest.raises(Mistake) as raised:
        Search(search=["foo"])
    assert raised.value.problems == (
        "unknown search 'foo'; Allowed: lr, rho, sam_rho, bar_alpha, bi_rho, efm_rho, mgpo_rho,"
        " ivon_ess, rank, dropout",
    )
