"""List of the examples that runs get wrong, small enough to stand in a page."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from lowland.evidence.categories import rule_categories
from lowland.evidence.core.metrics import Floats
from lowland.evidence.errors import ErrorAnalysis
from lowland.evidence.readers.answers import MethodAnswers
from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.visible import visible
from lowland.report.blocks import Data, ErrorList, MethodColumns
from lowland.report.cells import Cell, Column, Row

BYTES = 100_000
"""Largest size of the list in a page's JSON; examples that fewer runs get wrong are left out beyond it."""
LONGEST_TEXT, LONGEST_LABEL = 280, 90
"""Number of characters shown of an example's text, and of a label or prediction."""
SHARED = 6
"""Number of columns that stand before those of the methods."""


def error_list(evidence: StudyEvidence, analysis: ErrorAnalysis) -> ErrorList:
    """Build the list of the examples that a run gets wrong, those that most runs get wrong first."""
    answers = analysis.answers
    wrong = {
        name: (1 - each.right).sum(axis=0).astype(int) for name, each in answers.methods.items()
    }  # (N,) each
    total = np.sum(list(wrong.values()), axis=0)
    order = [int(row) for row in np.argsort(-total, kind="stable") if total[row] > 0]
    methods = tuple(_places(analysis, evidence.names))
    kinds = rule_categories(answers) if analysis.rules else {}
    rows: list[Row] = []
    size = 0
    for row in order:
        example = answers.examples.iloc[row]
        cells: list[Cell] = [
            str(example["example"]),
            short(example["text"], LONGEST_TEXT),
            short(example["label"], LONGEST_LABEL),
            short(example["category"], LONGEST_LABEL),
            "; ".join(name for name, mask in kinds.items() if mask[row]),
            int(total[row]),
        ]
        for each in methods:
            cells += _of_method(analysis, each, row)
        size += len(json.dumps(cells, ensure_ascii=False).encode()) + 1
        if size > BYTES:
            break
        rows.append(tuple(cells))
    runs = sum(each.seeds for each in methods)
    caption = f"{_which(len(rows), len(order))} at least one of {runs} runs gets wrong"
    if not any(answers.examples["text"]):
        caption += "; these runs stored no texts, so examples have numbers alone"
    return ErrorList(
        Data("errors", caption, _columns(methods), tuple(rows), heading=2),
        methods,
        runs,
        analysis.reference,
        expected="label" if answers.labels else "right answer",
        has_confidence=any(each.confidence is not None for each in answers.methods.values()),
    )


def _which(shown: int, wrong: int) -> str:
    """Return which examples are listed, in words."""
    if shown == wrong:
        return f"The {shown:,} examples that"
    most = f"The {shown:,} of {wrong:,} examples that the most runs get wrong, as many as a small page holds"
    return f"{most}: those that"


def short(text: object, longest: int) -> str:
    """Return a text on one line, cut to a length, with invisible characters by their numbers."""
    line = visible(" ".join(str(text).split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _places(analysis: ErrorAnalysis, names: Sequence[str]) -> list[MethodColumns]:
    """Return where the columns of each method are."""
    compared = {each.method for each in analysis.changes}
    places, column = [], SHARED
    for method, each in analysis.answers.methods.items():
        is_compared = method in compared
        places.append(
            MethodColumns(
                method, names.index(method), len(each.seeds), column, column + 1, column + 2,
                column + 3 if is_compared else None, column + 4 if is_compared else None,
            )
        )  # fmt: skip
        column += 5 if is_compared else 3
    return places


def _columns(methods: Sequence[MethodColumns]) -> tuple[Column, ...]:
    columns = [
        Column("example", "example"),
        Column("text", "text"),
        Column("label", "label"),
        Column("category", "category"),
        Column("kinds", "kinds of text"),
        Column("wrong", "wrong runs", "number"),
    ]
    for each in methods:
        name = each.method
        columns += [
            Column(f"{name}: wrong", f"{name}: wrong runs", "number"),
            Column(f"{name}: predicted", f"{name}: wrong prediction"),
            Column(f"{name}: confidence", f"{name}: confidence", "number", ".2f"),
        ]
        if each.fixed is not None:
            columns += [
                Column(f"{name}: fixed", f"{name}: fixed", "number"),
                Column(f"{name}: broken", f"{name}: broken", "number"),
            ]
    return tuple(columns)


def _of_method(analysis: ErrorAnalysis, place: MethodColumns, row: int) -> list[Cell]:
    """Return the cells of a method: its wrong runs, what they predict and how surely; what it fixes and breaks."""
    each = analysis.answers.methods[place.method]
    wrong = np.flatnonzero(each.right[:, row] == 0)
    cells: list[Cell] = [len(wrong), _prediction(each, wrong, row), _confidence(each.confidence, wrong, row)]
    if place.fixed is not None:
        (change,) = [change for change in analysis.changes if change.method == place.method]
        cells += [int(change.fixed[row]), int(change.broken[row])]
    return cells


def _prediction(answers: MethodAnswers, wrong: np.ndarray, row: int) -> str | None:
    """Return the most frequent prediction of the wrong runs; None if it is not known or no run is wrong."""
    if answers.predicted is None or not len(wrong):
        return None
    said = [str(answers.predicted[seed, row]) for seed in wrong]
    return short(max(sorted(set(said)), key=said.count), LONGEST_LABEL)


def _confidence(confidence: Floats | None, wrong: np.ndarray, row: int) -> float | None:
    """Return the mean confidence of the wrong runs, to two digits; None if it is not known or no run is wrong."""
    if confidence is None or not len(wrong):
        return None
    return round(float(confidence[wrong, row].mean()), 2)
