"""Confusion matrices of each method."""

from __future__ import annotations

import numpy as np

from lowland.evidence.study_evidence import StudyEvidence
from lowland.evidence.wrong_examples import confusion
from lowland.report.blocks import Beside, Block, Data, Paragraph
from lowland.report.cells import Column, Row

MAX_LABELS = 12
"""Largest number of labels whose matrices are shown whole."""
FREQUENT = 12
"""Number of the most frequent confusions that are shown of more labels."""


def confusion_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build a matrix of each method; of many labels, the most frequent confusions; none for tasks without labels."""
    analysis = evidence.analysis
    if analysis is None or not analysis.answers.labels:
        return []
    answers = analysis.answers
    if any(each.predicted is None for each in answers.methods.values()):
        return []
    counts = {name: confusion(answers, name) for name in evidence.names}
    if len(answers.labels) > MAX_LABELS:
        return [_frequent(answers.labels, counts)]
    intro = Paragraph(
        "Examples by label (rows) and prediction (columns): mean number over seeds. Shaded by the share of the row."
    )
    return [intro, Beside(tuple(_matrix(answers.labels, name, matrix) for name, matrix in counts.items()))]


def _matrix(labels: tuple[str, ...], method: str, counts: np.ndarray) -> Data:
    """Build the matrix of a method, shaded by the share of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns = (
        Column("label", "label"),
        *[Column(label, label, "number", ".1f") for label in labels],
        Column("recall", "recall", "number", ".3f"),
    )
    rows: tuple[Row, ...] = tuple(
        (label, *map(float, row), float(shares[place, place]))
        for place, (label, row) in enumerate(zip(labels, counts, strict=True))
    )
    shades = tuple((None, *map(float, row), None) for row in shares)
    return Data(f"confusion_{method}", method, columns, rows, shades=shades)


def _frequent(labels: tuple[str, ...], counts: dict[str, np.ndarray]) -> Data:
    mean = np.mean(list(counts.values()), axis=0) * (1 - np.eye(len(labels)))
    order = [
        divmod(int(place), len(labels)) for place in np.argsort(-mean, axis=None, kind="stable")[:FREQUENT]
    ]
    columns = (
        Column("label", "label"),
        Column("prediction", "prediction"),
        *[Column(name, name, "number", ".1f") for name in counts],
    )
    rows: tuple[Row, ...] = tuple(
        (labels[i], labels[j], *[float(each[i, j]) for each in counts.values()])
        for i, j in order
        if mean[i, j] > 0
    )
    return Data("confusions", "Most frequent confusions, mean over seeds", columns, rows, heading=2)
