"""Testing: a fitted model answers the test sets, once."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.ground.rng import untouched_generators
from lowland.train.fit import Diverged, Fitted, encode


@dataclass(frozen=True)
class Evaluation:
    """The answers of a fitted model to its test sets.

    Attributes:
        scores: by test set, the task's scores.
        predictions: a row for each test example (`lowland.ground.records.PREDICTION_COLUMNS`, then the task's own).
        seconds: that testing took.
    """

    scores: dict[str, dict[str, float]]
    predictions: pd.DataFrame
    seconds: float


def test(fitted: Fitted) -> Evaluation:
    """Answer all test sets of the job's data.

    The global generators are restored afterwards.

    Raises:
        Diverged: if an output is not finite.
    """
    job, started = fitted.job, time.perf_counter()
    with untouched_generators():
        outputs = {name: _outputs(fitted, name) for name in job.data.test_sets}
    seconds = time.perf_counter() - started
    scores, tables = {}, []
    for name, output in outputs.items():
        split = job.data.splits[name]
        table = job.task.predictions(name, split, output, job.data.label_names)
        scores[name] = job.task.summarise(split, table)
        tables.append(table)
    return Evaluation(scores, pd.concat(tables, ignore_index=True), seconds)


def _outputs(fitted: Fitted, name: str) -> npt.NDArray[np.float64]:
    """Return the model's outputs for a split: logits (n, labels) for classification."""
    encoded = encode(fitted.job, name, fitted.tokenizer, fitted.max_length)
    outputs = fitted.trainer.outputs(encoded)
    if not np.isfinite(outputs).all():
        raise Diverged("the trained model answers with numbers that are not finite; a smaller lr may help")
    return outputs
