"""Numbers, cells and quotations as the texts and tables of a report write them."""

from __future__ import annotations

import math

import pandas as pd

from lowland.evidence.core.by_item import Estimate
from lowland.evidence.readers.stress_rows import Cell
from lowland.ground.visible import visible
from lowland.report.blocks import Quoted

MISSING = "n/a"
"""Shown in place of a number that cannot be computed."""

_MAX_LENGTH = 140


def percent(estimate: Estimate) -> str:
    """Write a share and its interval in per cent: `61.7 (52.0 to 70.3)`; no interval if it is of one item."""
    if math.isnan(estimate.value):
        return MISSING
    share = f"{100 * estimate.value:.1f}"
    return (
        share if estimate.items == 1 else f"{share} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
    )


def points(estimate: Estimate) -> str:
    """Write a difference of shares and its interval in points: `-12.3 (-18.0 to -6.7)`; no interval if of one item."""
    if math.isnan(estimate.value):
        return MISSING
    share = signed(estimate.value)
    return share if estimate.items == 1 else f"{share} ({signed(estimate.low)} to {signed(estimate.high)})"


def signed(share: float) -> str:
    """Write a difference of shares in points, with its sign; 0 has none."""
    text = f"{100 * share:+.1f}"
    return text[1:] if float(text) == 0 else text


def p_value(p: float) -> str:
    """Write a p-value with three decimals."""
    if math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def cell_name(cell: Cell) -> str:
    """Write a cell in words: `typos heavy, protected, with normalise`."""
    return f"{cell.condition} {cell.level}".strip() + cell_suffix(cell)


def cell_suffix(cell: Cell) -> str:
    """Write protection and mitigation of a cell, to follow its condition: `, protected, with normalise`."""
    mitigation = f", with {cell.mitigation}" if cell.mitigation != "none" else ""
    return (", protected" if cell.protected else "") + mitigation


def quoted(text: object) -> Quoted:
    """Return text for a table: on one line, at most 140 characters, with invisible characters by their number."""
    missing = text is None or text is pd.NA or text != text
    line = "" if missing else " ".join(str(text).split())
    cut = line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"
    return Quoted(visible(cut) or "(nothing)")
