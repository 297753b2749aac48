"""Renderer of a report's blocks to Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from lowland.report.blocks import (
    Beside,
    Block,
    Bullets,
    Code,
    Data,
    EditedExample,
    EditList,
    ErrorList,
    Figure,
    Link,
    Page,
    Paragraph,
    Quoted,
    Section,
    Table,
)
from lowland.report.cells import cell_text
from lowland.report.edits import plain_edits

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<>[]#~$&"})


def render(blocks: Iterable[Block], level: int = 2) -> str:
    """Render blocks as Markdown, separated by empty lines.

    Args:
        blocks: in their order.
        level: level of the sections' headings: 1 for `#`, 2 for `##`.
    """
    return "\n\n".join(_render(block, level) for block in blocks)


def render_page(page: Page) -> str:
    """Render a page as a Markdown document; plots are the tables of their values."""
    head = f"# {escape(page.title)}\n\n{page.subtitle}\n\n**{page.headline}**"
    return "\n\n".join([head, *([render(page.lead)] if page.lead else []), render(page.sections)]) + "\n"


def escape(text: str) -> str:
    """Return text with a backslash before every character that is markup in Markdown."""
    return text.translate(_MARKS)


def _render(block: Block, level: int) -> str:
    match block:
        case Paragraph() | Bullets() | Link() | Code():
            return _text(block)
        case Table():
            return _table(block)
        case Data():
            return _data(block)
        case Beside(tables):
            return "\n\n".join(map(_data, tables))
        case Figure(caption=caption, data=data):
            return f"{caption}\n\n{_data(data)}"
        case ErrorList(data=data, shown=shown):
            return _data(data, shown)
        case EditList(caption, examples):
            return "\n".join([f"{escape(caption)}:\n", *map(_edited, examples)])
        case Section(title, blocks):
            return f"{'#' * level} {title}\n\n{render(blocks, level + 1)}"


def _text(block: Paragraph | Bullets | Link | Code) -> str:
    match block:
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Link(text, file):
            return f"[{escape(text)}](<{file}>)"
        case Code(text, language):
            return f"```{language}\n{text}\n```"


def _edited(example: EditedExample) -> str:
    """Write a text with its edits in plain form, and the answers to it, as an entry of a list."""
    about = f" ({escape(example.about)})" if example.about else ""
    lines = [f"- {escape(example.heading)}{about}: {escape(plain_edits(example.edits))}"]
    return "\n".join([*lines, *(f"  - {escape(answer)}" for answer in example.answers)])


def _table(table: Table) -> str:
    rows = [
        [escape(entry.text) if isinstance(entry, Quoted) else entry for entry in row] for row in table.rows
    ]
    return str(tabulate(rows, headers=table.header, tablefmt="github", disable_numparse=True))


def _data(data: Data, most: int | None = None) -> str:
    """Write a table of values under its caption.

    Args:
        data: the table.
        most: largest number of rows; None for all.
    """
    rows = [
        [escape(cell_text(column, cell)) for column, cell in zip(data.columns, row, strict=True)]
        for row in data.rows[:most]
    ]
    left_out = len(data.rows) - len(rows)
    more = f" (the first {len(rows)} of {len(data.rows):,})" if left_out else ""
    headers = [escape(column.title) for column in data.columns]
    table = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    return f"{escape(data.caption)}{more}:\n\n{table}"
