"""A smaller page looks the same: the same corners, looks and texts."""

from __future__ import annotations

import re

import numpy as np

from lowland.report.drawing.svg import Drawing
from lowland.report.html.smaller import LOOKS, smaller


def corners_of(path: str) -> list[tuple[float, float]]:
    """Corners of a path that begins with m, and goes on with h, v and l."""
    x = y = 0.0
    corners = []
    for letter, numbers in re.findall(r"([mhvl])([-\d. ]+)", path):
        values = [float(number) for number in re.findall(r"-?(?:\d+\.\d+|\d+|\.\d+)", numbers)]
        across, down = {"h": [*values, 0.0], "v": [0.0, *values]}.get(letter, values)
        x, y = x + across, y + down
        corners.append((round(x, 1), round(y, 1)))
    return corners


def page(drawing: Drawing, rest: str = "") -> str:
    return f"<style>\n{LOOKS}\n</style>{drawing.inline('name')}{rest}"


def test_corners_are_the_same() -> None:
    points = np.round(np.random.default_rng(0).uniform(-50, 300, (40, 2)), 1)
    points[5, 1], points[9, 0], points[12] = (
        points[4, 1],
        points[8, 0],
        points[11],
    )  # level, upright, and twice
    drawing = Drawing(300, 300, "Title")
    drawing.curve([tuple(point) for point in points])
    drawing.mark("cross", (10.3, 20.7), "red")
    before = [
        [tuple(map(float, point.split(","))) for point in each.split()]
        for each in re.findall(r'points="([^"]+)"', page(drawing))
    ]
    small = smaller(page(drawing))
    assert "points" not in small
    paths = re.findall(r'd="(m[^"]+)"', small)
    assert [corners_of(path) for path in paths] == before
    assert [path.endswith("z") for path in paths] == [False, True]


def test_looks_are_the_same_and_stand_once() -> None:
    drawing = Drawing(300, 300, "Title")
    for y in (1, 2, 3):
        drawing.text((1, y), "word", "red", anchor="end", size=12.5)
    small = smaller(page(drawing))
    (name,) = set(re.findall(r"<text class=(\w+)", small))
    assert f".{name}{{fill:red;font-size:12.5px;text-anchor:end}}" in small
    assert small.count("12.5") == 1


def test_texts_are_left_alone() -> None:
    words = 'it says fill="red" points="1,2" <td> x="3"'
    drawing = Drawing(300, 300, words)
    drawing.text((1, 2), words)
    small = smaller(page(drawing, f"<p title='a' class=\"b\">{words.replace('<', '&lt;')}</p>"))
    assert small.count('it says fill="red" points="1,2" &lt;td') == 3
    assert "<p title='a' class=\"b\">" in small


def test_tables_lose_what_html_does_not_need() -> None:
    table = '<table><tbody><tr><th scope="row">a</th><td class="w x">b</td></tr>\n</tbody></table>'
    assert smaller(table) == '<table><tbody><tr><th scope=row>a<td class="w x">b\n</tbody></table>'
