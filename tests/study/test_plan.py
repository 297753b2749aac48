"""A plan looks up data and model, and reports the mistakes of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.ground.mistakes import Mistake
from lowland.study.plan import plan
from lowland.study.recipe import Recipe


def test_mistakes_in_the_data_and_in_the_model_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text,label\na,x\n,y\n")
    recipe = Recipe(
        task={"name": "classification", "data": str(tmp_path / "texts.csv")}, model=str(tmp_path / "none")
    )
    with pytest.raises(Mistake) as caught:
        plan(recipe)
    problems = caught.value.problems
    assert any("1 row without a text" in problem for problem in problems)
    assert any("has one label only" in problem for problem in problems)
    assert any(str(tmp_path / "none") in problem for problem in problems)


def test_every_seed_has_all_methods_before_the_next_begins(
    tmp_path: Path, tiny_model: Path, texts: Path
) -> None:
    recipe = Recipe(
        task={"name": "classification", "data": str(texts)},
        model=str(tiny_model),
        methods=["full", "lora"],
        seeds=[3, 1],
    )
    assert [(job.seed, job.method.label) for job in plan(recipe)] == [
        (3, "full"), (3, "lora"), (1, "full"), (1, "lora"),
    ]  # fmt: skip
