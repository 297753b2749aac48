"""Drawings are well-formed, labelled, and stand where the numbers say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from lowland.report.drawing.forest import ForestRow, forest
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.looks import look_of
from lowland.report.drawing.scatter import Spot, front, scatter
from lowland.report.drawing.svg import SHAPES, Axis, Drawing

ROWS = [
    ForestRow("full", 1.0, -1.0, 3.0, "+1.0 (-1.0 to +3.0)", (0.5, 1.5), 0),
    ForestRow(
        'a <b> & "c" of a name that is very long', -2.0, -3.0, -1.0, "-2.0 (-3.0 to -1.0)", (), 1, True
    ),
]


def forest_of(rows=ROWS, **options):
    return forest(rows, "title", "what <it> says", sides=("worse", "better"), unit="points", **options)


def elements(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.inline("name"))


@pytest.mark.parametrize("narrow", [False, True])
def test_a_forest_plot_is_labelled_and_escaped(narrow):
    root = elements(forest_of(narrow=narrow))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "name-t name-d"
    assert root.find("title").text == "title"
    assert root.find("desc").text == "what <it> says"
    tips = [each.text for each in root.iter("title")][1:]
    assert tips == [f"{row.name}: {row.numbers}" for row in ROWS]


def test_intervals_have_lengths_in_proportion():
    root = elements(forest_of())
    lines = [
        (float(line.attrib["x1"]), float(line.attrib["x2"]))
        for line in root.iter("line")
        if line.attrib.get("stroke-width") == "3"
    ]
    first, second = (end - start for start, end in lines)
    assert first == pytest.approx(2 * second, rel=0.01)
    assert lines[1][1] < lines[0][1]
    dots = [float(dot.attrib["cx"]) for dot in root.iter("circle") if dot.attrib["r"] == "2.2"]
    middle = sum(lines[0]) / 2
    assert sum(dots) / 2 == pytest.approx(middle, abs=0.2)


def test_a_marker_is_filled_only_if_the_difference_is_shown():
    root = elements(forest_of())
    circle = next(each for each in root.iter("circle") if each.attrib["r"] != "2.2")
    square = next(root.iter("polygon"))
    assert circle.attrib["fill"] == "var(--paper)"
    assert square.attrib["fill"] == look_of(1).colour == "var(--s1)"


def test_every_shape_can_be_drawn_and_two_methods_never_look_alike():
    for shape in SHAPES:
        drawing = Drawing(20, 20, "t")
        drawing.mark(shape, (10, 10), "red", hollow=True)
        assert len(elements(drawing)) == 2
    looks = [look_of(number) for number in range(42)]
    assert len({(look.colour, look.shape) for look in looks}) == 42
    assert not any(look.dashed for look in looks[:7])
    assert all(look.dashed for look in looks[7:14])


def test_lines_have_bands_markers_and_tips():
    lines = [Line("lora", 1, ((1.0, 0.5), (2.0, 0.7)), (0.4, 0.6), (0.6, 0.8)), Line("one", 0, ((1.0, 0.6),))]
    root = elements(plot(lines, Frame("Title", "Words", "epoch")))
    assert len(root.findall(".//polyline")) == 2
    assert "lora: 0.7 at 2 (0.6 to 0.8)" in [each.text for each in root.iter("title")]
    group = root.find("g[@class='s1']")
    assert group is not None
    band = group.find("polygon").attrib["points"].split()
    assert len(band) == 4


def test_equal_numbers_do_not_break_an_axis():
    for frame in (Frame("t", "d", "x"), Frame("t", "d", "x", log=True), Frame("t", "d", "x", unit=True)):
        elements(plot([Line("a", 0, ((0.5, 0.5),))], frame))
    elements(scatter([Spot("a", 0, 5.0, 0.5, 0.5, 0.5, True)], "t", "d", "cost"))


def test_the_front_is_that_of_all_pairs():
    spots = [Spot(str(n), n, cost, value, value, value, True) for n, (cost, value) in enumerate(
        [(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (3.0, 0.8), (9.0, 0.9), (10.0, 0.95)]
    )]  # fmt: skip
    slow = [
        spot.name
        for spot in spots
        if not any(
            (other.cost <= spot.cost and other.value >= spot.value)
            and (other.cost < spot.cost or other.value > spot.value)
            for other in spots
        )
    ]
    assert [spot.name for spot in front(spots)] == slow == ["0", "2", "5"]


def test_methods_of_equal_cost_stand_beside_each_other():
    spots = [Spot(name, n, 5.0, 0.5, 0.5, 0.5, True) for n, name in enumerate("ab")]
    root = elements(scatter([*spots, Spot("c", 2, 50.0, 0.6, 0.6, 0.6, True)], "t", "d", "cost"))
    lines = [root.find(f"g[@class='s{n}']/g/line").attrib["x1"] for n in (0, 1)]
    assert float(lines[1]) - float(lines[0]) == pytest.approx(9, abs=0.2)


def test_an_axis_maps_its_ends():
    assert Axis(0, 10, 100, 200)(5) == 150
    assert Axis(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
