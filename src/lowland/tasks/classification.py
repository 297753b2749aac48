"""Text classification: texts with labels, and the scores of an answer. `splits.py` makes the splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Split:
    """Some texts of a task, aligned.

    Attributes:
        texts: n of them.
        labels: (n,) indices into the task's label names.
        examples: (n,) row numbers in the source: the same example has the same number in every run.
        groups: n of them; examples of one group are alike (copies, or made from one template), and so no
            independent evidence.
        categories: n of them; empty strings where the data has none.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    examples: np.ndarray
    groups: tuple[str, ...]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """A task's data.

    Attributes:
        task: its name.
        source: where it came from.
        label_names: sorted; labels are indices into them.
        splits: "train", "validation", "test", and further test sets by their names.
        sha256: of all texts, labels and splits, in order: equal data has equal hashes.
        dropped: rows left out because a later split holds the same text.
    """

    task: str
    source: str
    label_names: tuple[str, ...]
    splits: Mapping[str, Split]
    sha256: str
    dropped: int = 0

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The splits that are for the last evaluation alone, "test" first."""
        return (TEST, *sorted(self.splits.keys() - {TRAIN, VALIDATION, TEST}))

    def describe(self) -> dict[str, Any]:
        """What a record says of the data."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "labels": list(self.label_names),
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "dropped_duplicates": self.dropped,
        }


def score(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1 and weighted F1, each in [0, 1]; a class that is never predicted has F1 0."""
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
    }
