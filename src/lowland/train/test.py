"""Evaluate a trained model on its test sets."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.ground.progress import Remark, no_remark
from lowland.ground.rng import untouched_generators
from lowland.tasks.examples import TRAIN, Encoded, Outputs, Split
from lowland.tasks.truncation import Truncation
from lowland.train.fitted import Diverged, Fitted
from lowland.train.job import Job


@dataclass(frozen=True)
class Evaluation:
    """Result of the evaluation of a trained model on its test sets.

    Attributes:
        scores: scores of the task, by test set.
        predictions: a row for each test example (`lowland.ground.records.PREDICTION_COLUMNS`, then the task's own).
        seconds: duration of the predictions.
        baseline: scores of the task's simplest method, by its name and by test set; empty if it has none.
        class_scores: scores of each class (or kind of example), by test set; empty for a task without.
        truncated: how many examples are longer than the model reads, by test set.
    """

    scores: dict[str, dict[str, float]]
    predictions: pd.DataFrame
    seconds: float
    baseline: dict[str, dict[str, dict[str, float]]]
    class_scores: dict[str, dict[str, dict[str, float]]]
    truncated: dict[str, Truncation]


def test(fitted: Fitted, remark: Remark = no_remark) -> Evaluation:  # noqa: PT028 - not a test
    """Evaluate a trained model on all test sets of its job.

    The global generators are restored afterwards.

    Args:
        fitted: the trained model.
        remark: function that is called with a sentence on anything that a user should know about the predictions.

    Raises:
        Diverged: if an output is not finite.
    """
    job, started = fitted.job, time.perf_counter()
    with untouched_generators():
        splits = {name: job.data.splits[name] for name in job.data.test_sets}
        encoded = {name: fitted.encode(split) for name, split in splits.items()}
        outputs = {name: _outputs(fitted, split, encoded[name]) for name, split in splits.items()}
    seconds = time.perf_counter() - started
    scores, tables = {}, []
    for name, output in outputs.items():
        split = job.data.splits[name]
        table = job.task.predictions(name, split, job.task.decode(output, encoded[name], fitted.setup))
        scores[name] = job.task.summarise(split, table)
        tables.append(table)
        if sentence := encoded[name].truncation.sentence(fitted.setup.max_length, job.max_length):
            remark(f"{name}: {sentence}")
        for sentence in job.task.remarks(split, table):
            remark(f"{name}, {job.method.label}, seed {job.seed}: {sentence}")
    answers = dict(zip(outputs, tables, strict=True))
    return Evaluation(
        scores=scores,
        predictions=pd.concat(tables, ignore_index=True),
        seconds=seconds,
        baseline=_baseline(job),
        class_scores={
            name: job.task.summarise_classes(job.data.splits[name], table) for name, table in answers.items()
        },
        truncated={name: split.truncation for name, split in encoded.items()},
    )


def _baseline(job: Job) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of the task's simplest method, by its name and by test set."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for name in job.data.test_sets:
        split = job.data.splits[name]
        if (answered := job.task.baseline(job.data.splits[TRAIN], split)) is not None:
            method, answers = answered
            scores.setdefault(method, {})[name] = job.task.summarise(split, answers)
    return scores


def _outputs(fitted: Fitted, split: Split, encoded: Encoded) -> Outputs:
    """Return the model's outputs for the examples of a split."""
    outputs = fitted.outputs(split, encoded)
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise Diverged("the trained model's outputs are NaN or infinite; a smaller lr may help")
    return outputs
