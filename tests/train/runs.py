"""Runs and adapted models for tests: small, and with settings that suit the tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn
from transformers import TrainerCallback

from lowland.models.load import LoadedModel
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train.adapted import AdaptedModel
from lowland.train.choice import MethodChoice
from lowland.train.fit import FittedNetwork, fit
from lowland.train.job import Job
from lowland.train.settings import Settings
from lowland.train.table import METHODS
from lowland.train.test import test as answer_test_sets
from tests.conftest import job_of

NETWORKS = tuple(name for name, row in METHODS.items() if not row.counts_words)
"""The methods that train a network."""
LRS = {
    "rslora": 0.006,
    "lora-plus": 0.001,
    "dora": 0.03,
    "vera": 0.1,
    "ia3": 0.02,
    "head": 0.3,
    "ivon-lora": 10.0,
}
"""Learning rates that suit so small a model; 0.01 for the rest. IVON's largest step is a thousandth of its own."""

OWN = {"mgpo": {"mgpo_rho": 0.01}, "ivon-lora": {"ivon_ess": 1e8}}
"""Strengths of a perturbation that suit so small a model, whose gradients are small."""
SAM_RHO = 0.005
"""Length of SAM's step that suits so small a model; with 0.05 it stays where its loss is that of the start."""


@dataclass(frozen=True)
class Run:
    """A run, trained and tested."""

    fitted: FittedNetwork
    scores: dict[str, dict[str, float]]
    predictions: pd.DataFrame

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.fitted.history

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.history if "loss" in entry]


def small_job(method: str, data: TaskData, source: ModelSource, seed: int = 42, **changes: object) -> Job:
    """A job of two epochs; its lr is set for the method, so that it overrides the method's default."""
    row = method.rpartition("+")[2]
    values = {"epochs": 2, "lr": LRS.get(row, 0.01), "rank": 32 if row == "vera" else 4, "sam_rho": SAM_RHO}
    values |= {**OWN.get(row, {}), **changes}
    return job_of(method, data, source, seed, own={"lr": values.pop("lr")}, **values)


def run_job_of(job: Job, callbacks: Sequence[TrainerCallback] = (), folder: Path | None = None) -> Run:
    """Train and test a job; what it learned is saved in `folder`."""
    fitted = fit(job, callbacks)
    answers = answer_test_sets(fitted)
    if folder is not None:
        fitted.save(folder)
    return Run(fitted, answers.scores, answers.predictions)


def run(
    method: str,
    data: TaskData,
    source: ModelSource,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    folder: Path | None = None,
    **changes: Any,
) -> Run:
    """Train and test `small_job`."""
    return run_job_of(small_job(method, data, source, **changes), callbacks, folder)


def settings_of(name: str, **values: Any) -> Settings:
    """Settings of a method; the rank is 4 unless it is given."""
    return MethodChoice.choose(name, Settings(**{"rank": 4, **values})).settings


def adapt(name: str, model: nn.Module | LoadedModel, seed: int = 1, **values: Any) -> AdaptedModel:
    """Adapt a model by a method with `settings_of`."""
    choice = MethodChoice.choose(name, settings_of(name, **values))
    loaded = model if isinstance(model, LoadedModel) else LoadedModel(model)
    return choice.method.adapt(loaded, choice.settings, seed)
