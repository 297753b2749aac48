"""Blocks that a report is made of: data only, which renderers turn into Markdown or another format.

Texts are plain, but for `code` in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quoted:
    """Text of another author, such as a prompt or a reply: a renderer escapes markup in it."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """List of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines that are shown as they are, such as a traceback, or a program in a language."""

    text: str
    language: str = ""


@dataclass(frozen=True)
class Table:
    """Table with one entry in each row for each column of the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | Quoted, ...], ...]


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; sections within it have headings of the next level."""

    title: str
    blocks: tuple[Block, ...]


Block = Paragraph | Bullets | Code | Table | Section
