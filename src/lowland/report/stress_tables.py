"""Tables of a stress test, in Markdown: what `lowland.evidence.stress` found, with its intervals."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

import pandas as pd

from lowland.evidence.cells import CellDifference, CellScores
from lowland.evidence.core.by_item import Estimate
from lowland.evidence.readers.stress_rows import Cell
from lowland.evidence.stress import StressEvidence
from lowland.report.study import table

EXAMPLES = 2
_LONGEST = 140
_JOINERS = "\u200c\u200d"  # zero-width, but part of how emoji and Devanagari are written
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<>[]#~$&"})


def accuracy_table(found: StressEvidence) -> str:
    """Accuracy by condition, a column a mitigation: before and after, side by side."""
    mitigations = list(dict.fromkeys(one.cell.mitigation for one in found.cells))
    by_cell = {one.cell: one for one in found.cells}
    rows = []
    for place, rate in dict.fromkeys((_place(one.cell), one.rate) for one in found.cells):
        condition, level, protected = place
        cells = [Cell(condition, level, protected, name) for name in mitigations]
        told = [percent(by_cell[cell].accuracy) if cell in by_cell else "not asked" for cell in cells]
        rows.append(
            [*_names(found, cells[0]), *([f"{100 * rate:g}%"] if found.eval != "multilingual" else []), *told]
        )
    rate_header = ["rate"] if found.eval != "multilingual" else []
    return table([*_header(found), *rate_header, *[f"{name}, %" for name in mitigations]], rows)


def reference_table(found: StressEvidence, mitigation: str | None = None) -> str:
    """Each condition minus the undamaged one of the same mitigation, and the answers that flip.

    Args:
        found: the evidence.
        mitigation: only this one's rows; p stays corrected over all. None: all.
    """
    rows = [
        [
            *_names(found, one.cell),
            one.cell.mitigation,
            points(one.estimate),
            chance(one.p),
            chance(one.p_holm),
            percent(flip.to_wrong),
            percent(flip.to_right),
            percent(flip.floor),
        ]
        for one, flip in zip(found.to_reference, found.flips, strict=True)
        if mitigation in (None, one.cell.mitigation)
    ]
    against = f"minus {found.reference}, points"
    flips = ["flips to wrong, %", "to right, %", f"{found.reference} flips, %"]
    return table([*_header(found), "mitigation", against, "p", "p (Holm)", *flips], rows)


def mitigation_table(found: StressEvidence) -> str:
    """Each mitigation minus none, the undamaged condition first: what it costs there."""
    rows = [[*_names(found, one.cell), one.cell.mitigation, *_gap(one)] for one in found.mitigated]
    return table([*_header(found), "mitigation", "minus none, points", "p", "p (Holm)"], rows)


def account_table(found: StressEvidence) -> str:
    """What became of the rows: failed, unsure, near misses, and the language of replies where it was told."""
    languages = any(one.kept.items for one in found.cells)
    header = [
        "mitigation",
        "asked",
        "failed",
        "accuracy, %",
        "failed as wrong, %",
        "UNSURE, %",
        "near misses taken as right, %",
    ]
    header += ["kept the language, %", "undecided, %"] if languages else []
    return table([*_header(found), *header], [_account(found, one, languages) for one in found.cells])


def worst_table(found: StressEvidence) -> str:
    """Items that are right under every condition at once, and the condition with the least accuracy."""
    rows = [
        [
            one.level or "all",
            *(["yes" if one.protected else "no"] if _protects(found) else []),
            one.mitigation,
            str(len(one.conditions)),
            percent(one.all_right),
            f"{one.lowest} ({100 * one.lowest_accuracy:.1f})",
            str(one.left_out),
        ]
        for one in found.worst
    ]
    header = ["level", *(["protected"] if _protects(found) else []), "mitigation", "conditions"]
    return table([*header, "right under all, %", "least accuracy, %", "epochs left out"], rows)


def dose_table(found: StressEvidence) -> str:
    """Accuracy by rate of damage, and its slope."""
    blocks = []
    for rates in dict.fromkeys(one.rates for one in found.doses):
        rows = [
            [
                one.condition,
                *(["yes" if one.protected else "no"] if _protects(found) else []),
                one.mitigation,
                *map(percent, one.accuracies),
                points(one.slope),
            ]
            for one in found.doses
            if one.rates == rates
        ]
        header = ["condition", *(["protected"] if _protects(found) else []), "mitigation"]
        blocks.append(
            table([*header, *[f"{100 * rate:g}%" for rate in rates], "slope, points a tenth"], rows)
        )
    return "\n\n".join(blocks)


def category_table(found: StressEvidence) -> str:
    """Rows by category of error, right and failed ones at the ends."""
    names = {name for counts in found.categories.values() for name in counts}
    ordered = sorted(names, key=lambda name: (name != "right", name in ("unsure", "failed"), name))
    rows = [
        [*_names(found, cell), cell.mitigation, *[str(counts.get(name, 0)) for name in ordered]]
        for cell, counts in found.categories.items()
    ]
    return table([*_header(found), "mitigation", *ordered], rows)


def example_table(rows: pd.DataFrame) -> str:
    """Up to `EXAMPLES` rows of each category of error, drawn by lot but always the same."""
    wrong = rows[(rows["status"] != "scored") | ~rows["category"].isin(["right", ""])]
    ordered = wrong.sort_values(["category", "item", "condition", "level", "mitigation", "epoch"])
    lines = []
    for category, block in ordered.groupby(
        ordered["category"].where(ordered["status"] == "scored", "failed")
    ):
        block = block.drop_duplicates(["item", "condition", "level", "reply"])  # mitigations often fail alike
        for _, row in block.sample(min(EXAMPLES, len(block)), random_state=0).iterrows():
            where = " ".join(str(row[name]) for name in ("condition", "level") if row[name])
            gold = str(row["gold"]).replace(" | ", " / ")
            lines.append([str(category), where, shown(row["prompt"]), shown(gold), shown(row["reply"])])
    return table(["category", "condition", "asked", "right would be", "reply"], lines)


def shown(text: object) -> str:
    """Text as a table can hold it: on one line, not too long, without Markdown, invisible characters by number."""
    plain = "" if text is None or text is pd.NA or text != text else str(text)
    whole = " ".join(plain.split())
    cut = whole if len(whole) <= _LONGEST else whole[: _LONGEST - 1] + "…"
    safe = cut.translate(_MARKS)
    seen = "".join(f"‹U+{ord(one):04X}›" if _hidden(one) else one for one in safe)
    return seen or "(nothing)"


def percent(one: Estimate) -> str:
    """`61.7 (52.0 to 70.3)`: a share and its interval, in per cent."""
    if math.isnan(one.value):
        return "none"
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def points(one: Estimate) -> str:
    """`-12.3 (-18.0 to -6.7)`: a difference of shares and its interval, in points."""
    if math.isnan(one.value):
        return "none"
    return f"{signed(one.value)} ({signed(one.low)} to {signed(one.high)})"


def signed(share: float) -> str:
    """A difference of shares in points, with its sign; 0 has none."""
    told = f"{100 * share:+.1f}"
    return told[1:] if float(told) == 0 else told


def chance(p: float) -> str:
    """A p-value in three digits."""
    if math.isnan(p):
        return "none"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def named(cell: Cell) -> str:
    """A cell in words: `typos heavy, protected, with normalise`."""
    words = f"{cell.condition} {cell.level}".strip()
    words += ", protected" if cell.protected else ""
    return words + (f", with {cell.mitigation}" if cell.mitigation != "none" else "")


def _account(found: StressEvidence, one: CellScores, languages: bool) -> Sequence[str]:
    counts = [one.cell.mitigation, str(one.asked), str(one.failed)]
    told = [one.accuracy, one.strict, one.unsure, one.near, *([one.kept, one.undecided] if languages else [])]
    return [*_names(found, one.cell), *counts, *map(percent, told)]


def _gap(one: CellDifference) -> list[str]:
    return [points(one.estimate), chance(one.p), chance(one.p_holm)]


def _header(found: StressEvidence) -> list[str]:
    level = ["level"] if any(one.cell.level for one in found.cells) else []
    return ["condition", *level, *(["protected"] if _protects(found) else [])]


def _names(found: StressEvidence, cell: Cell) -> list[str]:
    level = [cell.level] if any(one.cell.level for one in found.cells) else []
    return [cell.condition, *level, *(["yes" if cell.protected else "no"] if _protects(found) else [])]


def _protects(found: StressEvidence) -> bool:
    return any(one.cell.protected for one in found.cells)


def _place(cell: Cell) -> tuple[str, str, bool]:
    return cell.condition, cell.level, cell.protected


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs") and character not in _JOINERS
