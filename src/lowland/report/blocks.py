"""Blocks that a report is made of: data only, which renderers turn into Markdown or another format.

Texts are plain, but for `code` in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lowland.report.cells import Column, Row
from lowland.report.drawing.svg import Drawing
from lowland.report.edits import Edit


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
class Link:
    """Link to a file beside the report.

    Attributes:
        text: what it leads to.
        file: name of the file.
    """

    text: str
    file: str


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


@dataclass(frozen=True)
class Data:
    """Table of values, which a renderer writes for people or for programs. Texts in it may be of another author.

    Attributes:
        name: its name in a page's JSON, and that of its CSV file.
        caption: what it shows.
        columns: its columns.
        rows: its rows, with a value for each column.
        heading: number of columns at its left that name the row.
        shades: how deeply each cell is shaded, 0 to 1, or None for no shade; empty if no cell is.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    heading: int = 1
    shades: tuple[tuple[float | None, ...], ...] = ()


@dataclass(frozen=True)
class Beside:
    """Small tables that stand beside each other where there is room."""

    tables: tuple[Data, ...]


@dataclass(frozen=True)
class Figure:
    """Plots beside each other, with the values behind them.

    Attributes:
        name: a name that no other figure of the page has.
        caption: what is seen, and how to read it.
        plots: the plots.
        data: the values behind the plots.
        narrow: the same plots for narrow screens, where those do not fit.
        legend: names of the methods in the plots, by their number; empty if the plots name them.
    """

    name: str
    caption: str
    plots: tuple[Drawing, ...]
    data: Data
    narrow: tuple[Drawing, ...] = ()
    legend: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodColumns:
    """Columns of an error browser's table that speak of one method.

    Attributes:
        method: its name.
        number: its number, which gives its look.
        seeds: number of its runs.
        wrong: column with the number of its runs that are wrong.
        predicted: column with the most frequent wrong prediction.
        confidence: column with the mean confidence of the wrong predictions.
        fixed: column with the number of seeds in which it is right and the reference wrong; None for the reference.
        broken: column with the number of seeds in which it is wrong and the reference right.
    """

    method: str
    number: int
    seeds: int
    wrong: int
    predicted: int
    confidence: int
    fixed: int | None = None
    broken: int | None = None


@dataclass(frozen=True)
class ErrorList:
    """Examples that runs get wrong, to be searched and filtered.

    Attributes:
        data: the examples, those that the most runs get wrong first; columns `example`, `text`, `label`, `category`,
            `kinds`, `wrong`, then those of the methods.
        methods: where the methods' columns are.
        runs: number of runs.
        reference: the method that the others are compared with.
        expected: what the right answer is called.
        has_confidence: whether confidences are known.
        shown: number of examples that are shown where no script runs.
    """

    data: Data
    methods: tuple[MethodColumns, ...]
    runs: int
    reference: str
    expected: str = "label"
    has_confidence: bool = True
    shown: int = 20


@dataclass(frozen=True)
class EditedExample:
    """A text with its edits.

    Attributes:
        heading: how it was edited.
        about: what is known of it; "" if nothing is.
        edits: its pieces.
        answers: sentences on the answers to it.
    """

    heading: str
    about: str
    edits: tuple[Edit, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class EditList:
    """Texts with their edits. Texts and answers are of other authors.

    Attributes:
        caption: what they are.
        examples: the texts.
        data: the same for programs.
    """

    caption: str
    examples: tuple[EditedExample, ...]
    data: Data


Block = Paragraph | Bullets | Link | Code | Table | Section | Data | Beside | Figure | ErrorList | EditList


@dataclass(frozen=True)
class Page:
    """Page of a report.

    Attributes:
        title: what it is about.
        subtitle: what was trained and tested, in a line.
        headline: the verdict in one sentence.
        lead: blocks that belong to the verdict.
        sections: its sections, none of which is empty.
    """

    title: str
    subtitle: str
    headline: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
