"""Curvature: the largest eigenvalues, the trace and the spectral density of each method's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from lowland.evidence.density import density_bins, shares_in
from lowland.evidence.spectrum import Ratio, ratios_of
from lowland.report.blocks import Block, Bullets, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell, Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.strips import Reading, strips
from lowland.report.drawing.svg import Drawing
from lowland.report.sections.flatness import ABOUT_ADAPTERS, ADAPTER
from lowland.report.spectrum import MATRICES, QUANTITIES, SPACES, about_errors, about_ratios, ratio_sentences

EIGENVALUE, SMALLEST, TRACE, LOSS, DENSITY = "eigenvalue", "smallest_eigenvalue", "trace", "loss", "density"
"""Names of the quantities in a table."""
HESSIAN = "hessian"
EIGENVALUES = 2
"""Number of eigenvalues in a table; the file has all."""
FLOOR = 1e-8
"""Share of eigenvalues below which a plot shows no differences."""


def curvature_blocks(table: pd.DataFrame, reference: str, names: Sequence[str]) -> list[Block]:
    """Build a section for each space of weights.

    Args:
        table: the table of `lowland measure spectrum`.
        reference: method that the others are compared with.
        names: names of the page's methods, whose places give their looks.
    """
    first, ratios = table.iloc[0], ratios_of(table, reference)
    errors = about_errors(str(first["split"]), int(first["examples"]), int(first["probes"]))
    blocks: list[Block] = [
        Paragraph(
            f"{errors} Compare methods at like losses: a model with a smaller loss has smaller curvature."
        )
    ]
    for space, rows in table.groupby("space", sort=False):
        matrices = [matrix for matrix in MATRICES if matrix in set(rows["matrix"])]
        sentences = tuple(
            f"{MATRICES[matrix]}: {sentence[:1].lower()}{sentence[1:]}"
            for matrix in matrices
            for sentence in ratio_sentences(ratios, str(space), matrix)
        )
        inner: list[Block] = [Paragraph(ABOUT_ADAPTERS)] if space == ADAPTER else []
        inner += [Bullets(sentences)] if sentences else []
        inner.append(_figure(rows, str(space), matrices, names))
        words = SPACES[str(space)]
        blocks.append(Section(words[:1].upper() + words[1:], tuple(inner)))
    blocks += _density(table, names)
    if ratios:
        blocks.append(_ratios(ratios, names))
    if words := about_ratios(ratios):
        blocks.append(Paragraph(words))
    return blocks


def _figure(rows: pd.DataFrame, space: str, matrices: Sequence[str], names: Sequence[str]) -> Figure:
    """Build the plots of largest eigenvalue and trace in one space, and the table of all runs."""
    plots = tuple(
        _runs(rows[rows["matrix"] == matrix], quantity, matrix, names)
        for matrix in matrices
        for quantity in (EIGENVALUE, TRACE)
    )
    return Figure(
        f"curvature-{space}",
        "Each marker is a run, in the order of the seeds; the line is the error of its calculation, which says nothing"
        " of other seeds or examples.",
        plots,
        _table(rows, space, matrices, names),
        legend=_legend(rows, names),
    )


def _runs(rows: pd.DataFrame, quantity: str, matrix: str, names: Sequence[str]) -> Drawing:
    """Draw a figure of each run."""
    own = rows[(rows["quantity"] == quantity) & (rows["index"] == 1)].sort_values("seed")
    readings = []
    for number, name in enumerate(names):
        of_method = own[own["method"] == name]
        if of_method.empty:
            continue
        runs = list(zip(of_method["value"], of_method["error"].fillna(0), strict=True))
        values = tuple((value, value - error, value + error) for value, error in runs)
        words = ", ".join(f"{value:.4g}" for value, _ in runs)
        readings.append(Reading(name, number, values, f"{name}: {words}"))
    title = f"{MATRICES[matrix].removesuffix(' matrix')}: {QUANTITIES[quantity]}"
    return strips({"": readings}, title, f"{'; '.join(each.tip for each in readings)}.")


def _legend(rows: pd.DataFrame, names: Sequence[str]) -> dict[int, str]:
    measured = set(rows["method"])
    return {number: name for number, name in enumerate(names) if name in measured}


def _table(rows: pd.DataFrame, space: str, matrices: Sequence[str], names: Sequence[str]) -> Data:
    """Build a row for each run, with the figures of all matrices."""
    count = min(EIGENVALUES, int(rows.loc[rows["quantity"] == EIGENVALUE, "index"].max()))
    shown = [
        (matrix, quantity, index)
        for matrix in matrices
        for quantity, index in (
            *[(EIGENVALUE, index) for index in range(1, count + 1)],
            (TRACE, 1),
            *([(SMALLEST, 1)] if matrix == HESSIAN else []),
        )
    ]
    columns = (
        Column("method", "method"),
        Column("seed", "seed", "number", "d"),
        Column("loss", "loss", "error", ".4g"),
        *[_column(*each) for each in shown],
    )
    figures = {
        tuple(where): (float(value), float(error))
        for *where, value, error in zip(
            *(rows[name] for name in ("run", "matrix", "quantity", "index", "value", "error")), strict=True
        )
        if where[2] != DENSITY
    }
    runs = rows[["run", "method", "seed"]].drop_duplicates()
    runs = runs.sort_values("method", key=lambda methods: methods.map(names.index), kind="stable")
    entries: list[Row] = []
    for run, method, seed in zip(runs["run"], runs["method"], runs["seed"], strict=True):
        cells: list[Cell] = [figures.get((run, *each)) for each in (("", LOSS, 1), *shown)]
        entries.append((str(method), int(seed), *cells))
    caption = (
        f"Eigenvalues and traces of each run, {SPACES[space]}; H is the Hessian, G the Gauss-Newton matrix"
    )
    return Data(f"curvature_{space}", caption, columns, tuple(entries), heading=2)


def _column(matrix: str, quantity: str, index: int) -> Column:
    letter = "H" if matrix == HESSIAN else "G"
    titles = {TRACE: "trace", SMALLEST: "smallest seen", EIGENVALUE: f"eigenvalue {index}"}
    name = f"{quantity}_{index}" if quantity == EIGENVALUE else quantity
    return Column(f"{letter.lower()}_{name}", f"{letter}: {titles[quantity]}", "error", ".4g")


def _density(table: pd.DataFrame, names: Sequence[str]) -> list[Block]:
    """Build the plot of the share of eigenvalues by their size; none if no density was measured.

    It is that of the first matrix in the first space: one picture shows its shape, and the file has the others.
    """
    measured = table[(table["quantity"] == DENSITY) & table["at"].notna()]
    if measured.empty:
        return []
    space, matrix = measured.iloc[0][["space", "matrix"]]
    own = measured[(measured["space"] == space) & (measured["matrix"] == matrix)]
    bins = density_bins(own)
    shares = {name: shares_in(own[own["method"] == name], bins) for name in _legend(own, names).values()}
    middles = (bins[1:] + bins[:-1]) / 2
    lines = [
        Line(
            name,
            names.index(name),
            tuple((at, math.log10(max(share, FLOOR))) for at, share in zip(middles, each, strict=True)),
        )
        for name, each in shares.items()
    ]
    words = "; ".join(f"{name}: {max(each):.4g} in the fullest bin" for name, each in shares.items())
    drawing = plot(lines, Frame("Share of the eigenvalues, power of ten", f"{words}.", "eigenvalue"))
    columns = (
        Column("from", "from", "number", ".4g"),
        Column("to", "to", "number", ".4g"),
        *[Column(name, name, "number", ".3g") for name in shares],
    )
    entries = tuple(
        (float(low), float(high), *[float(each[place]) for each in shares.values()])
        for place, (low, high) in enumerate(pairwise(bins))
    )
    where = f"{MATRICES[str(matrix)]}, {SPACES[str(space)]}"
    figure = Figure(
        "density",
        f"Share of the eigenvalues in each of {len(entries)} bins ({where}), from the smoothed density: mean over"
        f" seeds. Less than {FLOOR:g} is drawn as {FLOOR:g}.",
        (drawing,),
        Data("density", f"Share of the eigenvalues, {where}", columns, entries, heading=2),
        legend=_legend(own, names),
    )
    return [figure]


def _ratios(ratios: Sequence[Ratio], names: Sequence[str]) -> Data:
    """Build a row for each quantity of each matrix in each space, with the ratio of each method to the reference."""
    compared = {each.method for each in ratios}
    methods = [name for name in names if name in compared]
    columns = [Column("matrix", "matrix"), Column("space", "space"), Column("quantity", "ratio of the")]
    for method in methods:
        columns += [
            Column(method, method, "interval", ".3g"),
            Column(f"{method}: p_holm", "p (Holm)", "number", ".2g"),
            Column(f"{method}: seeds", "seeds", "number", "d"),
        ]
    named = {(each.matrix, each.space, each.quantity, each.method): each for each in ratios}
    rows: list[Row] = []
    for matrix, space, quantity in dict.fromkeys(key[:3] for key in named):
        cells: list[Cell] = []
        for method in methods:
            each = named.get((matrix, space, quantity, method))
            cells += (
                [None, None, None]
                if each is None
                else [(each.ratio, each.low, each.high), each.p_holm, len(each.per_seed)]
            )
        rows.append((MATRICES[matrix], space, QUANTITIES[quantity], *cells))
    caption = f"Ratios of the curvature to that of {ratios[0].reference}, geometric mean over seeds"
    return Data("curvature_ratios", caption, tuple(columns), tuple(rows), heading=3)
