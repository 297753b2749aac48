"""Shares of a study: `--only` selects runs, and changes neither their names nor their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lowland.ground.mistakes import Mistake
from lowland.ground.store import Store
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.selection import places_of, read_selection, share_of
from tests.study.test_run import recipe

__all__ = ["recipe"]
MakeRecipe = Callable[..., Recipe]
METHODS = ["full", "lora", {"lora": {"rank": 3, "label": "r3"}}, "flat-lora"]


@pytest.fixture
def asked(recipe: MakeRecipe) -> Recipe:
    return recipe(methods=METHODS, seeds=[3, 1, 2])


@pytest.mark.parametrize(
    ("words", "methods", "seeds"),
    [
        ([], {"full", "lora", "r3", "flat-lora"}, {1, 2, 3}),
        (["seed=1"], {"full", "lora", "r3", "flat-lora"}, {1}),
        (["seed=1,3"], {"full", "lora", "r3", "flat-lora"}, {1, 3}),
        (["method=lora"], {"lora"}, {1, 2, 3}),
        (["method=r3, full", "seed=2"], {"full", "r3"}, {2}),
        (["method=flat+lora"], {"flat-lora"}, {1, 2, 3}),  # another name of the method
        (["task=classification", "seed=2"], {"full", "lora", "r3", "flat-lora"}, {2}),
    ],
)
def test_a_share_is_a_part_of_the_plan(
    asked: Recipe, words: list[str], methods: set[str], seeds: set[int]
) -> None:
    jobs, selection = plan(asked), read_selection(words, asked)
    share = share_of(jobs, selection)
    expected = [job for job in jobs if job.method.label in methods and job.seed in seeds]
    assert [(job.name, job.key) for job in share] == [(job.name, job.key) for job in expected]
    part = selection.part_of(asked)
    assert {choice.label for choice in part.methods} == methods
    assert set(part.seeds) == seeds
    assert len(part.methods) * len(part.seeds) == len(share)
    if words:
        assert [job.place for job in share] == [(jobs.index(job) + 1, 12) for job in expected]


def test_shares_that_cover_the_values_cover_the_study(asked: Recipe) -> None:
    jobs = plan(asked)
    shares = [share_of(jobs, read_selection([f"seed={seed}"], asked)) for seed in asked.seeds]
    names = [job.name for share in shares for job in share]
    assert sorted(names) == sorted(job.name for job in jobs)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=4"], "--only seed=4 selects nothing: no run has seed 4; the seeds are 3, 1, 2"),
        (
            ["method=loar"],
            "unknown method 'loar'; did you mean 'lora'? Allowed: full, lora, r3, flat-lora",
        ),
        (["task=mrpc"], "unknown task 'mrpc'; Allowed: classification"),
        (["sed=4"], "--only sed=4: unknown key 'sed'; did you mean 'seed'? Allowed: task, method, seed"),
        (["lora"], "--only lora: unknown key 'lora'"),
        (["method"], "--only method has no value; give one or several, as method=full,lora"),
        (["seed=,"], "--only seed=, has no value; give one or several, as seed=3,1"),
        (["seed=3,,1"], "--only seed=3,,1 has an empty value; give one or several, as seed=3,1"),
        (
            ["method=lora,"],
            "--only method=lora, has an empty value; give one or several, as method=full,lora",
        ),
        (["seed=1", "seed=2"], "--only names seed twice; list all its values behind one equals sign"),
    ],
)
def test_what_selects_nothing_is_a_sentence(asked: Recipe, words: list[str], sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        read_selection(words, asked)
    (problem,) = raised.value.problems
    assert sentence in problem


def test_all_mistakes_are_reported_at_once(asked: Recipe) -> None:
    with pytest.raises(Mistake) as raised:
        read_selection(["seed=4,1,5", "method=x", "y"], asked)
    assert len(raised.value.problems) == 4


def test_the_places_of_runs_that_are_there(asked: Recipe) -> None:
    jobs = plan(asked)
    there = jobs[2].out / jobs[2].name
    there.mkdir(parents=True)
    (there / "record.json").touch()
    slots = [(job.method.label, job.seed) for job in jobs]
    ran = {slots[0]: Path("ran")}
    places = places_of(jobs, ran)
    assert list(places) == slots
    known = {slot: place for slot, place in places.items() if place is not None}
    assert known == {**ran, ("r3", 3): Path(there)}
    with Store(jobs[2].out).claim(jobs[2].name):  # another process runs it again
        assert places_of(jobs, ran)["r3", 3] is None
