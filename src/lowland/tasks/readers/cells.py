"""Checks of a table's cells: can a cell be a text, or a label?"""

from __future__ import annotations

import math
import re
from numbers import Number
from typing import Any

MISSING = "is missing or empty"
"""Problem of a cell that holds nothing."""
SURROGATE = re.compile("[\ud800-\udfff]")


def problem_with_text(cell: Any) -> str | None:
    """Return why a cell cannot be a text, as the end of the sentence "the text …"; None if it can."""
    if is_missing(cell):
        return MISSING
    if not isinstance(cell, str):
        return f"is {_kind_of(cell)}; it must be text"
    if SURROGATE.search(cell):
        return "holds half of a character (a lone surrogate), which cannot be stored; repair or remove it"
    return None


def problem_with_label(cell: Any) -> str | None:
    """Return why a cell cannot be a label, as `problem_with_text` does; numbers and truth values can be labels."""
    if isinstance(cell, str) or is_missing(cell):
        return problem_with_text(cell)
    if not isinstance(cell, Number):  # NumPy's numbers and truth values count
        return f"is {_kind_of(cell)}; it must be text, a number, true or false"
    return None if _is_finite(cell) else "is not finite"


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that is larger than a float can be
        return True


def is_missing(cell: Any) -> bool:
    """Return whether a cell holds nothing: no value, or a text of white space."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return True
    return type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and math.isnan(cell))


def _kind_of(cell: Any) -> str:
    """Return the kind of a cell in a user's words."""
    if isinstance(cell, bool):
        return "a truth value"
    if isinstance(cell, Number):
        return "a number"
    kinds = {"dict": "an object", "bytes": "bytes", "ndarray": "a list", "tuple": "a list", "list": "a list"}
    name = type(cell).__name__
    return kinds.get(name, f"a {name}")
