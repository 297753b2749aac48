"""Tests of the pictures of slices: what is drawn is what was measured."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from lowland.report.drawing.surfaces import CELLS, RAMP, curves, surface_map

GRID = [-1.0, 0.0, 1.0, 2.0]


def boxes(svg: str) -> dict[tuple[float, float], str]:
    """The colour of each cell of a map, by its corner."""
    pattern = r'<rect x="([\d.]+)" y="([\d.]+)" width="10.4" height="10.4" fill="(#[0-9a-f]{6})"/>'
    return {(float(x), float(y)): colour for x, y, colour in re.findall(pattern, svg)}


def test_curves_go_through_the_losses() -> None:
    points = {"train": [(0.0, 1.0), (0.5, 2.0), (1.0, 1.5)], "test": [(0.0, 2.0), (0.5, 2.5), (1.0, 3.0)]}
    svg = curves("Loss on a line", points, {"lora, seed 1": 0.0, "full, seed 1": 1.0}).svg()
    ElementTree.fromstring(svg)
    lines = re.findall(r'<polyline points="([^"]+)"', svg)
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in lines]
    assert [len(line) for line in heights] == [3, 3]
    assert heights[0][1] < heights[0][2] < heights[0][0]  # a higher loss is nearer to the top
    assert heights[1][0] == heights[0][1]
    for words in ("Loss on a line", "train", "test", "lora, seed 1", "full, seed 1"):
        assert words in svg


def test_loss_that_is_not_finite_is_left_out_of_a_curve() -> None:
    svg = curves("A line", {"test": [(0.0, 1.0), (0.5, math.inf), (1.0, 2.0)]}, {}).svg()
    (line,) = re.findall(r'<polyline points="([^"]+)"', svg)
    assert len(line.split()) == 2
    assert "inf" not in svg


def test_map_is_dark_where_the_loss_is_low() -> None:
    losses = {(x, y): (x - 1) ** 2 / 4 for x in GRID for y in GRID}
    svg = surface_map("A plane", losses, {"base": (-1.0, 0.0), "lora <1>": (1.0, 1.0)}).svg()
    ElementTree.fromstring(svg)
    cells = boxes(svg)
    assert len(cells) == CELLS**2
    row = [cells[corner] for corner in sorted(corner for corner in cells if corner[1] == 50)]
    lightness = [sum(int(colour[n : n + 2], 16) for n in (1, 3, 5)) for colour in row]
    lowest = lightness.index(min(lightness))
    assert 20 <= lowest <= 27  # x = 1 is two thirds of the way
    assert lightness[0] > lightness[10] > lightness[lowest] < lightness[-1]
    assert "lora &lt;1&gt;" in svg


@pytest.mark.parametrize("across", [True, False])
def test_map_grows_lighter_with_a_loss_that_grows(across: bool) -> None:
    losses = {(x, y): x if across else y for x in GRID for y in GRID}
    cells = boxes(surface_map("A slope", losses, {"top": (2.0, 2.0)}).svg())
    line = [corner for corner in cells if corner[1 if across else 0] == (50 if across else 70)]
    colours = [cells[corner] for corner in sorted(line, reverse=not across)]
    greens = [int(colour[3:5], 16) for colour in colours]  # rises along all of the scale
    assert len(set(greens)) == CELLS
    assert greens == sorted(greens)


def test_losses_far_above_the_places_and_infinite_ones_have_the_last_colour() -> None:
    losses = {
        (x, y): (50.0 if x == 2 else math.inf if x == -1 else 0.5 + 0.1 * x) for x in GRID for y in GRID
    }
    svg = surface_map("A plane", losses, {"lora": (0.0, 0.0)}).svg()
    last = "#" + "".join(f"{channel:02x}" for channel in RAMP[-1])
    row = boxes(svg)
    assert row[70, 50] == row[420, 50] == last
    assert row[200, 50] != last
    assert "loss (lightest: more)" in svg
    assert "inf" not in svg.replace("interpolat", "")
    assert "nan" not in svg


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_equal_losses_can_be_drawn(level: float) -> None:
    losses = {(x, y): level for x in GRID for y in GRID}
    assert ElementTree.fromstring(surface_map("Flat", losses, {"lora": (0.0, 0.0)}).svg()) is not None
    assert curves("Flat", {"test": [(0.0, level), (1.0, level)]}, {"lora": 0.0}).svg().count("<polyline") == 1


def test_equal_calls_give_equal_bytes() -> None:
    losses = {(x, y): x * y for x in GRID for y in GRID}
    assert surface_map("A", losses, {"b": (0, 0)}).svg() == surface_map("A", losses, {"b": (0, 0)}).svg()
