"""A job: one run that is to be trained and tested, with everything that it needs. Jobs can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lowland
from lowland.ground.asked import plain
from lowland.ground.records import RECORD_VERSION
from lowland.ground.store import key_of
from lowland.models.find import ModelSource
from lowland.models.formats import NumberFormat
from lowland.tasks.base import Task, TaskData, TaskFields
from lowland.tasks.table import task_named
from lowland.train.choice import MethodChoice
from lowland.train.settings import Settings

PLACES = ("data", "test_data")
"""Fields of a task that say where files lie; a run's key holds the data's content instead."""


@dataclass(frozen=True)
class Job:
    """One method with one seed on one task: what is asked, and the data and model that were found for it.

    Attributes:
        fields: of the task, as asked.
        method: with its settings.
        seed: of the run.
        model: name or folder of the base model, as asked.
        revision: of a model of the hub, as asked.
        max_length: number of tokens after which a text is cut off.
        dtype: number format of the training. Weights are kept in fp32, and `lowland predict` answers in fp32; the run's
            own test scores are those in `dtype`.
        compile: whether to use torch.compile.
        keep_weights: whether to leave what was learned in the run's folder.
        data: of the task.
        source: of the model.
        out: folder of the runs.
    """

    fields: TaskFields
    method: MethodChoice
    seed: int
    model: str
    revision: str | None
    max_length: int
    dtype: NumberFormat
    compile: bool
    keep_weights: bool
    data: TaskData
    source: ModelSource
    out: Path

    @property
    def task(self) -> Task:
        """The task's object."""
        return task_named(self.fields.name)

    @property
    def settings(self) -> Settings:
        """The method's settings."""
        return self.method.settings

    def asked(self) -> dict[str, Any]:
        """Return what was asked, as plain values for a record: of the settings those that the method uses."""
        return {
            "task": plain(self.fields),
            "method": self.method.as_dict(),
            "seed": self.seed,
            "model": self.model,
            "revision": self.revision,
            "max_length": self.max_length,
            "dtype": self.dtype,
            "compile": self.compile,
            "keep_weights": self.keep_weights,
        }

    @property
    def key(self) -> str:
        """Hash of what was asked, with the data and the model by their content and not by their place."""
        asked = self.asked()
        asked["task"] = {name: value for name, value in asked["task"].items() if name not in PLACES}
        for name in ("model", "revision"):
            del asked[name]
        del asked["method"]["label"]
        for name in ("rank_pattern", "alpha_pattern"):  # the order of their entries matters
            if asked["method"].get(name):
                asked["method"][name] = list(asked["method"][name].items())
        return key_of(
            {
                "asked": asked,
                "data": self.data.sha256,
                "model": [self.source.sha256, self.source.files_sha256],
                "lowland": lowland.__version__,
                "record": RECORD_VERSION,
            }
        )

    @property
    def name(self) -> str:
        """Name of the run's folder, for people: task, method, seed, and the beginning of the key."""
        return f"{self.fields.name}-{self.method.label}-s{self.seed}-{self.key[:10]}"
