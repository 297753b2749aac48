"""Maps of the loss on a plane: dark where it is low, whole, and with its places."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from lowland.report.drawing.planes import BANDS, CELLS, LEFT, SIDE, TOP, plane_map
from lowland.report.drawing.surfaces import colour_of
from lowland.report.drawing.svg import Drawing

GRID = [-1.0, 0.0, 1.0, 2.0]
PLACES = {"base <1>": (-1.0, 0.0), "lora, seed 1": (1.0, 1.0)}


def bowl(x: float, y: float) -> float:
    return (x - 1) ** 2 / 4 + (y - 1) ** 2 / 4


def cells(drawing: Drawing) -> dict[tuple[int, int], str]:
    """The colour of each cell, by row and column."""
    size, colours = SIDE / CELLS, {}
    for path, colour in re.findall(r'<path d="([^"]+)" fill="none" stroke="(#\w+)"', drawing.svg()):
        for left, middle, width in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)", path):
            row, column = round((float(middle) - TOP) / size - 0.5), round((float(left) - LEFT) / size)
            for step in range(round(float(width) / size)):
                assert (row, column + step) not in colours
                colours[row, column + step] = colour
    return colours


def test_every_cell_has_a_colour_and_the_lowest_is_the_darkest() -> None:
    drawing = plane_map("Loss", "Words.", {(x, y): bowl(x, y) for x in GRID for y in GRID}, PLACES)
    colours = cells(drawing)
    assert len(colours) == CELLS**2
    assert colours[CELLS // 3, 2 * CELLS // 3] == colour_of(
        0.5 / BANDS
    )  # (1, 1): two thirds right, one third down
    assert colours[CELLS - 1, 0] == colour_of((BANDS - 0.5) / BANDS)


def test_what_is_not_finite_is_the_highest() -> None:
    losses = {(x, y): math.inf if x == y == 2 else bowl(x, y) for x in GRID for y in GRID}
    drawing = plane_map("Loss", "Words.", losses, PLACES)
    assert cells(drawing)[0, CELLS - 1] == colour_of((BANDS - 0.5) / BANDS)
    assert "or more" in drawing.svg()
    assert "inf" not in drawing.svg()
    assert "nan" not in drawing.svg()


def test_places_stand_where_they_are_with_their_names() -> None:
    drawing = plane_map("Loss", "Words.", {(x, y): bowl(x, y) for x in GRID for y in GRID}, PLACES)
    root = ElementTree.fromstring(drawing.inline("name"))
    spots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("circle")]
    assert spots == [(LEFT, TOP + SIDE * 2 / 3), (LEFT + SIDE * 2 / 3, TOP + SIDE / 3)]
    texts = [text.text for text in root.iter("text")]
    assert set(PLACES) <= set(texts)
    for box in root.iter("rect"):
        assert float(box.attrib["x"]) >= 0
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= drawing.width
    assert len(drawing.inline("name")) < 12_000
