"""Curvature: the largest eigenvalues, the trace and the spectral density of each method's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from lowland.evidence.density import density_bins, shares_in
from lowland.evidence.spectrum import Ratio, ratios_of
from lowland.report.blocks import Block, Bullets, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell, Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.strips import Reading, strips
from lowland.report.drawing.svg import Drawing
from lowland.report.spectrum import MATRICES, QUANTITIES, SHOWN, SPACES, about_errors, about_ratios, ratio_sentences

EIGENVALUE, SMALLEST, TRACE, LOSS, DENSITY = "eigenvalue", "smallest_eigenvalue", "trace", "loss", "density"
"""Names of the quantities in a table."""
FLOOR = 1e-8
"""Share of eigenvalues below which a plot shows no differences."""


def curvature_blocks(table: pd.DataFrame, reference: str, names: Sequence[str]) -> list[Block]:
    """Build a section for each matrix in each space of weights.

    Args:
        table: the table of `lowland measure spectrum`.
        reference: method that the others are compared with.
        names: names of the page's methods, whose places give their looks.
    """
    first, ratios = table.iloc[0], ratios_of(table, reference)
    blocks: list[Block] = [
        Paragraph(about_errors(str(first["split"]), int(first["examples"]), int(first["probes"])))
    ]
    for (space, matrix), rows in table[table["matrix"] != ""].groupby(["space", "matrix"], sort=False):
        losses = table[(table["space"] == space) & (table["quantity"] == LOSS)]
        inner: list[Block] = []
        if sentences := tuple(ratio_sentences(ratios, str(space), str(matrix))):
            inner.append(Bullets(sentences))
        inner.append(_figure(rows, losses, str(space), str(matrix), names))
        inner += _density(rows, str(space), str(matrix), names)
        blocks.append(Section(f"{MATRICES[str(matrix)]}, {SPACES[str(space)]}", tuple(inner)))
    if ratios:
        blocks.append(_ratios(ratios))
    if words := about_ratios(ratios):
        blocks.append(Paragraph(words))
    return blocks


def _figure(
    rows: pd.DataFrame, losses: pd.DataFrame, space: str, matrix: str, names: Sequence[str]
) -> Figure:
    """Build the plots of largest eigenvalue and trace, and the table of all runs."""
    plots = tuple(_runs(rows, quantity, names) for quantity in (EIGENVALUE, TRACE))
    return Figure(
        f"curvature-{space}-{matrix}",
        "Each marker is a run, in the order of the seeds; the line is the error of its calculation, which says nothing"
        " of other seeds or examples.",
        plots,
        _table(rows, losses, space, matrix),
        legend=_legend(rows, names),
    )


def _runs(rows: pd.DataFrame, quantity: str, names: Sequence[str]) -> Drawing:
    own = rows[(rows["quantity"] == quantity) & (rows["index"] == 1)].sort_values("seed")
    readings = []
    for number, name in enumerate(names):
        of_method = own[own["method"] == name]
        if of_method.empty:
            continue
        runs = list(zip(of_method["seed"], of_method["value"], of_method["error"].fillna(0), strict=True))
        words = ", ".join(f"{value:.4g} ± {error:.2g} (seed {seed})" for seed, value, error in runs)
        values = tuple((value, value - error, value + error) for _, value, error in runs)
        readings.append(Reading(name, number, values, f"{name}: {words}"))
    title = QUANTITIES[quantity].capitalize()
    return strips({"": readings}, title, f"{'; '.join(each.tip for each in readings)}.")


def _legend(rows: pd.DataFrame, names: Sequence[str]) -> dict[int, str]:
    measured = set(rows["method"])
    return {number: name for number, name in enumerate(names) if name in measured}


def _table(rows: pd.DataFrame, losses: pd.DataFrame, space: str, matrix: str) -> Data:
    largest = rows.loc[rows["quantity"] == EIGENVALUE, "index"]
    shown = [(EIGENVALUE, index) for index in range(1, min(SHOWN, int(largest.max())) + 1)]
    shown += [(TRACE, 1), *([(SMALLEST, 1)] if matrix == "hessian" else [])]
    columns = (
        Column("method", "method"),
        Column("seed", "seed", "number", "d"),
        Column("loss", "loss", "error", ".4g"),
        *[_column(quantity, index) for quantity, index in shown],
    )
    figures = {
        (run, quantity, index): (float(value), float(error))
        for run, quantity, index, value, error in zip(
            *(rows[name] for name in ("run", "quantity", "index", "value", "error")), strict=True
        )
        if quantity != DENSITY
    }
    of_run = {
        run: (float(value), float(error))
        for run, value, error in zip(losses["run"], losses["value"], losses["error"], strict=True)
    }
    runs = rows[["run", "method", "seed"]].drop_duplicates()
    entries: list[Row] = []
    for run, method, seed in zip(runs["run"], runs["method"], runs["seed"], strict=True):
        cells: list[Cell] = [figures.get((run, quantity, index)) for quantity, index in shown]
        entries.append((str(method), int(seed), of_run[run], *cells))
    caption = f"Eigenvalues and trace of each run, {MATRICES[matrix]}, {SPACES[space]}"
    return Data(f"curvature_{space}_{matrix}", caption, columns, tuple(entries))


def _column(quantity: str, index: int) -> Column:
    titles = {TRACE: "trace", SMALLEST: "smallest seen", EIGENVALUE: f"eigenvalue {index}"}
    name = f"{quantity}_{index}" if quantity == EIGENVALUE else quantity
    return Column(name, titles[quantity], "error", ".4g")


def _density(rows: pd.DataFrame, space: str, matrix: str, names: Sequence[str]) -> list[Block]:
    """Build the plot of the share of eigenvalues by their size; none if no density was measured."""
    own = rows[rows["quantity"] == DENSITY]
    if own.empty or own["at"].isna().any():
        return []
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
    drawing = plot(lines, Frame("Share of the eigenvalues (log10)", f"{words}.", "eigenvalue"))
    columns = (
        Column("from", "from", "number", ".4g"),
        Column("to", "to", "number", ".4g"),
        *[Column(name, name, "number", ".3g") for name in shares],
    )
    entries = tuple(
        (float(low), float(high), *[float(each[place]) for each in shares.values()])
        for place, (low, high) in enumerate(zip(bins[:-1], bins[1:], strict=True))
    )
    caption = f"Share of the eigenvalues, {MATRICES[matrix]}, {SPACES[space]}"
    figure = Figure(
        f"density-{space}-{matrix}",
        f"Share of the eigenvalues in each of {len(entries)} bins, from the smoothed density: mean over seeds. The"
        f" vertical axis is the power of ten; less than {FLOOR:g} is drawn as {FLOOR:g}.",
        (drawing,),
        Data(f"density_{space}_{matrix}", caption, columns, entries, heading=2),
        legend=_legend(own, names),
    )
    return [figure]


def _ratios(ratios: Sequence[Ratio]) -> Data:
    columns = (
        Column("matrix", "matrix"),
        Column("space", "space"),
        Column("quantity", "ratio of the"),
        Column("method", "method"),
        Column("reference", "to"),
        Column("ratio", "ratio", "interval", ".3g"),
        Column("p_holm", "p (Holm)", "number", ".2g"),
        Column("seeds", "seeds", "number", "d"),
    )
    rows = tuple(
        (
            MATRICES[each.matrix],
            each.space,
            QUANTITIES[each.quantity],
            each.method,
            each.reference,
            (each.ratio, each.low, each.high),
            each.p_holm,
            len(each.per_seed),
        )
        for each in ratios
    )
    return Data("curvature_ratios", "Ratios of the curvature, geometric mean over seeds", columns, rows, 4)
