"""Report of `lowland measure adapters`: figures of runs and layers, overlaps of subspaces, drift of hidden states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lowland.report.blocks import Block, Bullets, Paragraph, Section, Table
from lowland.report.wording import MISSING

Rows = Sequence[Mapping[str, Any]]
Retained = Mapping[tuple[str, int], float]
"""Mean score of each run on other texts minus that of its base model, by method and seed."""

FIGURES = {
    "norm_a": "‖A‖",
    "norm_b": "‖B‖",
    "norm_ba": "‖BA‖",
    "norm_update": "‖ΔW‖",
    "relative_update": "‖ΔW‖ / ‖W‖",
    "largest_singular_value": "largest σ",
    "effective_rank": "effective rank",
    "directions_90": "directions for 90 %",
    "directions_99": "for 99 %",
    "rank_utilisation": "share of r used",
}
"""Figures of a layer, and their titles."""
RUN = ["task", "method", "seed", "run"]


def per_run(layers: Rows, drifts: Rows, retained: Retained) -> pd.DataFrame:
    """Return a row for each run: means of the figures over its layers, and sums of its intruder dimensions.

    `rank` is the mean over layers; `cka` and `cosine` are those of the last hidden states; `retention` is the mean
    score on other texts minus that of the base.
    """
    table = pd.DataFrame(layers)
    last = {row["run"]: row for row in drifts}
    rows = []
    for (task, method, _, run), own in table.groupby(RUN, dropna=False, sort=False):
        seed = own["seed"].iloc[0]
        means = own[["rank", *FIGURES]].astype(float).mean()
        counts = own[["intruders", "leading"]].astype(float).sum(min_count=1)
        state = last.get(run, {})
        rows.append(
            {
                "task": task,
                "method": method,
                "seed": None if pd.isna(seed) else int(seed),
                "run": run,
                "layers": len(own),
                **{name: _plain(value) for name, value in {**means, **counts}.items()},
                "cka": state.get("cka"),
                "cosine": state.get("cosine"),
                "retention": None if pd.isna(seed) else retained.get((str(method), int(seed))),
            }
        )
    return pd.DataFrame(rows)


def adapter_blocks(
    layers: Rows,
    overlaps: Rows,
    drifts: Rows,
    retained: Retained,
    notes: Sequence[str],
    *,
    k: int,
    epsilon: float,
    directions: int,
    by_layer: bool,
) -> list[Block]:
    """Build the report.

    Args:
        layers: figures of each layer of each run.
        overlaps: overlaps of each layer of two runs.
        drifts: similarity of each layer's hidden states to those of the base.
        retained: what each run lost on other texts.
        notes: sentences on what could not be measured.
        k: number of leading singular vectors that may be intruders.
        epsilon: similarity below which they are.
        directions: number of directions whose subspaces are compared.
        by_layer: whether to show each layer.
    """
    runs = per_run(layers, drifts, retained)
    blocks: list[Block] = [
        Paragraph("What each method added to the weights, means over layers and seeds:"),
        _summary(runs),
    ]
    if runs["intruders"].notna().any() or runs["cka"].notna().any() or runs["retention"].notna().any():
        blocks.append(_consequences(runs, k, epsilon))
    if overlaps:
        blocks.append(_overlaps(overlaps, directions))
    if by_layer:
        blocks += [_layers(layers), *([_drifts(drifts)] if drifts else [])]
    if notes:
        blocks.append(Bullets(tuple(notes)))
    return blocks


def _named(table: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each row's method, with the task in front where there are several."""
    tasks = set(table["task"]) - {""}
    if len(tasks) < 2:
        return table["method"].astype(str)
    return (table["task"] + ": " + table["method"]).astype(str)


def _summary(runs: pd.DataFrame) -> Table:
    """Return a row for each method: means over its runs."""
    shown = [name for name in FIGURES if runs[name].notna().any()]
    header = ("method", "seeds", "layers", "r", *(FIGURES[name] for name in shown))
    rows = tuple(
        (
            str(method),
            str(len(own)),
            _number(own["layers"].mean()),
            _number(own["rank"].mean()),
            *(_number(own[name].astype(float).mean()) for name in shown),
        )
        for method, own in runs.groupby(_named(runs), sort=False)
    )
    return Table(header, rows)


def _consequences(runs: pd.DataFrame, k: int, epsilon: float) -> Section:
    """Return what stands beside the intruder dimensions: drift of the last hidden states, and retention; run by run."""
    columns = {
        "intruders": "intruder dimensions",
        "leading": "of",
        "cka": "CKA, last states",
        "cosine": "cosine, last states",
        "retention": "retention minus base",
    }
    shown = [name for name in columns if runs[name].notna().any()]
    rows = tuple(
        (
            str(method),
            "" if row["seed"] is None or pd.isna(row["seed"]) else str(int(row["seed"])),
            *(
                _count(row[name]) if name in ("intruders", "leading") else _number(row[name])
                for name in shown
            ),
        )
        for method, (_, row) in zip(_named(runs), runs.iterrows(), strict=True)
    )
    table = Table(("method", "seed", *(columns[name] for name in shown)), rows)
    return Section(
        "Intruder dimensions, drift and forgetting",
        (Paragraph(about_intruders(f"{k} leading", f"{epsilon:g}", shown)), table),
    )


def about_intruders(leading: str, epsilon: str, shown: Sequence[str]) -> str:
    """Return what intruder dimensions are, and what stands beside them.

    Args:
        leading: which singular vectors may be intruders: "10 leading".
        epsilon: cosine below which they are, in words.
        shown: names of the figures that are shown.
    """
    lines = [
        f"An intruder dimension is one of the {leading} left singular vectors of W + ΔW whose cosine with every"
        f" left singular vector of W is below {epsilon} (Shuttleworth et al., 2024)."
    ]
    if "cka" in shown:
        lines.append(
            "CKA (linear, without bias) and the mean cosine compare the last hidden states with those of the base"
            " model: 1 is no drift."
        )
    if "retention" in shown:
        lines.append("Retention is the mean score on other texts; below 0, the run has forgotten.")
    return " ".join(lines)


def _overlaps(overlaps: Rows, directions: int) -> Section:
    """Return the mean overlaps of pairs of runs, by their methods and whether they share a seed."""
    rows = tuple(
        (pair, seeds, str(pairs), *map(_number, means))
        for pair, seeds, pairs, means in pairs_of_runs(overlaps)
    )
    header = ("methods", "seeds", "pairs", "outputs (left)", "at random", "inputs (right)", "at random")
    about = Paragraph(about_overlaps(directions))
    return Section("Overlap of what was learned", (about, Table(header, rows)))


def pairs_of_runs(overlaps: Rows) -> list[tuple[str, str, int, list[float]]]:
    """Return the mean overlaps of pairs of runs: methods, "same" or "different" seeds, number of pairs, and the means.

    The means are over layers and pairs: on the side of the outputs, the same at random, on that of the inputs, and the
    same at random.
    """
    table = pd.DataFrame(overlaps)
    first, second = _named(table), _named(table[["task_b", "method_b"]].set_axis(["task", "method"], axis=1))
    table = table.assign(
        pair=[f"{a} and {b}" if a != b else a for a, b in zip(first, second, strict=True)],
        seeds=[
            "same" if a == b else "different" for a, b in zip(table["seed"], table["seed_b"], strict=True)
        ],
    )
    return [
        (
            str(pair),
            str(seeds),
            own[["run", "run_b"]].drop_duplicates().shape[0],
            [float(own[name].mean()) for name in ("left", "left_random", "right", "right_random")],
        )
        for (pair, seeds), own in table.groupby(["pair", "seeds"], sort=False)
    ]


def about_overlaps(directions: int) -> str:
    """Return what the overlap of so many directions is."""
    return (
        f"Overlap of the {directions} leading singular directions of ΔW, mean over layers and pairs of runs: 1 if the"
        " subspaces are the same, 0 if they are orthogonal (Hu et al., 2021, section 7.2). Beside it, the mean for"
        " subspaces drawn at random. Runs of one seed start from the same A."
    )


def _layers(layers: Rows) -> Section:
    """Return the figures of each layer: means over the seeds of a method."""
    table = pd.DataFrame(layers)
    shown = [name for name in (*FIGURES, "intruders", "least_similarity") if table[name].notna().any()]
    titles = {**FIGURES, "intruders": "intruders", "least_similarity": "least cosine"}
    rows = tuple(
        (str(method), str(layer), *(_number(own[name].astype(float).mean()) for name in shown))
        for (method, layer), own in table.groupby([_named(table), "layer"], sort=False)
    )
    return Section("By layer", (Table(("method", "layer", *(titles[name] for name in shown)), rows),))


def _drifts(drifts: Rows) -> Section:
    """Return the similarity of each layer's hidden states to those of the base: means over the seeds of a method."""
    table = pd.DataFrame(drifts)
    rows = tuple(
        (str(method), str(layer), _number(own["cka"].mean()), _number(own["cosine"].mean()))
        for (method, layer), own in table.groupby([_named(table), "layer"], sort=False)
    )
    about = Paragraph("Layer 0 stands for the states before the first layer.")
    return Section("Drift by layer", (about, Table(("method", "layer", "CKA", "cosine"), rows)))


def _number(value: Any) -> str:
    """Write a number with three or more digits; `n/a` for a missing one."""
    if value is None or pd.isna(value):
        return MISSING
    return f"{value:.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def _count(value: Any) -> str:
    return MISSING if value is None or pd.isna(value) else f"{value:.0f}"


def _plain(value: Any) -> float | None:
    """Return a number, and None for NaN."""
    return None if math.isnan(value) else float(value)
