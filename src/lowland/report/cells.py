"""Columns and values of tables: written for people with the digits that matter, and for programs in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Value = str | float | int | None
"""A text, a number, or nothing."""
Cell = Value | tuple[float, ...]
"""A value; a mean with its standard deviation; or a number with the ends of its interval."""
Row = tuple[Cell, ...]

PARTS: dict[str, tuple[str, ...]] = {
    "text": ("",),
    "number": ("",),
    "spread": ("", "_sd"),
    "error": ("", "_error"),
    "interval": ("", "_low", "_high"),
}
"""Endings of the columns that a column of each kind has for programs."""


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        name: its name for programs.
        title: its name for people.
        kind: what it holds: "text"; "number"; "spread", a mean and a standard deviation; "error", a number
            and its error; "interval", a number and the ends of its interval.
        form: how numbers are written, such as ".4f".
        scale: what numbers are multiplied by before they are written: 100 for points and per cent.
        unit: text that follows a number.
    """

    name: str
    title: str
    kind: Literal["text", "number", "spread", "error", "interval"] = "text"
    form: str = ""
    scale: float = 1.0
    unit: str = ""

    @property
    def names(self) -> list[str]:
        """Return the names of the columns that it has for programs."""
        return [f"{self.name}{ending}" for ending in PARTS[self.kind]]


def cell_text(column: Column, cell: Cell) -> str:
    """Write a cell for people: `0.7838 ± 0.0071`, `+1.2 (0.3 to 2.1)`; "" for nothing."""
    if isinstance(cell, str):
        return cell
    parts = cell if isinstance(cell, tuple) else (cell,)
    first, *others = [_number(column, part) for part in parts]
    known = [text for text in others if text]
    if not first or not known or len(known) < len(others):
        return first
    if column.kind == "error":
        return f"{first} ± {_error(parts[-1])}"
    if column.kind == "spread":
        return f"{first} ± {known[0]}"
    return f"{first} ({known[0]} to {known[1]})"


def _number(column: Column, value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    if isinstance(value, int) and column.form in ("", "d"):
        return f"{format(value, column.form or ',')}{column.unit}"
    text = format(value * column.scale, column.form or ".4g")
    if float(text.replace(",", "").rstrip("%")) == 0:
        text = text.lstrip("+-")
    return f"{text}{column.unit}"


def _error(value: float | int | None) -> str:
    """Write an error with two digits, or as a whole number."""
    assert isinstance(value, float | int)
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def plain_cells(column: Column, cell: Cell) -> list[Value]:
    """Return a cell's values for programs, one for each of the column's `names`; NaN and infinity are None."""
    parts: Sequence[Value] = cell if isinstance(cell, tuple) else (cell,)
    plain: list[Value] = [_finite(part) for part in parts]
    return plain + [None] * (len(PARTS[column.kind]) - len(plain))


def _finite(value: Value) -> Value:
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
