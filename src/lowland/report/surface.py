"""Surfaces of the loss: what a page draws flat, and the file beside it lets its reader turn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.evidence.readers.slices import MeasuredSlice, MeasuredSlices
from lowland.evidence.slices import mean_losses
from lowland.ground.visible import visible
from lowland.report.drawing.planes import plane_map
from lowland.report.drawing.surfaces import interpolated, loss_scale
from lowland.report.drawing.svg import Drawing, Point


@dataclass(frozen=True)
class Surface:
    """Mean loss on a plane.

    Attributes:
        plane: what it shows: "the plane through base, lora, seed 1, full, seed 1".
        split: part of the data.
        losses: loss at each point (x, y) of a grid; one at least is finite.
        places: coordinates of the runs and the base model.
    """

    plane: str
    split: str
    losses: Mapping[Point, float]
    places: Mapping[str, Point]

    @property
    def title(self) -> str:
        """Title: the data, and what is shown."""
        return f"{self.split} data, {self.plane}"

    @property
    def xs(self) -> list[float]:
        """Coordinates of the grid from left to right."""
        return sorted({x for x, _ in self.losses})

    @property
    def ys(self) -> list[float]:
        """Coordinates of the grid from below."""
        return sorted({y for _, y in self.losses})

    @property
    def heights(self) -> dict[str, float | None]:
        """Loss at each place, between the points of the grid; None if it is not finite."""
        heights = {name: interpolated(self.losses, self.xs, self.ys, at) for name, at in self.places.items()}
        return {name: height if math.isfinite(height) else None for name, height in heights.items()}

    @property
    def drawing(self) -> Drawing:
        """The flat picture."""
        words = "; ".join(
            f"{name}: {'not finite' if height is None else f'{height:.3g}'}"
            for name, height in self.heights.items()
        )
        lowest = min(self.losses, key=lambda point: _or_infinite(self.losses[point]))
        description = f"{words}. The lowest point of the grid has {self.losses[lowest]:.3g}."
        return plane_map(f"Loss, {self.split} data", description, self.losses, self.places)

    def values(self) -> dict[str, object]:
        """Return the surface as plain values for the script that draws it; what is not finite is null."""
        scale, is_cut = loss_scale(self.losses, self.places)
        return {
            "title": self.title,
            "x": self.xs,
            "y": self.ys,
            "loss": [[_plain(self.losses[x, y]) for x in self.xs] for y in self.ys],
            "low": scale.low,
            "high": scale.high,
            "cut": is_cut,
            "places": [
                {"name": name, "x": x, "y": y, "loss": self.heights[name]}
                for name, (x, y) in self.places.items()
            ],
        }


def surfaces_of(slices: Sequence[MeasuredSlices]) -> list[Surface]:
    """Return the surface of each plane and split; one without a finite loss is left out."""
    return [
        surface
        for measured in slices
        for each in measured.slices
        if not each.is_line
        for split in measured.sizes
        if (surface := _surface(each, split)) is not None
    ]


def _surface(plane: MeasuredSlice, split: str) -> Surface | None:
    means = mean_losses(plane.losses[plane.losses["split"] == split])
    losses = {
        (float(x), float(y)): float(loss)
        for x, y, loss in zip(means["x"], means["y"], means["loss"], strict=True)
    }
    if not any(map(math.isfinite, losses.values())):
        return None
    places = {visible(name): at for name, at in plane.places.items()}
    return Surface(visible(plane.title), visible(split), losses, places)


def _or_infinite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _plain(loss: float) -> float | None:
    return float(f"{loss:.5g}") if math.isfinite(loss) else None
