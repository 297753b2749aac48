"""Stress tests: a heat map of scores under each condition, dose and response, and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from lowland.evidence.behaviour import behaviour_evidence
from lowland.evidence.core.by_item import Estimate
from lowland.evidence.damage import Dose
from lowland.evidence.readers.stress_rows import Cell, split_rows
from lowland.evidence.stress import StressEvidence, stress_evidence
from lowland.evidence.stress_adapters import AdapterEvidence, adapter_evidence
from lowland.ground.mistakes import Mistake
from lowland.ground.records import StressRecord, title_of
from lowland.ground.visible import visible
from lowland.report.behaviour import overall_sentence
from lowland.report.blocks import Block, Bullets, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell as Entry
from lowland.report.cells import Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.svg import Drawing
from lowland.report.sections.stress_examples import damaged_example_blocks
from lowland.report.stress_adapters import drop_difference_sentence
from lowland.report.stress_record import completeness
from lowland.report.stress_trained import about_questions, compared_sets, trained_rows
from lowland.report.wording import cell_name

StressTest = tuple[StressRecord, pd.DataFrame]
"""A stress test's record and its rows."""


def stress_sections(tests: Sequence[StressTest], reference: str | None = None) -> list[Section]:
    """Build a section for each test of fine-tuned runs, and one for all models that were asked one kind of questions.

    Tests without rows are left out.

    Args:
        tests: records and rows.
        reference: method that the others are compared with, in the tests that it takes part in; None takes LoRA if it
            takes part, else the first.
    """
    sections: list[Section] = []
    asked: dict[str, list[StressTest]] = {}
    for number, (record, rows) in enumerate(tests, start=1):
        if rows.empty:
            continue
        kind = str(rows["eval"].iloc[0])
        if kind == "adapter":
            sections.append(_section(record, "Damaged texts", _adapters(record, rows, number, reference)))
        elif kind == "behaviour":
            sections.append(_section(record, "Behavioural tests", _behaviour(rows, number, reference)))
        else:
            asked.setdefault(kind, []).append((record, rows))
    for kind, each in asked.items():
        sections.append(Section(f"{kind.capitalize()} questions", tuple(_questions(kind, each, reference))))
    return sections


def _questions(kind: str, tests: Sequence[StressTest], reference: str | None) -> list[Block]:
    """Build the blocks of one kind of questions: fine-tuned methods that can be compared, then all other models."""
    compared = compared_sets(tests)
    blocks: list[Block] = []
    for number, trained in enumerate(compared.values(), start=1):
        suffix = kind if len(compared) == 1 else f"{kind}_{number}"
        blocks.append(about_questions(kind))
        try:
            rows = trained_rows(kind, trained)
            evidence = adapter_evidence(rows, reference=_among(rows, reference))
        except Mistake as mistake:
            blocks.append(Paragraph(f"The runs cannot be compared: {mistake}."))
            continue
        blocks += _of_adapters(evidence, "accuracy", suffix)
        blocks += damaged_example_blocks(rows, suffix)
    taken = {id(rows) for trained in compared.values() for _, rows in trained}
    others = [rows for _, rows in tests if id(rows) not in taken]
    if others:
        blocks += _models(kind, others)
        blocks += damaged_example_blocks(pd.concat(others, ignore_index=True), "models")
    return blocks


def _among(rows: pd.DataFrame, reference: str | None) -> str | None:
    """Return the reference if rows are of it, else None."""
    return reference if reference in set(rows["model"]) else None


def _section(record: StressRecord, title: str, blocks: Sequence[Block]) -> Section:
    return Section(f"{title}: {visible(title_of(record.model))}", (completeness(record), *blocks))


def heat_map(
    name: str, caption: str, heading: Sequence[str], methods: Sequence[str], rows: Sequence[Row]
) -> Data:
    """Build a table of shares in per cent with their intervals, shaded by the share.

    Args:
        name: its name.
        caption: what it shows.
        heading: titles of the columns that name a row.
        methods: titles of the other columns.
        rows: names, then for each method a share, or a share with the ends of its interval; None if there is none.
    """
    columns = (
        *[Column(each, each) for each in heading],
        *[Column(method, f"{method}, %", "interval", ".1f", 100) for method in methods],
    )
    shades = tuple((*[None] * len(heading), *[_share(cell) for cell in row[len(heading) :]]) for row in rows)
    return Data(name, caption, columns, tuple(rows), heading=len(heading), shades=shades)


def _share(cell: Entry) -> float | None:
    value = cell[0] if isinstance(cell, tuple) else cell
    return float(value) if isinstance(value, int | float) and value == value else None


def _adapters(record: StressRecord, rows: pd.DataFrame, number: int, reference: str | None) -> list[Block]:
    """Build the scores of fine-tuned methods on damaged texts, what each loses from clean, and the sentences."""
    score = str(record.items.get("score", "accuracy"))
    blocks: list[Block] = []
    splits = rows.groupby("split", sort=False) if "split" in rows.columns else [("test", rows)]
    for split, block in splits:
        evidence = adapter_evidence(block, reference=_among(block, reference))
        suffix = f"{number}" if split == "test" else f"{number}_{split}"
        if split != "test":
            blocks.append(Paragraph(f"Test set '{split}':"))
        blocks += _of_adapters(evidence, score, suffix)
        if split == "test":
            blocks += damaged_example_blocks(block, suffix)
    return blocks


def _of_adapters(evidence: AdapterEvidence, score: str, suffix: str) -> list[Block]:
    """Build the sentences, the scores and what is lost from clean texts, of one test set."""
    sentences = tuple(drop_difference_sentence(difference, evidence) for difference in evidence.overall)
    blocks: list[Block] = [Bullets(sentences)] if sentences else []
    return [*blocks, _adapter_scores(evidence, score, suffix), *_drops(evidence, suffix)]


def _adapter_scores(evidence: AdapterEvidence, score: str, suffix: str) -> Data:
    methods = list(dict.fromkeys(each.method for each in evidence.scores))
    by_cell = {(each.method, each.cell): each for each in evidence.scores}
    columns = (
        Column("texts", "texts"),
        *[Column(method, method, "spread", ".1f", 100) for method in methods],
    )
    cells = list(dict.fromkeys(each.cell for each in evidence.scores))
    rows: list[Row] = []
    for cell in cells:
        spreads = [by_cell.get((method, cell)) for method in methods]
        rows.append(
            (
                cell_name(cell),
                *[None if each is None else (each.accuracy.mean, each.accuracy.sd) for each in spreads],
            )
        )
    shades = tuple((None, *[_share(cell) for cell in row[1:]]) for row in rows)
    caption = f"{score[0].upper()}{score[1:]} in per cent, mean ± standard deviation over seeds"
    return Data(f"damaged_{suffix}", caption, columns, tuple(rows), shades=shades)


def _drops(evidence: AdapterEvidence, suffix: str) -> list[Block]:
    methods = list(dict.fromkeys(each.method for each in evidence.scores))
    drops = {(each.method, each.cell): each.drop for each in evidence.scores if each.drop is not None}
    cells = list(dict.fromkeys(cell for _, cell in drops))
    if not cells:
        return []
    columns = (
        Column("texts", "texts"),
        *[Column(method, method, "interval", "+.1f", 100) for method in methods],
    )
    rows: list[Row] = []
    for cell in cells:
        drops_of_cell = [drops.get((method, cell)) for method in methods]
        rows.append(
            (
                cell_name(cell),
                *[None if each is None else (each.difference, each.low, each.high) for each in drops_of_cell],
            )
        )
    most = (
        max((abs(cell[0]) for row in rows for cell in row[1:] if isinstance(cell, tuple)), default=0.0) or 1.0
    )
    shades = tuple(
        (None, *[max(-cell[0], 0) / most if isinstance(cell, tuple) else None for cell in row[1:]])
        for row in rows
    )
    return [
        Data(
            f"drop_{suffix}",
            "Change from clean texts in points, with 95 % intervals",
            columns,
            tuple(rows),
            shades=shades,
        )
    ]


def _behaviour(rows: pd.DataFrame, number: int, reference: str | None) -> list[Block]:
    """Build pass rates by test and method, and the sentences on all cases."""
    evidence = behaviour_evidence(rows, reference=_among(rows, reference))
    rates = {(rate.method, rate.scope): rate for rate in evidence.rates}
    table: list[Row] = []
    for scope in evidence.scopes:
        if scope.by not in ("suite", "test"):
            continue
        of_scope = [rates[method, scope] for method in evidence.methods]
        cells: list[Entry] = [
            each.value if each.low is None or each.high is None else (each.value, each.low, each.high)
            for each in of_scope
        ]
        table.append((visible(scope.name) if scope.by == "test" else "all tests", scope.kind or "", *cells))
    blocks: list[Block] = []
    sentences = [overall_sentence(each) for each in evidence.differences if each.scope.by == "suite"]
    if sentences:
        blocks.append(Bullets(tuple(sentences)))
    caption = f"Pass rates in per cent, with {100 * evidence.level:g} % intervals"
    return [*blocks, heat_map(f"behaviour_{number}", caption, ("test", "kind"), evidence.methods, table)]


def _models(kind: str, tables: Sequence[pd.DataFrame]) -> list[Block]:
    """Build the heat map of models that were asked the same questions, and their dose-response curves."""
    parts = [stress_evidence(block) for rows in tables for block in split_rows(rows)]
    places = list(dict.fromkeys(_unmitigated(scores.cell) for each in parts for scores in each.cells))
    titles, columns = [], []
    for each in parts:
        for mitigation in dict.fromkeys(scores.cell.mitigation for scores in each.cells):
            titles.append(visible(each.model) if mitigation == "none" else f"with {mitigation}")
            columns.append(
                {
                    _unmitigated(scores.cell): _estimate(scores.accuracy)
                    for scores in each.cells
                    if scores.cell.mitigation == mitigation
                }
            )
    rows: list[Row] = [(cell_name(place), *[column.get(place) for column in columns]) for place in places]
    level = f"{100 * parts[0].level:g} %"
    mitigations = "; columns after a model's own are of mitigations" if len(titles) > len(parts) else ""
    caption = f"Accuracy in per cent, with {level} intervals over items{mitigations}"
    blocks: list[Block] = [heat_map(f"stress_{kind}", caption, ("questions",), titles, rows)]
    return [*blocks, *_doses(kind, parts)]


def _unmitigated(cell: Cell) -> Cell:
    """Return the cell without its mitigation."""
    return replace(cell, mitigation="none")


def _estimate(estimate: Estimate) -> Entry:
    return (estimate.value, estimate.low, estimate.high) if estimate.items > 1 else estimate.value


def _doses(kind: str, parts: Sequence[StressEvidence]) -> list[Block]:
    """Build a plot of accuracy by rate of damage for each corruption that was asked at several rates."""
    ladders: dict[str, list[tuple[int, str, Dose]]] = {}
    for number, each in enumerate(parts):
        for dose in each.doses:
            ladders.setdefault(_ladder(dose), []).append((number, visible(each.model), dose))
    if not ladders:
        return []
    rows = tuple(
        (name, model, rate, (share.value, share.low, share.high))
        for name, doses in ladders.items()
        for _, model, dose in doses
        for rate, share in zip(dose.rates, dose.accuracies, strict=True)
    )
    columns = (
        Column("corruption", "corruption"),
        Column("model", "model"),
        Column("rate", "rate, %", "number", ".3g", 100),
        Column("accuracy", "accuracy, %", "interval", ".1f", 100),
    )
    figure = Figure(
        f"doses-{kind}",
        "Accuracy in per cent by rate of damage, with intervals over items.",
        tuple(_plot_of_doses(name, doses) for name, doses in ladders.items()),
        Data(f"doses_{kind}", "Accuracy by rate of damage", columns, rows, heading=2),
        legend={number: visible(each.model) for number, each in enumerate(parts)},
    )
    return [figure]


def _ladder(dose: Dose) -> str:
    """Return the name of what was asked at several rates: the corruption, and how it was asked."""
    protected = ", protected" if dose.protected else ""
    return f"{dose.condition}{protected}{'' if dose.mitigation == 'none' else f', {dose.mitigation}'}"


def _plot_of_doses(name: str, doses: Sequence[tuple[int, str, Dose]]) -> Drawing:
    """Draw accuracy by rate of damage, a line for each model."""
    lines = []
    for number, model, dose in doses:
        places = zip(dose.rates, dose.accuracies, strict=True)
        low, high = (tuple(100 * getattr(share, end) for share in dose.accuracies) for end in ("low", "high"))
        points = tuple((100 * rate, 100 * share.value) for rate, share in places)
        lines.append(Line(model, number, points, low, high))
    words = "; ".join(f"{line.name}: {line.points[0][1]:.1f} to {line.points[-1][1]:.1f}" for line in lines)
    return plot(lines, Frame(name, f"Accuracy in per cent. {words}.", "damage, % of the characters"))
