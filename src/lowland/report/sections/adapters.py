"""Adapters: what training added to the weights, by method and by layer, and how far the hidden states drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lowland.ground.visible import visible
from lowland.report.adapters import FIGURES, about_intruders, about_overlaps, pairs_of_runs, per_run
from lowland.report.blocks import Block, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell, Column, Row
from lowland.report.sections.profiles import cells_of, legend_of, number_or_name, profile_plot, profiles_of

SUMMARY = {
    "relative_update": ".3g",
    "norm_update": ".3g",
    "effective_rank": ".3g",
    "directions_90": ".3g",
    "directions_99": ".3g",
    "rank_utilisation": ".3g",
}
"""Figures of the table of methods, with the form of their numbers."""
BY_LAYER = ("relative_update", "effective_rank", "rank_utilisation")
"""Figures that are drawn by layer."""


def adapter_blocks(table: pd.DataFrame, names: Sequence[str]) -> list[Block]:
    """Build the tables and plots of what methods learned.

    Args:
        table: the table of `lowland measure adapters`.
        names: names of the page's methods, whose places give their looks.
    """
    table = table.sort_values("method", key=lambda methods: methods.map(names.index), kind="stable")
    layers = table[table["part"] == "layer"]
    overlaps, drifts = table[table["part"] == "overlap"], table[table["part"] == "drift"]
    runs = per_run(_rows(layers), _rows(drifts), _retained(layers))
    blocks: list[Block] = [
        Paragraph(
            "ΔW is what training added to a layer's weight W: s·BA for LoRA, W' - W for everything else. These figures"
            " describe the runs; nothing here is tested."
        ),
        _summary(runs),
        _by_layer(layers, names),
    ]
    if runs["intruders"].notna().any():
        blocks.append(_intruders(layers, runs))
    if len(overlaps):
        blocks.append(_overlaps(overlaps))
    if len(drifts):
        blocks.append(_drifts(drifts, names))
    return blocks


def _rows(table: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


def _retained(layers: pd.DataFrame) -> Mapping[tuple[str, int], float]:
    """Return what each run lost on other texts, by method and seed; empty if it was not measured."""
    if "retention" not in layers:
        return {}
    own = layers.dropna(subset=["retention", "seed"])
    return {
        (str(method), int(seed)): float(value)
        for method, seed, value in zip(own["method"], own["seed"], own["retention"], strict=True)
    }


def _summary(runs: pd.DataFrame) -> Data:
    """Build a row for each method: mean and standard deviation over its runs of the means over layers."""
    shown = {name: form for name, form in SUMMARY.items() if runs[name].notna().any()}
    columns = (
        Column("method", "method"),
        Column("runs", "runs", "number", "d"),
        Column("layers", "layers", "number", ".3g"),
        Column("rank", "r", "number", ".3g"),
        *[Column(name, FIGURES[name], "spread", form) for name, form in shown.items()],
    )
    rows: list[Row] = []
    for method, own in runs.groupby("method", sort=False):
        values = own[list(shown)].astype(float)
        cells: list[Cell] = [
            (float(values[name].mean()), float(values[name].std()))
            if len(own) > 1
            else float(values[name].mean())
            for name in shown
        ]
        rank = float(own["rank"].astype(float).mean())
        rows.append((visible(str(method)), len(own), float(own["layers"].mean()), rank, *cells))
    caption = "What training added: means over layers, mean ± standard deviation over runs"
    return Data("adapters", caption, columns, tuple(rows))


def _by_layer(layers: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Build the plots of the figures by layer, and their table."""
    table = layers.assign(place=layers["layer"].map(number_or_name))
    shown = [name for name in BY_LAYER if table[name].notna().any()]
    with_rank = set(table.loc[table["rank"].notna(), "method"])
    plots = []
    for figure in shown:
        profiles = profiles_of(table, figure)
        if figure == "effective_rank" and with_rank:
            profiles = [each for each in profiles if each.method in with_rank]
        if drawing := profile_plot(FIGURES[figure], profiles, names):
            plots.append(drawing)
    left_out = set(table["method"]) - with_rank
    of_full = " Effective ranks of methods without A and B are of another size; the table has them."
    caption = (
        "By layer: means over its modules, the mean over runs, and the range from the lowest to the highest run."
        + (of_full if with_rank and left_out else "")
    )
    return Figure(
        "adapters-by-layer", caption, tuple(plots), _layer_table(table, shown), legend=legend_of(table, names)
    )


def _layer_table(table: pd.DataFrame, shown: Sequence[str]) -> Data:
    columns = (
        Column("method", "method"),
        Column("layer", "layer"),
        *[Column(name, FIGURES[name], "interval", ".3g") for name in shown],
        Column("intruders", "intruder dimensions, all runs", "number", ".0f"),
    )
    cells = cells_of({figure: profiles_of(table, figure) for figure in shown})
    intruders = table.groupby(["method", "place"])["intruders"].sum(min_count=1)
    rows: list[Row] = [
        (visible(method), visible(layer), *[own.get(name) for name in shown], float(intruders[method, layer]))
        for (method, layer), own in cells.items()
    ]
    if table["intruders"].isna().all():
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    caption = "Figures by layer: mean (lowest to highest run)"
    return Data("adapters_by_layer", caption, columns, tuple(rows), heading=2)


def _intruders(layers: pd.DataFrame, runs: pd.DataFrame) -> Section:
    """Build the table of intruder dimensions, with what stands beside them, run by run."""
    columns = {
        "intruders": Column("intruders", "intruder dimensions", "number", ".0f"),
        "leading": Column("leading", "of", "number", ".0f"),
        "cka": Column("cka", "CKA, last states", "number", ".3g"),
        "cosine": Column("cosine", "cosine, last states", "number", ".3g"),
        "retention": Column("retention", "retention minus base", "number", "+.3g"),
    }
    shown = [name for name in columns if runs[name].notna().any()]
    rows: list[Row] = [
        (
            visible(str(row["method"])),
            None if pd.isna(row["seed"]) else int(row["seed"]),
            *[None if pd.isna(row[name]) else float(row[name]) for name in shown],
        )
        for _, row in runs.iterrows()
    ]
    k, epsilon = (layers[name].iloc[0] if name in layers else None for name in ("k", "epsilon"))
    about = about_intruders(
        "leading" if k is None else f"{k:.0f} leading",
        "a limit" if epsilon is None else f"{epsilon:g}",
        shown,
    )
    data = Data(
        "intruders",
        "Intruder dimensions of each run",
        (
            Column("method", "method"),
            Column("seed", "seed", "number", "d"),
            *[columns[name] for name in shown],
        ),
        tuple(rows),
    )
    return Section("Intruder dimensions", (Paragraph(about), data))


def _overlaps(overlaps: pd.DataFrame) -> Section:
    """Build the table of overlaps: means over layers and pairs of runs."""
    columns = (
        Column("methods", "methods"),
        Column("seeds", "seeds"),
        Column("pairs", "pairs", "number", "d"),
        Column("left", "outputs (left)", "number", ".3g"),
        Column("left_random", "at random", "number", ".3g"),
        Column("right", "inputs (right)", "number", ".3g"),
        Column("right_random", "at random", "number", ".3g"),
    )
    rows: list[Row] = [
        (visible(pair), seeds, pairs, *map(float, means))
        for pair, seeds, pairs, means in pairs_of_runs(_rows(overlaps))
    ]
    about = about_overlaps(int(overlaps["directions"].iloc[0]))
    data = Data("overlaps", "Overlap, by methods and seeds", columns, tuple(rows), heading=2)
    return Section("Overlap of what was learned", (Paragraph(about), data))


def _drifts(drifts: pd.DataFrame, names: Sequence[str]) -> Section:
    """Build the plots of the drift of the hidden states by layer, and their table."""
    titles = {"cka": "CKA with the base's states", "cosine": "Cosine with the base's states"}
    table = drifts.assign(place=drifts["layer"].map(str))
    profiles = {figure: profiles_of(table, figure) for figure in titles}
    plots = [profile_plot(titles[figure], each, names) for figure, each in profiles.items()]
    columns = (
        Column("method", "method"),
        Column("layer", "layer"),
        Column("cka", "CKA", "interval", ".3g"),
        Column("cosine", "cosine", "interval", ".3g"),
    )
    rows: list[Row] = [
        (visible(method), layer, own.get("cka"), own.get("cosine"))
        for (method, layer), own in cells_of(profiles).items()
    ]
    drawn = Figure(
        "drift",
        "Similarity of the hidden states to those of the base model: 1 is no drift. Layer 0 stands for the states"
        " before the first layer. Mean over runs, and the range from the lowest to the highest run.",
        tuple(drawing for drawing in plots if drawing is not None),
        Data("drift", "Drift by layer: mean (lowest to highest run)", columns, tuple(rows), heading=2),
        legend=legend_of(table, names),
    )
    return Section("Drift by layer", (drawn,))
