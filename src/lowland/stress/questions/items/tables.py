"""Items in a .csv or .tsv file: each row becomes an object, as a line of a JSON-lines file does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_origin

from lowland.ground.asked import Asked
from lowland.ground.mistakes import Mistake, one_of

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Separators of the cells, by the file's ending."""
BETWEEN_TEXTS = "|"
"""Separator of several texts in one cell, such as accepted answers."""


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its ending."""
    return path.suffix.casefold() in SEPARATORS


def objects_of(content: str, path: Path, model: type[Asked]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the first line of each row, from 1, and the row's values by column. Blank cells are left out.

    Args:
        content: the file's text.
        path: path of the file, for messages and its ending.
        model: model of a row; its fields are the columns, and those that hold several texts are split at "|".

    Raises:
        Mistake: if the header lacks a required column or has an unknown one, or a row has too many cells.
    """
    reader = csv.reader(
        io.StringIO(content, newline=""), delimiter=SEPARATORS[path.suffix.casefold()], strict=True
    )
    rows = _numbered(reader, path)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if problems := _header_problems(header, model):
        raise Mistake(*(f"{path}, line 1: {problem}" for problem in problems))
    for line, cells in rows:
        if len(cells) > len(header):
            raise Mistake(
                f"{path}, line {line}: {len(cells)} cells, and the header has {len(header)}; quote cells that hold the"
                " separator"
            )
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
        yield line, {name: _texts(cell) if _is_list(model, name) else cell for name, cell in values.items()}


def _numbered(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their first lines."""
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Mistake(
                f"{path}, line {line}: cannot be read as a table ({error}); quote its cells"
            ) from None
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _header_problems(header: Sequence[str], model: type[Asked]) -> list[str]:
    """Return a sentence for each column that is missing, unknown or there twice."""
    fields = model.model_fields
    problems = [one_of("column", name, list(fields)) for name in header if name not in fields]
    problems += [f"column '{name}' is there twice" for name in sorted({*header}) if header.count(name) > 1]
    missing = [name for name, field in fields.items() if field.is_required() and name not in header]
    if missing:
        problems.append(f"the columns {', '.join(missing)} are missing; the first line must name the columns")
    return problems


def _is_list(model: type[Asked], name: str) -> bool:
    return get_origin(model.model_fields[name].annotation) is tuple


def _texts(cell: str) -> list[str]:
    return [text.strip() for text in cell.split(BETWEEN_TEXTS) if text.strip()]
