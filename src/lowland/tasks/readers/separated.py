"""Reader of .csv and .tsv files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.raw_table import RawTable, check_names

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators that are recognised in a .csv file, the usual one first."""
QUOTED = re.compile(r'"(?=.*[^"].*"$)(?:[^"]|"")+"', re.DOTALL)
"""A cell in quotes, with the quotes inside doubled."""
LARGEST_CELL = 2**31 - 1
"""Number of characters; the csv module's own limit of 131,072 is less than a long document."""


def read_separated(path: Path, text: str, separator: str | None, header: bool) -> RawTable:
    """Read a .csv file with the usual quotes, or a .tsv file, in which quotes mean nothing."""
    separator = separator or _separator_of(text)
    quoting: Literal[0, 3] = (
        csv.QUOTE_NONE if separator == "\t" and ".tsv" in path.name.lower() else csv.QUOTE_MINIMAL
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    before = 0
    try:
        with _large_cells():
            for row in reader:
                number, before = before + 1, reader.line_num
                if not row:
                    continue
                if rows and len(row) != len(rows[0]):
                    name = SEPARATORS.get(separator, repr(separator))
                    raise Mistake(
                        f"{path}, line {number}: {len(row)} fields, where the first line has {len(rows[0])}; the fields"
                        f" are separated by {name}: put a text that holds one in quotes, or name another separator"
                    )
                rows.append(row)
                numbers.append(number)
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise Mistake(
                f"{path}, line {before + 1}: a cell begins with a quotation mark and no other one ends it; close the"
                " cell, or double the marks within it"
            ) from None
        raise Mistake(f"{path}, line {reader.line_num}: {error}") from None
    if quoting == csv.QUOTE_NONE:
        _check_quotes_are_letters(path, rows, numbers, header)
    names = rows[0] if header else [str(number) for number in range(1, len(rows[0]) + 1)]
    check_names(path, names)
    first = 1 if header else 0
    return RawTable(
        path, pd.DataFrame(rows[first:], columns=names, dtype=object), "line", numbers[first:], separator
    )


def _check_quotes_are_letters(
    path: Path, rows: Sequence[Sequence[str]], numbers: Sequence[int], header: bool
) -> None:
    """Check that no program has put the cells of a .tsv file into quotes, as it does in a .csv file.

    Raises:
        Mistake: if the whole header is in quotes, or a cell is, with the quotes inside doubled.
    """
    quoted = [numbers[0]] if header and all(QUOTED.fullmatch(cell) for cell in rows[0]) else []
    quoted += [
        number
        for number, row in zip(numbers, rows, strict=True)
        if any('""' in cell[1:-1] and QUOTED.fullmatch(cell) for cell in row)
    ]
    if quoted:
        raise Mistake(
            f"{path}, line {quoted[0]}: cells are in quotes, which are letters in a .tsv file; if they only enclose the"
            " cells, let the file's name end in .csv"
        )


def _separator_of(text: str) -> str:
    """Return the separator that occurs most often in the first line, outside quotes; a comma if none does."""
    line = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0])
    return max(SEPARATORS, key=line.count)


@contextmanager
def _large_cells() -> Iterator[None]:
    """Let the csv module read cells of any length."""
    before = csv.field_size_limit(LARGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
