"""Items in a .csv or .tsv file: each row becomes an object, as a line of a JSON-lines file does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

from lowland.ground.asked import Asked
from lowland.ground.mistakes import Mistake, one_of, plural
from lowland.ground.names import nearest

ENDINGS = (".csv", ".tsv")
"""Endings of the names of tables."""
SEPARATORS = (",", "\t", ";")
"""Separators of cells. Spreadsheet programs write semicolons where the comma is a decimal sign."""
BETWEEN_TEXTS = "|"
"""Separator of several texts in one cell, such as accepted answers."""


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its ending."""
    return path.suffix.casefold() in ENDINGS


def looks_like_table(content: str, model: type[Asked]) -> bool:
    """Return whether a text's first line names at least two fields of a model, as the header of a table does."""
    separator = _separator(content, model)
    return _known_names(content, separator, model) > 1


def objects_of(
    content: str, path: Path, model: type[Asked], problems: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the first line of each row, from 1, and the row's values by column. Blank cells are left out.

    Args:
        content: the file's text.
        path: path of the file, for messages.
        model: model of a row; its fields are the columns, and those that hold several texts are split at "|".
        problems: receives a sentence for each row that does not fit the header.

    Raises:
        Mistake: if the header lacks a required column or has an unknown one.
    """
    separator = _separator(content, model)
    rows = _numbered(csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True))
    header: list[str] | None = None
    try:
        for line, cells in rows:
            if header is None:
                header = [name.strip() for name in cells]
                if wrong := _header_problems(header, model):
                    raise Mistake(*(f"{path}, line {line}: {problem}" for problem in wrong))
            elif len(cells) > len(header):
                problems.append(
                    f"{path}, line {line}: {plural(len(cells), 'cell')}, and the header has {len(header)}; put a cell"
                    f" that holds the separator {separator!r} into double quotes"
                )
            else:
                yield line, _values(dict(zip(header, cells, strict=False)), model)
    except _Unreadable as error:
        problems.append(
            f"{path}, line {error.line}: cannot be read as a table ({error}); close the double quotes of each cell, and"
            " double those within it"
        )


class _Unreadable(Exception):
    """A row whose quotes do not match; what follows it cannot be read, either."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their first lines."""
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _Unreadable(line, str(error)) from None
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _separator(content: str, model: type[Asked]) -> str:
    """Return the separator that splits the header into the most names of fields; the comma if all are equal."""
    return max(SEPARATORS, key=lambda separator: _known_names(content, separator, model))


def _known_names(content: str, separator: str, model: type[Asked]) -> int:
    header = next((line for line in content.split("\n") if line.strip()), "")
    return len({name.strip(' "') for name in header.split(separator)} & {*model.model_fields})


def _header_problems(header: Sequence[str], model: type[Asked]) -> list[str]:
    """Return a sentence for each column that is missing, unknown or there twice."""
    fields = model.model_fields
    unknown = [name for name in header if name not in fields]
    missing = [name for name, field in fields.items() if field.is_required() and name not in header]
    problems = []
    for name in list(missing):
        if (near := nearest(name, unknown)) is not None:
            unknown.remove(near)
            missing.remove(name)
            problems.append(f"the column '{name}' is missing; rename '{near}' if that is meant")
    if missing:
        names = ", ".join(map(repr, missing))
        columns = f"column {names} is" if len(missing) == 1 else f"columns {names} are"
        problems.append(f"the {columns} missing; the first line must name the columns")
    problems += [one_of("column", name, list(fields)) for name in unknown]
    problems += [
        f"the column '{name}' is there twice; remove one of them"
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    return problems


def _values(cells: Mapping[str, str], model: type[Asked]) -> dict[str, Any]:
    """Return the values of a row's cells that are not blank."""
    return {
        name: _texts(cell) if get_origin(model.model_fields[name].annotation) is tuple else cell.strip()
        for name, cell in cells.items()
        if cell.strip()
    }


def _texts(cell: str) -> list[str]:
    return [text.strip() for text in cell.split(BETWEEN_TEXTS) if text.strip()]
