"""Strip plots: markers and intervals stand where their numbers are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from lowland.report.drawing.lines import BOTTOM, LEFT, RIGHT, TOP, Frame, Line, plot
from lowland.report.drawing.strips import Reading, strips


def readings(*values: tuple[float, float, float]) -> list[Reading]:
    return [Reading(f"m{n}", n, (value,), f"m{n}: {value[0]:g}") for n, value in enumerate(values)]


def whiskers(svg: str) -> list[tuple[float, float, float]]:
    """x, and y of both ends, of each whisker."""
    paths = re.findall(r'd="(M[\d. ]+V[\d.MV ]+)"', svg)
    return [
        tuple(map(float, each)) for path in paths for each in re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)", path)
    ]


def test_whiskers_end_at_the_ends_of_the_intervals() -> None:
    drawing = strips({"a": readings((1.0, 0.0, 2.0), (3.0, 2.0, 4.0))}, "Title", "Words.")
    (x1, low1, high1), (x2, low2, high2) = whiskers(drawing.svg())
    assert LEFT < x1 < x2 < RIGHT
    assert BOTTOM > low1 > low2 == pytest.approx(high1)
    assert low2 > high2 > TOP
    assert low1 - high1 == pytest.approx(low2 - high2, abs=0.2)


def test_an_interval_that_its_marker_hides_is_not_drawn() -> None:
    drawing = strips({"": readings((1.0, 0.999, 1.001), (3.0, 2.0, 4.0))}, "Title", "Words.")
    assert len(whiskers(drawing.svg())) == 1


def test_groups_stand_beside_each_other_and_are_named() -> None:
    groups = {"first <&": readings((1.0, 0.0, 2.0)), "second": readings((1.0, 0.0, 2.0))}
    drawing = strips(groups, "Title", "Words.")
    root = ElementTree.fromstring(drawing.inline("name"))
    texts = [text.text for text in root.iter("text")]
    assert texts[-2:] == ["first <&", "second"]
    (left, *_), (right, *_) = whiskers(drawing.svg())
    assert left < (LEFT + RIGHT) / 2 < right
    assert len(root.findall(".//g[@class='m']/title")) == 2
    assert drawing.height > strips({"": groups["second"]}, "Title", "Words.").height


def test_runs_of_a_method_have_a_marker_each() -> None:
    reading = Reading("lora", 0, tuple((float(n), n - 0.5, n + 0.5) for n in range(5)), "lora: 0 to 4")
    svg = strips({"": [reading]}, "Title", "Words.").svg()
    assert svg.count("<circle") == 5
    spots = [x for x, _, _ in whiskers(svg)]
    assert spots == sorted(spots)
    assert len(set(spots)) == 5


def test_zero_is_shown_if_it_is_asked_for() -> None:
    far = readings((10.0, 9.0, 11.0))
    assert ">0<" in strips({"": far}, "Title", "Words.", zero=True).svg()
    assert ">0<" not in strips({"": far}, "Title", "Words.").svg()
    line = Line("m", 0, ((0.1, 10.0), (0.2, 11.0)), (9.0, 10.0), (11.0, 12.0))
    for zero in (True, False):
        svg = plot([line], Frame("Title", "Words.", "x", whiskers=True, zero=zero)).svg()
        assert (re.search(r">0(\.0)?<", svg) is not None) is zero


def test_whiskers_of_lines_at_one_x_stand_aside() -> None:
    lines = [Line(f"m{n}", n, ((0.1, 1.0), (0.2, 2.0)), (0.5, 1.5), (1.5, 2.5)) for n in range(3)]
    svg = plot(lines, Frame("Title", "Words.", "x", log=True, whiskers=True, aside=5)).svg()
    spots = sorted(x for x, _, _ in whiskers(svg))
    assert spots[1] - spots[0] == spots[2] - spots[1] == pytest.approx(5)
    assert spots[0] >= LEFT
    assert spots[-1] <= RIGHT
