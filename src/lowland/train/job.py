"""Job: one run to train and test, with everything that it needs. Jobs can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lowland
from lowland.ground.asked import plain
from lowland.ground.records import RECORD_VERSION
from lowland.ground.store import key_of
from lowland.models.formats import NumberFormat
from lowland.models.source import ModelSource
from lowland.tasks.base import Task
from lowland.tasks.examples import Setup, TaskData, TaskFields, Tokenizer
from lowland.tasks.table import task_named
from lowland.train.choice import MethodChoice
from lowland.train.settings import Settings
from lowland.train.trackers import TrackerName

PATH_FIELDS = ("data", "test_data")
"""Fields of a task that are paths; a run's key contains a hash of the data instead."""


@dataclass(frozen=True)
class Job:
    """A training run to execute: a method, a seed and a task, with the loaded data and the resolved model.

    Attributes:
        fields: fields of the task, as requested.
        method: method with its settings.
        seed: seed of the run.
        model: name, folder or file under which the base model is found again; as requested, except where a package
            stands in for a model of the hub.
        revision: revision of a model on the hub, as requested.
        max_length: number of tokens after which a text is cut off.
        dtype: number format of training, test and `lowland predict`. Weights are saved in fp32.
        compile: whether to use torch.compile.
        keep_weights: whether to save the trained weights in the run's folder.
        data: data of the task.
        source: local folder and hashes of the model.
        out: folder of the runs, or its URL.
        tuning: how the method's settings were searched, for the record; empty if they were not.
        trackers: trackers that the training is logged to, which are no part of the request: they change nothing.
        place: number in its study, from 1 on, and number of the study's runs, for reports of a share; None for reports
            that count the jobs at hand.
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
    out: Path | str
    tuning: Mapping[str, Any] = field(default_factory=dict)
    trackers: tuple[TrackerName, ...] = ()
    place: tuple[int, int] | None = None

    @property
    def task(self) -> Task:
        """The task's object."""
        return task_named(self.fields.name)

    def setup(self, tokenizer: Tokenizer) -> Setup:
        """Return what encoding and decoding depend on, before anything is chosen on validation data."""
        return Setup(self.fields, tokenizer, self.max_length, self.data.label_names)

    @property
    def settings(self) -> Settings:
        """The method's settings."""
        return self.method.settings

    def with_settings(self, **values: Any) -> Job:
        """Return the job with other settings of its method."""
        choice = self.method
        settings = choice.settings.replace(**values)
        return replace(self, method=choice.replace(settings=settings, own=choice.own | set(values)))

    def asked(self) -> dict[str, Any]:
        """Return the request as plain values for a record, with those settings that the method uses."""
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
        """Hash of the request and lowland's version; data and model enter by their SHA-256, not by name or path.

        The method's label is left out.
        """
        asked = self.asked()
        asked["task"] = {name: value for name, value in asked["task"].items() if name not in PATH_FIELDS}
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
