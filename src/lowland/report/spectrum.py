"""Report of `lowland measure spectrum`: eigenvalues and traces by run, and ratios of methods in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from lowland.evidence.spectrum import Ratio
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Section, Table
from lowland.report.wording import p_value

SPACES = {"full": "full space (merged weights)", "adapter": "adapter's space (A and B)"}
MATRICES = {"hessian": "Hessian", "gauss-newton": "Gauss-Newton matrix"}
QUANTITIES = {"eigenvalue": "largest eigenvalue", "trace": "trace"}
SHOWN = 3
"""Number of eigenvalues in a table."""


def spectrum_blocks(
    table: pd.DataFrame, split: str, examples: int, probes: int, ratios: Sequence[Ratio]
) -> list[Block]:
    """Build the report of the spectra of the runs of one study.

    Args:
        table: the table of the measure.
        split: part of the data that the loss is taken over.
        examples: number of its examples.
        probes: number of probes of trace and density.
        ratios: comparisons with the reference.
    """
    blocks: list[Block] = [Paragraph(about_errors(split, examples, probes))]
    for (space, matrix), rows in table[table["matrix"] != ""].groupby(["space", "matrix"], sort=False):
        losses = table[(table["space"] == space) & (table["quantity"] == "loss")]
        inner: list[Block] = [_runs(rows, losses, signed=matrix == "hessian")]
        if sentences := tuple(ratio_sentences(ratios, str(space), str(matrix))):
            inner.append(Bullets(sentences))
        blocks.append(Section(f"{MATRICES[str(matrix)]}, {SPACES[str(space)]}", tuple(inner)))
    if compared := about_ratios(ratios):
        blocks.append(Paragraph(compared))
    return blocks


def about_errors(split: str, examples: int, probes: int) -> str:
    """Return what the loss is taken over, and what the errors of the figures are."""
    return (
        f"Curvature of the mean loss on {plural(examples, 'example')} of {visible(split)}. ± is the error of the"
        " calculation for this sample: of an eigenvalue, a true one lies within it; of a trace, it is the standard"
        f" error over {plural(probes, 'random vector')}. The loss has its standard error over the examples."
    )


def about_ratios(ratios: Sequence[Ratio]) -> str:
    """Return what intervals and p-values of ratios speak of; "" if there are none."""
    count = sum(not math.isnan(ratio.p) for ratio in ratios)
    if not count:
        return ""
    return (
        "Intervals of ratios are 95 % intervals over seeds, paired by seed; p-values are corrected for"
        f" {plural(count, 'comparison')} (Holm). They speak of other seeds, not of other examples: all runs have the"
        " same sample and the same random vectors."
    )


def spectrum_as_json(table: pd.DataFrame, ratios: Sequence[Ratio]) -> dict[str, Any]:
    """Return all figures but the densities, and the comparisons, as plain values; what is not known is null."""
    figures = table[table["quantity"] != "density"].drop(columns="at")
    return {
        "figures": _without_nan(figures.to_dict(orient="records")),
        "against": _without_nan([asdict(ratio) for ratio in ratios]),
    }


def _without_nan(rows: Sequence[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in rows
    ]


def _runs(rows: pd.DataFrame, losses: pd.DataFrame, *, signed: bool) -> Table:
    """Return the table of one matrix in one space, a row for each run; `signed` if eigenvalues may be negative."""
    shown = min(SHOWN, int((rows["quantity"] == "eigenvalue").groupby(rows["run"]).sum().max()))
    columns = {("eigenvalue", index): f"eigenvalue {index}" for index in range(1, shown + 1)}
    columns["trace", 1] = "trace"
    if signed:
        columns["smallest_eigenvalue", 1] = "smallest seen"
    entries = []
    for run, own in rows.groupby("run", sort=False):
        figures = _figures(own)
        (loss,) = _figures(losses[losses["run"] == run]).values()
        about = (visible(str(own["method"].iloc[0])), str(own["seed"].iloc[0]))
        entries.append((*about, loss, *(figures[column] for column in columns)))
    return Table(("method", "seed", "loss", *columns.values()), tuple(entries))


def _figures(rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Return figures with their errors, as texts, by quantity and index."""
    columns = (rows[name] for name in ("quantity", "index", "value", "error"))
    return {
        (quantity, index): _with_error(value, error)
        for quantity, index, value, error in zip(*columns, strict=True)
        if quantity != "density"
    }


def ratio_sentences(ratios: Sequence[Ratio], space: str, matrix: str) -> Iterator[str]:
    """Yield a sentence for each comparison of one matrix in one space."""
    for ratio in ratios:
        if (ratio.space, ratio.matrix) == (space, matrix):
            yield _sentence(ratio)


def _sentence(ratio: Ratio) -> str:
    seeds = plural(len(ratio.per_seed), "seed")
    names = f"{visible(ratio.method)} is {ratio.ratio:.2f} times that of {visible(ratio.reference)}"
    if math.isnan(ratio.low):
        return f"The {QUANTITIES[ratio.quantity]} of {names} ({seeds}, so that nothing is known of others)."
    if math.isnan(ratio.p):
        return f"The {QUANTITIES[ratio.quantity]} of {names} in all {seeds}."
    interval = f"{ratio.low:.2f} to {ratio.high:.2f}"
    return f"The {QUANTITIES[ratio.quantity]} of {names} ({interval}; {seeds}; p {p_value(ratio.p_holm)})."


def _with_error(value: float, error: float) -> str:
    """Write a number with four digits, and its error with two: `55.18 ± 0.011`, `725.2 ± 118`."""
    return f"{value:.4g} ± {error:.0f}" if error >= 100 else f"{value:.4g} ± {error:.2g}"
