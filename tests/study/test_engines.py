"""Engines: the place where the jobs of a study run does not change their records."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.progress import Progress
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.train.job import Job


@pytest.fixture
def recipe(tmp_path: Path, texts: Path, tiny_model: Path) -> Callable[..., Recipe]:
    def make(**changes: Any) -> Recipe:
        values = {
            "task": {"name": "classification", "data": str(texts)},
            "model": str(tiny_model),
            "methods": ["lora", {"flat-lora": {"rho": 0.1, "label": "flat"}}],
            "seeds": [1, 2],
            "epochs": 1,
            "rank": 2,
            "dtype": "fp32",
            "keep_weights": False,
            "out": str(tmp_path / "runs"),
        }
        return Recipe(**{**values, **changes})

    return make


def test_jobs_can_be_pickled(recipe: Callable[..., Recipe]) -> None:
    for job in plan(recipe()):
        restored = pickle.loads(pickle.dumps(job))
        assert (restored.key, restored.name, restored.asked()) == (job.key, job.name, job.asked())
        assert restored.data.splits["test"]["text"] == job.data.splits["test"]["text"]


def test_an_engine_gets_the_jobs_and_returns_the_folders(recipe: Callable[..., Recipe]) -> None:
    calls: list[tuple[list[str], bool]] = []

    def engine(jobs: Sequence[Job], fresh: bool, progress: Progress) -> list[Path]:
        calls.append(([job.name for job in jobs], fresh))
        return [Path("a"), Path("b")]

    assert run_study(recipe(), fresh=True, engine=engine) == [Path("a"), Path("b")]
    assert calls == [([job.name for job in plan(recipe())], True)]
