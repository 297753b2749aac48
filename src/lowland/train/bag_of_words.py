"""Train the bag of words: the method without a network, which says what fine-tuning is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.bag_of_words import BagOfWords
from lowland.tasks.base import Task
from lowland.tasks.examples import TRAIN, VALIDATION, Encoded, Outputs, Split
from lowland.train.cost import Meter
from lowland.train.fitted import Fitted
from lowland.train.job import Job

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Values of C, the inverse of the regularisation, of which the best on the validation set is taken."""


@dataclass(frozen=True)
class FittedBagOfWords(Fitted):
    """Trained bag of words.

    Attributes:
        model: the model.
    """

    model: BagOfWords

    @property
    def model_class(self) -> str:
        """Name of the class in scikit-learn."""
        return "LogisticRegression"

    def encode(self, split: Split) -> Encoded:
        """Return nothing but the number of examples: words are counted, not encoded."""
        return Encoded({}, np.arange(len(split)))

    def outputs(self, split: Split, encoded: Encoded) -> Outputs:
        """Return the logits (n, labels) of the examples of a split."""
        return {"logits": self.model.logits(_texts(self.job.task, split))}

    def save(self, folder: Path) -> None:
        """Save the model in `model/`."""
        self.model.save(folder / "model")


def fit_bag_of_words(job: Job) -> FittedBagOfWords:
    """Train a bag of words for each of `STRENGTHS`, and keep the one with the best score on the validation set.

    Nothing is random, so it is the same for every seed.

    Raises:
        Mistake: if the task is not a classification of texts, or no text has a word.
    """
    task, data = job.task, job.data
    if problem := unfit_for_words(task):
        raise Mistake(problem)
    setup = job.setup(None)
    train, validation = data.splits[TRAIN], data.splits[VALIDATION]
    names = {name: number for number, name in enumerate(data.label_names)}
    labels = [names[label] for label in train[task.target_column]]
    scores: dict[float, dict[str, float]] = {}
    models: dict[float, BagOfWords] = {}
    with Meter() as meter:
        for strength in STRENGTHS:
            model = BagOfWords.train(_texts(task, train), labels, len(names), strength)
            logits = model.logits(_texts(task, validation))
            answers: pd.DataFrame = task.decode(
                {"logits": logits}, Encoded({}, np.arange(len(validation))), setup
            )
            loss = _log_loss(logits, [names[label] for label in validation[task.target_column]])
            models[strength] = model
            scores[strength] = {**task.summarise(validation, answers), "loss": loss}
    best = max(STRENGTHS, key=lambda strength: scores[strength][task.scores[0]])  # the smallest of equals
    count = models[best].parameter_count
    return FittedBagOfWords(
        job=job,
        setup=replace(setup, chosen={"C": best}),
        history=[
            {"C": strength, **{f"eval_{name}": value for name, value in values.items()}}
            for strength, values in scores.items()
        ],
        validation=scores[best],
        parameters={"trainable": count, "total": count, "share": 1.0},
        cost={"train_seconds": meter.seconds, "peak_bytes": meter.peak_bytes},
        truncated={},
        model=models[best],
    )


def unfit_for_words(task: Task) -> str | None:
    """Return why a task cannot be learned from word counts, in a sentence; None if it can."""
    if task.has_classes and task.reads == "text":
        return None
    return f"bag-of-words classifies texts, and the task {task.name} does not; leave bag-of-words out"


def _texts(task: Task, split: Split) -> list[tuple[str, ...]]:
    return [split[name] for name in task.input_columns]


def _log_loss(logits: np.ndarray, labels: list[int]) -> float:
    from scipy.special import log_softmax

    return float(-log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean())
