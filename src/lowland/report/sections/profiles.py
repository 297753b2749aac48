"""Profiles: figures of methods by layer, their plots, and their cells in tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.ground.visible import visible
from lowland.report.cells import Cell
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.svg import Drawing

NUMBER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")
"""Number of a layer in the name of a module."""


@dataclass(frozen=True)
class Profile:
    """A figure of one method by layer.

    Attributes:
        method: the method.
        layers: numbers of the layers, or their names.
        mean: mean over seeds, of the mean over the modules of a layer.
        low: lowest seed.
        high: highest seed.
    """

    method: str
    layers: tuple[str, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def points(self) -> list[tuple[float, float, float, float]]:
        """Return number, mean, lowest and highest of the layers that have a number."""
        every = zip(self.layers, self.mean, self.low, self.high, strict=True)
        return [(float(layer), mean, low, high) for layer, mean, low, high in every if layer.isdigit()]


def number_or_name(layer: str) -> str:
    """Return the number of a layer in a module's name; of a module that is in no numbered layer, its name."""
    match = NUMBER.search(layer)
    return match[1] if match else layer


def profiles_of(table: pd.DataFrame, figure: str) -> list[Profile]:
    """Return the profile of each method that has the figure.

    Args:
        table: a row for each module of each run; columns `method`, `run`, `place` (number or name of the layer).
        figure: column of the figure.
    """
    profiles = []
    for method, own in table.groupby("method", sort=False):
        by_run = own.groupby(["place", "run"], sort=False)[figure].mean().unstack("run")  # (layers, runs)
        by_run = by_run.loc[sorted(by_run.index, key=_order)]
        values = by_run.to_numpy(np.float64)
        known = ~np.isnan(values).all(axis=1)
        values, places = values[known], by_run.index[known]
        if len(values):
            ends = (np.nanmean(values, axis=1), np.nanmin(values, axis=1), np.nanmax(values, axis=1))
            profiles.append(
                Profile(str(method), tuple(map(str, places)), *(tuple(map(float, end)) for end in ends))
            )
    return profiles


def _order(place: str) -> tuple[int, float, str]:
    return (0, float(place), "") if place.isdigit() else (1, 0.0, place)


def profile_plot(title: str, profiles: Sequence[Profile], names: Sequence[str]) -> Drawing | None:
    """Draw profiles by layer, with the range over runs; None if no layer has a number.

    Args:
        title: what is shown.
        profiles: the profiles.
        names: names of the page's methods, whose places give their looks.
    """
    lines = []
    for profile in profiles:
        points = profile.points()
        if not points:
            continue
        has_range = any(low < high for _, _, low, high in points)
        lines.append(
            Line(
                profile.method,
                names.index(profile.method),
                tuple((number, mean) for number, mean, _, _ in points),
                tuple(low for _, _, low, _ in points) if has_range else (),
                tuple(high for *_, high in points) if has_range else (),
            )
        )
    if not lines:
        return None
    words = "; ".join(f"{line.name}: {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in lines)
    return plot(
        lines, Frame(title[:1].upper() + title[1:], f"From the first layer to the last. {words}.", "layer")
    )


def cells_of(profiles: Mapping[str, Sequence[Profile]]) -> dict[tuple[str, str], dict[str, Cell]]:
    """Return mean, lowest and highest of each figure, by method and layer."""
    cells: dict[tuple[str, str], dict[str, Cell]] = {}
    for figure, each in profiles.items():
        for profile in each:
            values = zip(profile.mean, profile.low, profile.high, strict=True)
            for layer, value in zip(profile.layers, values, strict=True):
                cells.setdefault((profile.method, layer), {})[figure] = value
    return cells


def legend_of(table: pd.DataFrame, names: Sequence[str]) -> dict[int, str]:
    """Return the names of the measured methods, by their numbers."""
    measured = set(table["method"])
    return {number: visible(name) for number, name in enumerate(names) if name in measured}
