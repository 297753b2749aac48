"""Drawings as SVG: equal calls give equal bytes, and text stays text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

BLUE, ORANGE, GREEN, INK, GREY, PALE = "#0072b2", "#d55e00", "#009e73", "#222", "#6b6b6b", "#d9d9d9"
"""Colours that colour-blind people tell apart (Okabe and Ito, 2008), and three greys."""

PAPER = "var(--paper)"
"""Colour of the page that a drawing stands on."""

SHAPES = {
    "circle": (),
    "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "triangle": ((0, -1.1), (1.05, 0.8), (-1.05, 0.8)),
    "diamond": ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
    "cross": tuple(
        (x * 1.1, y * 1.1)
        for x, y in (
            (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
            (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
        )
    ),
    "inverse": ((0, 1.1), (1.05, -0.8), (-1.05, -0.8)),
}  # fmt: skip
"""Corners of each marker, in units of its radius; a circle has none."""

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
        description: what it says, for those who do not see it; "" if the title is enough.
        elements: what is drawn, the lowest first.
    """

    width: int
    height: int
    title: str
    description: str = ""
    elements: list[str] = field(default_factory=list)

    @contextmanager
    def group(self, name: str, tip: str = "") -> Iterator[None]:
        """Draw what follows as one group.

        Args:
            name: class of the group, by which a style or a script finds it.
            tip: what is said of it where the pointer rests on it.
        """
        self.elements.append(
            f"<g class={quoteattr(name)}>" + (f"<title>{escape(tip)}</title>" if tip else "")
        )
        yield
        self.elements.append("</g>")

    def area(self, low: Sequence[Point], high: Sequence[Point], colour: str, opacity: float = 0.13) -> None:
        """Fill the area between two lines, each with its points from left to right."""
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in [*low, *reversed(high)])
        self._add("polygon", points=places, fill=colour, fill_opacity=f"{opacity:g}")

    def mark(
        self, shape: str, centre: Point, colour: str, radius: float = 5, *, hollow: bool = False
    ) -> None:
        """Draw a marker: a circle, square, diamond, cross, or a triangle that points up or down.

        Args:
            shape: one of `SHAPES`.
            centre: its place.
            colour: of its edge and, unless it is hollow, its inside.
            radius: half its width.
            hollow: True to fill it with the colour of the page.
        """
        x, y = centre
        corners = [(x + radius * across, y + radius * down) for across, down in SHAPES[shape]]
        fill = PAPER if hollow else colour
        if corners:
            places = " ".join(f"{_number(across)},{_number(down)}" for across, down in corners)
            self._add(
                "polygon", points=places, fill=fill, stroke=colour, stroke_width=1.75, stroke_linejoin="round"
            )
        else:
            self._add("circle", cx=x, cy=y, r=radius * 0.9, fill=fill, stroke=colour, stroke_width=1.75)

    def line(
        self, start: Point, end: Point, colour: str = INK, width: float = 1.5, *, dashed: bool = False
    ) -> None:
        """Draw a straight line."""
        (x1, y1), (x2, y2) = start, end
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width, **_dashes(dashed))

    def path(self, steps: str, colour: str, width: float = 1.25) -> None:
        """Draw lines that are given as SVG writes them: `M0 5h10`."""
        self._add("path", d=steps, fill="none", stroke=colour, stroke_width=f"{width:g}")

    def whiskers(self, ends: Sequence[tuple[float, float, float]], colour: str, width: float = 1.25) -> None:
        """Draw vertical lines of one colour, each given by its x and the y of its ends, as one element."""
        self.path(
            "".join(f"M{_number(x)} {_number(low)}V{_number(high)}" for x, low, high in ends), colour, width
        )

    def grid(self, axis: Axis, ends: tuple[float, float], values: Iterable[float], colour: str) -> None:
        """Draw a horizontal line at each number of a vertical axis, from one end to the other, as one element."""
        left, right = map(_number, ends)
        self.path("".join(f"M{left} {_number(axis(value))}H{right}" for value in values), colour, 1)

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

    def ticks_below(self, axis: Axis, y: float, labels: dict[float, str], colour: str = GREY) -> None:
        """Draw a horizontal axis with labels below it."""
        ends = f"M{_number(axis.start)} {_number(y)}H{_number(axis.end)}"
        self.path(ends + "".join(f"M{_number(axis(value))} {_number(y)}v5" for value in labels), colour, 1)
        for value, label in labels.items():
            self.text((axis(value), y + 19), label, colour, anchor="middle", size=13)

    def ticks_left(self, axis: Axis, x: float, labels: dict[float, str], colour: str = GREY) -> None:
        """Draw a vertical axis with labels at its left."""
        self.line((x, axis.start), (x, axis.end), colour, 1)
        for value, label in labels.items():
            self.line((x - 5, axis(value)), (x, axis(value)), colour, 1)
            self.text((x - 9, axis(value) + 4.5), label, colour, anchor="end", size=13)

    def inline(self, name: str) -> str:
        """Return the drawing as an element of a page, which gives its colours and fonts.

        Args:
            name: a name that no other drawing of the page has; ids begin with it.
        """
        ids = f"{name}-t" + (f" {name}-d" if self.description else "")
        words = f'<title id="{name}-t">{escape(self.title)}</title>'
        if self.description:
            words += f'<desc id="{name}-d">{escape(self.description)}</desc>'
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img"'
            f' aria-labelledby="{ids}">{words}{"".join(self.elements)}</svg>'
        )

    def svg(self) -> str:
        """Return the text of a file, with a white panel that makes it readable on any page."""
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
        """Add an element; a number is written with one decimal, and underscores of names as hyphens."""
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
