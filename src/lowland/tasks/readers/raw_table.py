"""Cells of a file, as they are in the file, with the place of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.cells import SURROGATE


@dataclass(frozen=True)
class RawTable:
    """A file's cells, as they are in the file.

    Attributes:
        path: the file.
        rows: the cells; column names are text.
        unit: unit of `numbers`.
        numbers: position of each row in the file, from 1 on; a header counts.
        separator: character between the cells of a .csv or .tsv file, else "".
    """

    path: Path
    rows: pd.DataFrame
    unit: Literal["line", "row", "question"]
    numbers: list[int]
    separator: str = ""

    def place(self, row: int) -> str:
        """Return the place of a row in words, as "line 12"."""
        return f"{self.unit} {self.numbers[row]}"


def check_names(path: Path, names: Sequence[str]) -> None:
    """Check the names of columns; raise `Mistake` if two are the same, or if one is not text in UTF-8."""
    if len(set(names)) < len(names):
        raise Mistake(f"{path}: two columns of one name in {', '.join(names)}")
    if broken := [name for name in names if SURROGATE.search(name)]:
        raise Mistake(
            f"{path}: the name {broken[0]!r} holds half of a character (a lone surrogate); repair it"
        )
