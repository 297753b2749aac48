"""Page as plain values, for JSON, and its tables for CSV files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from lowland import __version__
from lowland.report.blocks import (
    Beside,
    Block,
    Bullets,
    Code,
    Data,
    EditList,
    ErrorList,
    Figure,
    Page,
    Paragraph,
    Quoted,
    Section,
    Table,
)
from lowland.report.cells import Value, plain_cells

FORMAT = 1
"""Version of the form of the values; it changes where a reader would have to."""

NamedTable = tuple[str, str, list[str], list[list[Value]]]
"""Name and caption of a table, its columns, and its rows."""


def page_values(page: Page) -> dict[str, Any]:
    """Return everything that a page says as plain values: sentences by section, and all tables by name.

    Numbers have six digits, in the unit of the records: shares are not in per cent.
    """
    return {
        "format": FORMAT,
        "lowland": __version__,
        "title": page.title,
        "subtitle": page.subtitle,
        "headline": page.headline,
        "lead": _texts(page.lead),
        "sections": [{"title": section.title, "texts": _texts(section.blocks)} for section in page.sections],
        "tables": {
            name: {"caption": caption, "columns": columns, "rows": rows}
            for name, caption, columns, rows in page_tables(page)
        },
        "errors": _error_columns(page),
    }


def page_tables(page: Page) -> Iterator[NamedTable]:
    """Yield all tables of a page, with names that differ."""
    taken: set[str] = set()
    for title, block in _walk("lead", (*page.lead, *page.sections)):
        tables = [block] if isinstance(block, Table | Data) else list(tables_in(block))
        for table in tables:
            name = base = _safe(table.name if isinstance(table, Data) else title)
            number = 2
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name)
            yield _named(name, title, table)


def tables_in(block: Block) -> Iterable[Data]:
    """Return the tables of values in a block that is no table itself."""
    match block:
        case Figure(data=data) | ErrorList(data=data) | EditList(data=data):
            return [data]
        case Beside(tables):
            return tables
    return []


def _named(name: str, title: str, table: Table | Data) -> NamedTable:
    if isinstance(table, Table):
        rows: list[list[Value]] = [
            [entry.text if isinstance(entry, Quoted) else entry for entry in row] for row in table.rows
        ]
        return name, title, list(table.header), rows
    columns = [each for column in table.columns for each in column.names]
    values = [
        [
            value
            for column, cell in zip(table.columns, row, strict=True)
            for value in plain_cells(column, cell)
        ]
        for row in table.rows
    ]
    return name, table.caption, columns, values


def _walk(title: str, blocks: Sequence[Block]) -> Iterator[tuple[str, Block]]:
    """Yield every block that is no section, with the title of the innermost section around it."""
    for block in blocks:
        if isinstance(block, Section):
            yield from _walk(block.title, block.blocks)
        else:
            yield title, block


def _texts(blocks: Sequence[Block]) -> list[str]:
    texts: list[str] = []
    for _, block in _walk("", blocks):
        match block:
            case Paragraph(text) | Code(text):
                texts.append(text)
            case Bullets(items):
                texts += items
            case Figure(caption=caption) | EditList(caption=caption):
                texts.append(caption)
    return texts


def _error_columns(page: Page) -> dict[str, Any] | None:
    """Return where the columns of each method are in the table of errors; None without such a table."""
    for _, block in _walk("", page.sections):
        if isinstance(block, ErrorList):
            return {
                "runs": block.runs,
                "reference": block.reference,
                "expected": block.expected,
                "methods": [asdict(each) for each in block.methods],
            }
    return None


def _safe(text: str) -> str:
    """Return a text as the name of a file: letters, digits, `-`, `_`, `.` and `+`."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("._").lower()[:80] or "table"
