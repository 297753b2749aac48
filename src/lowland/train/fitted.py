"""Trained model: what a method's training returns, and what a test and a record need of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.tasks.examples import Encoded, Outputs, Setup, Split
from lowland.tasks.truncation import Truncation
from lowland.train.job import Job

History = list[dict[str, Any]]
"""Log of a training: a mapping for each entry, without the Trainer's summary, which speaks of its last call alone."""


class Diverged(RuntimeError):
    """The training loss, or the model's output, is not finite."""


@dataclass(frozen=True)
class Fitted(ABC):
    """Trained model, with its training history, validation scores and cost.

    Attributes:
        job: the job.
        setup: tokenizer or image processor, length, label names, and what was chosen on validation data.
        history: the log of the training.
        validation: scores on the validation set after the last epoch, and the loss.
        parameters: counts `trainable` and `total`, and `share`.
        cost: `train_seconds` and `peak_bytes`.
        truncated: how many examples are longer than `max_length`, by split.
    """

    job: Job
    setup: Setup
    history: History
    validation: dict[str, float]
    parameters: dict[str, float]
    cost: dict[str, float]
    truncated: Mapping[str, Truncation]

    @property
    @abstractmethod
    def model_class(self) -> str:
        """Name of the model's class."""

    @abstractmethod
    def encode(self, split: Split) -> Encoded:
        """Return the examples of a split as the model reads them."""

    @abstractmethod
    def outputs(self, split: Split, encoded: Encoded) -> Outputs:
        """Return the model's outputs for the examples of a split."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save the trained weights in a run's folder: in `adapter/` or in `model/`.

        Raises:
            OSError: if the weights cannot be written.
        """
