"""Tables of a stress test: what `lowland.evidence.stress` computes, with its intervals."""

from __future__ import annotations

import math

import pandas as pd

from lowland.evidence.cells import CellDifference, CellScores
from lowland.evidence.readers.stress_rows import Cell
from lowland.evidence.stress import StressEvidence
from lowland.report.blocks import Table
from lowland.report.wording import MISSING, p_value, percent, points, quoted

EXAMPLES = 2
"""Examples shown of each category of error."""


def accuracy_table(evidence: StressEvidence) -> Table:
    """Build a table of accuracy by condition, with one column for each mitigation."""
    mitigations = list(dict.fromkeys(scores.cell.mitigation for scores in evidence.cells))
    by_cell = {scores.cell: scores for scores in evidence.cells}
    damaged = evidence.eval != "multilingual"
    rows = []
    for place, rate in dict.fromkeys((_place(scores.cell), scores.rate) for scores in evidence.cells):
        cells = [Cell(*place, mitigation) for mitigation in mitigations]
        accuracies = [_accuracy(by_cell[cell]) if cell in by_cell else "not asked" for cell in cells]
        rows.append((*_names(evidence, cells[0]), *([f"{100 * rate:g}%"] if damaged else []), *accuracies))
    columns = ["no mitigation, %" if name == "none" else f"{name}, %" for name in mitigations]
    return Table((*_header(evidence), *(["rate"] if damaged else []), *columns), tuple(rows))


def reference_table(evidence: StressEvidence, mitigation: str | None = None) -> Table:
    """Build a table of each condition minus the undamaged one of the same mitigation, and of answers that flip.

    Args:
        evidence: evidence of one eval and model.
        mitigation: show only this one's rows; p stays corrected over all. None shows all.
    """
    rows = tuple(
        (
            *_names(evidence, difference.cell),
            difference.cell.mitigation,
            *_numbers(difference),
            percent(flips.to_wrong),
            percent(flips.to_right),
            percent(flips.floor),
        )
        for difference, flips in zip(evidence.to_reference, evidence.flips, strict=True)
        if mitigation in (None, difference.cell.mitigation)
    )
    minus = f"minus {evidence.reference}, points"
    columns = ("flips to wrong, %", "to right, %", f"{evidence.reference} flips, %")
    return Table((*_header(evidence), "mitigation", minus, "p", "p (Holm)", *columns), rows)


def mitigation_table(evidence: StressEvidence) -> Table:
    """Build a table of each mitigation minus none; the undamaged condition comes first, and shows what it costs."""
    rows = tuple(
        (*_names(evidence, difference.cell), difference.cell.mitigation, *_numbers(difference))
        for difference in evidence.mitigated
    )
    return Table((*_header(evidence), "mitigation", "minus no mitigation, points", "p", "p (Holm)"), rows)


def account_table(evidence: StressEvidence) -> Table:
    """Build a table that accounts for every row: failed, unsure, near misses, and the language of replies."""
    languages = any(scores.kept.items for scores in evidence.cells)
    header = (
        "mitigation",
        "asked",
        "failed",
        "accuracy, %",
        "failed as wrong, %",
        "UNSURE, %",
        "near misses taken as right, %",
        *(["kept the language, %", "undecided, %"] if languages else []),
    )
    rows = tuple((*_names(evidence, scores.cell), *_account(scores, languages)) for scores in evidence.cells)
    return Table((*_header(evidence), *header), rows)


def worst_table(evidence: StressEvidence) -> Table:
    """Build a table of the items that are right under every condition at once."""
    protects = _protects(evidence)
    rows = tuple(
        (
            worst.level or "all",
            *([_yes_no(worst.protected)] if protects else []),
            worst.mitigation,
            str(len(worst.conditions)),
            percent(worst.all_right),
            MISSING
            if math.isnan(worst.lowest_accuracy)
            else f"{worst.lowest} ({100 * worst.lowest_accuracy:.1f})",
            str(worst.left_out),
        )
        for worst in evidence.worst
    )
    columns = ("mitigation", "conditions", "right under all, %", "least accuracy, %", "epochs left out")
    return Table(("level", *(["protected"] if protects else []), *columns), rows)


def dose_tables(evidence: StressEvidence) -> list[Table]:
    """Build tables of accuracy by rate of damage, and its slope: one table for each set of rates."""
    protects = _protects(evidence)
    tables = []
    for rates in dict.fromkeys(dose.rates for dose in evidence.doses):
        rows = tuple(
            (
                dose.condition,
                *([_yes_no(dose.protected)] if protects else []),
                dose.mitigation,
                *map(percent, dose.accuracies),
                points(dose.slope),
            )
            for dose in evidence.doses
            if dose.rates == rates
        )
        header = ("condition", *(["protected"] if protects else []), "mitigation")
        columns = [f"{100 * rate:g}%" for rate in rates]
        tables.append(Table((*header, *columns, "slope, points per 10 % of damage"), rows))
    return tables


def category_table(evidence: StressEvidence) -> Table:
    """Build a table of the number of rows by category of error, with right first and failed last."""
    names = {name for counts in evidence.categories.values() for name in counts}
    ordered = sorted(names, key=lambda name: (name != "right", name in ("unsure", "failed"), name))
    rows = tuple(
        (*_names(evidence, cell), cell.mitigation, *[str(counts.get(name, 0)) for name in ordered])
        for cell, counts in evidence.categories.items()
    )
    return Table((*_header(evidence), "mitigation", *ordered), rows)


def example_table(rows: pd.DataFrame) -> Table:
    """Build a table of up to `EXAMPLES` rows of each category of error, drawn at random but always the same."""
    wrong = rows[(rows["status"] != "scored") | ~rows["category"].isin(["right", ""])]
    ordered = wrong.sort_values(["category", "item", "condition", "level", "mitigation", "epoch"])
    named = ordered["category"].where(ordered["status"] == "scored", "failed")
    entries = []
    for category, block in ordered.groupby(named):
        block = block.drop_duplicates(["item", "condition", "level", "reply"])  # mitigations often fail alike
        for _, row in block.sample(min(EXAMPLES, len(block)), random_state=0).iterrows():
            condition = " ".join(str(row[name]) for name in ("condition", "level") if row[name])
            gold = quoted(str(row["gold"]).replace(" | ", " / "))
            entries.append((str(category), condition, quoted(row["prompt"]), gold, quoted(row["reply"])))
    return Table(("category", "condition", "question", "correct answer", "reply"), tuple(entries))


def _accuracy(scores: CellScores) -> str:
    return "all failed" if scores.failed == scores.asked else percent(scores.accuracy)


def _account(scores: CellScores, languages: bool) -> list[str]:
    counts = [scores.cell.mitigation, str(scores.asked), str(scores.failed)]
    estimates = [scores.strict, scores.unsure, scores.near]
    estimates += [scores.kept, scores.undecided] if languages else []
    return [*counts, _accuracy(scores), *map(percent, estimates)]


def _numbers(difference: CellDifference) -> list[str]:
    return [points(difference.estimate), p_value(difference.p), p_value(difference.p_holm)]


def _header(evidence: StressEvidence) -> list[str]:
    level = ["level"] if _has_levels(evidence) else []
    return ["condition", *level, *(["protected"] if _protects(evidence) else [])]


def _names(evidence: StressEvidence, cell: Cell) -> list[str]:
    level = [cell.level] if _has_levels(evidence) else []
    return [cell.condition, *level, *([_yes_no(cell.protected)] if _protects(evidence) else [])]


def _has_levels(evidence: StressEvidence) -> bool:
    return any(scores.cell.level for scores in evidence.cells)


def _protects(evidence: StressEvidence) -> bool:
    return any(scores.cell.protected for scores in evidence.cells)


def _yes_no(truth: bool) -> str:
    return "yes" if truth else "no"


def _place(cell: Cell) -> tuple[str, str, bool]:
    return cell.condition, cell.level, cell.protected
