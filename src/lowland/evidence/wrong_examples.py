"""Examples that runs get wrong: confusions, changes from one method to another, and mistakes of every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lowland.evidence.core.metrics import Floats, Ints
from lowland.evidence.readers.answers import Answers, MethodAnswers


@dataclass(frozen=True)
class Changes:
    """Examples that a method gets right and a reference wrong, or the reverse, with the same seed.

    Attributes:
        method: name of the method.
        reference: name of the reference.
        seeds: the S seeds that both have.
        fixed: (N,) number of seeds in which the method is right and the reference wrong.
        broken: (N,) number of seeds in which the method is wrong and the reference right.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    fixed: Ints
    broken: Ints

    @property
    def share(self) -> float:
        """Share of the predictions that are right for one of both only, 0 to 1."""
        return float((self.fixed + self.broken).mean() / len(self.seeds))


@dataclass(frozen=True)
class NeverRight:
    """Example that every run gets wrong: the label may be an error, or the example hard.

    Attributes:
        row: row of the example.
        predicted: the prediction that most runs share; "" if predictions are not known.
        agreement: share of the runs that predict it.
        label_probability: mean over runs of the probability of the label; NaN if it is not known.
    """

    row: int
    predicted: str
    agreement: float
    label_probability: float


@dataclass(frozen=True)
class ConfidentMistake:
    """Example that a method gets wrong in most seeds, and how sure it is.

    Attributes:
        row: row of the example.
        predicted: the wrong prediction of the surest seed.
        confidence: mean confidence of the wrong predictions, over seeds.
        seeds: number of seeds that get it wrong.
    """

    row: int
    predicted: str
    confidence: float
    seeds: int


def confusion(answers: Answers, method: str) -> Floats:
    """Count predictions by label (rows) and predicted class (columns), (K, K): means over seeds.

    Raises:
        ValueError: if the task has no classes.
    """
    predicted = answers.methods[method].predicted
    if not answers.labels or predicted is None:
        raise ValueError("the task has no classes")
    number = {label: place for place, label in enumerate(answers.labels)}
    truth = [number[label] for label in answers.examples["label"]]
    counts = np.zeros((len(number), len(number)))
    for run in predicted:
        np.add.at(counts, (truth, [number[label] for label in run]), 1.0)
    return counts / len(predicted)


def changes(answers: Answers, method: str, reference: str) -> Changes | None:
    """Find the examples that a method fixes or breaks against a reference; None if they share no seed."""
    ours, theirs = answers.methods[method], answers.methods[reference]
    seeds = tuple(seed for seed in ours.seeds if seed in theirs.seeds)
    if not seeds:
        return None
    right, right_reference = (
        each.right[[each.seeds.index(seed) for seed in seeds]] == 1 for each in (ours, theirs)
    )
    return Changes(
        method,
        reference,
        seeds,
        fixed=(right & ~right_reference).sum(axis=0),
        broken=(~right & right_reference).sum(axis=0),
    )


def churn(answers: MethodAnswers) -> float:
    """Return the share of predictions that are right in only one of two seeds: the mean over pairs of seeds.

    It is NaN with one seed.
    """
    pairs = [float(np.abs(first - second).mean()) for first, second in combinations(answers.right, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def never_right(answers: Answers) -> list[NeverRight]:
    """Return the examples that every run gets wrong, those whose label the runs find least likely first.

    The mean probability of the label is what confident learning calls self-confidence (C. G. Northcutt, L. Jiang, I. L.
    Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021).
    """
    methods = list(answers.methods.values())
    wrong = np.all([each.right.max(axis=0) == 0 for each in methods], axis=0)
    probability = _label_probability(answers)
    rows = []
    for row in np.flatnonzero(wrong):
        predicted = [
            label for each in methods if each.predicted is not None for label in each.predicted[:, row]
        ]
        label, count = _most_frequent(predicted)
        share = count / len(predicted) if predicted else float("nan")
        rows.append(NeverRight(int(row), label, share, float(probability[row])))
    return sorted(rows, key=lambda each: (np.nan_to_num(each.label_probability, nan=1.0), each.row))


def _label_probability(answers: Answers) -> Floats:
    """Return the mean over runs of the probability of each example's label (N,); NaN where it is not known."""
    known = [each.probabilities for each in answers.methods.values() if each.probabilities is not None]
    if not known:
        return np.full(len(answers.examples), np.nan)
    place = [answers.labels.index(label) for label in answers.examples["label"]]
    return np.asarray(np.concatenate(known)[:, np.arange(len(place)), place].mean(axis=0))


def _most_frequent(labels: Sequence[str]) -> tuple[str, int]:
    """Return the most frequent label, the first by name among equals, and how often it occurs; "" and 0 of none."""
    if not labels:
        return "", 0
    counts = {label: labels.count(label) for label in sorted(set(labels))}
    most = max(counts, key=lambda label: counts[label])
    return most, counts[most]


def confident_mistakes(answers: MethodAnswers) -> list[ConfidentMistake]:
    """Return the examples that at least half of the seeds get wrong, the most confident mistakes first."""
    if answers.confidence is None or answers.predicted is None:
        return []
    wrong = answers.right == 0
    mistakes = []
    for row in np.flatnonzero(wrong.mean(axis=0) >= 0.5):
        seeds = np.flatnonzero(wrong[:, row])
        confidence = answers.confidence[seeds, row]
        surest = seeds[int(confidence.argmax())]
        mistakes.append(
            ConfidentMistake(
                int(row), str(answers.predicted[surest, row]), float(confidence.mean()), len(seeds)
            )
        )
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.row))
