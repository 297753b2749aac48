"""Renderer of a report's blocks to Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from lowland.report.blocks import Block, Bullets, Code, Paragraph, Quoted, Section, Table

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\|*_`<>[]#~$&"})


def render(blocks: Iterable[Block], level: int = 2) -> str:
    """Render blocks as Markdown, separated by empty lines.

    Args:
        blocks: in their order.
        level: level of the sections' headings: 1 for `#`, 2 for `##`.
    """
    return "\n\n".join(_render(block, level) for block in blocks)


def escape(text: str) -> str:
    """Return text with a backslash before every character that is markup in Markdown."""
    return text.translate(_MARKS)


def _render(block: Block, level: int) -> str:
    match block:
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Code(text, language):
            return f"```{language}\n{text}\n```"
        case Table():
            return _table(block)
        case Section(title, blocks):
            return f"{'#' * level} {title}\n\n{render(blocks, level + 1)}"


def _table(table: Table) -> str:
    rows = [
        [escape(entry.text) if isinstance(entry, Quoted) else entry for entry in row] for row in table.rows
    ]
    return str(tabulate(rows, headers=table.header, tablefmt="github", disable_numparse=True))
