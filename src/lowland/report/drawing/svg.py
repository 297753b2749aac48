"""Drawings as SVG: equal calls give equal bytes, text stays text, and a white panel makes them readable on any page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

BLUE, ORANGE, GREEN, INK, GREY, PALE = "#0072b2", "#d55e00", "#009e73", "#222", "#6b6b6b", "#d9d9d9"
"""Colours that colour-blind people tell apart (Okabe and Ito, 2008), and three greys."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Line of numbers on the drawing.

    Attributes:
        low: number at `start`.
        high: number at `end`.
        start: place of `low`, in pixels.
        end: place of `high`, in pixels.
        log: True if equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a number, in pixels."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)


@dataclass
class Drawing:
    """Drawing that grows by each call.

    Attributes:
        width: pixels.
        height: pixels.
        title: what the picture shows, for those who do not see it.
        elements: what is drawn, the lowest first.
    """

    width: int
    height: int
    title: str
    elements: list[str] = field(default_factory=list)

    def line(
        self, start: Point, end: Point, colour: str = INK, width: float = 1.5, *, dashed: bool = False
    ) -> None:
        """Draw a straight line."""
        (x1, y1), (x2, y2) = start, end
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width, **_dashes(dashed))

    def curve(
        self, points: Sequence[Point], colour: str = INK, width: float = 2.5, *, dashed: bool = False
    ) -> None:
        """Draw a line through points."""
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._add(
            "polyline", points=places, fill="none", stroke=colour, stroke_width=width, **_dashes(dashed)
        )

    def box(self, corner: Point, size: Point, colour: str, *, edge: str = "none") -> None:
        """Draw a filled rectangle."""
        (x, y), (width, height) = corner, size
        self._add("rect", x=x, y=y, width=width, height=height, fill=colour, stroke=edge)

    def dot(self, centre: Point, colour: str, radius: float = 4.5, *, edge: str = "none") -> None:
        """Draw a filled circle."""
        self._add("circle", cx=centre[0], cy=centre[1], r=radius, fill=colour, stroke=edge)

    def dots(self, centres: Sequence[Point], colour: str, radius: float = 3) -> None:
        """Draw many filled circles of one colour, through which others are seen."""
        self.elements.append(f'<g fill="{colour}" fill-opacity=".45">')
        for x, y in centres:
            self._add("circle", cx=x, cy=y, r=radius)
        self.elements.append("</g>")

    def text(
        self,
        place: Point,
        words: str,
        colour: str = INK,
        *,
        anchor: str = "start",
        size: float = 14,
        bold: bool = False,
    ) -> None:
        """Write a line of text; `anchor` says what stands at the place: its start, middle or end."""
        weight = {"font_weight": "bold"} if bold else {}
        where = {} if anchor == "start" else {"text_anchor": anchor}
        body = escape(words)
        self._add("text", body, x=place[0], y=place[1], fill=colour, font_size=size, **where, **weight)

    def ticks_below(self, axis: Axis, y: float, labels: dict[float, str]) -> None:
        """Draw a horizontal axis with labels below it."""
        self.line((axis.start, y), (axis.end, y), GREY, 1)
        for value, label in labels.items():
            self.line((axis(value), y), (axis(value), y + 5), GREY, 1)
            self.text((axis(value), y + 19), label, GREY, anchor="middle", size=13)

    def ticks_left(self, axis: Axis, x: float, labels: dict[float, str]) -> None:
        """Draw a vertical axis with labels at its left."""
        self.line((x, axis.start), (x, axis.end), GREY, 1)
        for value, label in labels.items():
            self.line((x - 5, axis(value)), (x, axis(value)), GREY, 1)
            self.text((x - 9, axis(value) + 4.5), label, GREY, anchor="end", size=13)

    def svg(self) -> str:
        """Return the file's text."""
        fonts = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family="{fonts}">'
        )
        panel = (
            f'<rect x=".5" y=".5" width="{self.width - 1}" height="{self.height - 1}" rx="6" '
            'fill="#fff" stroke="#d9d9d9"/>'
        )
        return "\n".join([head, f"<title>{escape(self.title)}</title>", panel, *self.elements, "</svg>\n"])

    def _add(self, tag: str, body: str = "", **attributes: float | str) -> None:
        pairs = (
            f"{name.replace('_', '-')}={quoteattr(value if isinstance(value, str) else _number(value))}"
            for name, value in attributes.items()
            if (name, value) != ("stroke", "none")
        )
        self.elements.append(f"<{tag} {' '.join(pairs)}" + (f">{body}</{tag}>" if body else "/>"))


def _number(value: float) -> str:
    """Write a number with one decimal, or none."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _dashes(dashed: bool) -> dict[str, str]:
    return {"stroke_dasharray": "5 4"} if dashed else {}
