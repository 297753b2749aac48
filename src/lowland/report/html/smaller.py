"""Makes the text of a page smaller, without a change to what is seen.

In drawings, attributes that many elements share become classes, and corners are written by their distances from the one
before. In drawings and tables, quotes and end tags that HTML does not need are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

LOOKS = "/* looks */"
"""Comment in the style of a page in whose place the rules of the classes stand."""
SHARED = re.compile(
    r"(?: (?:fill|fill-opacity|stroke|stroke-width|stroke-linejoin|stroke-dasharray|font-size|font-weight|text-anchor)"
    r'="[^"]*")+'
)
"""Attributes of the look of an element, which stand behind those of its place."""
TAG = re.compile(r"<\w[^<>]*>")
POINTS = re.compile(r'<(polygon|polyline) points="([^"]*)"')
QUOTED = re.compile(r' ([\w-]+)="([\w.#-]+)"(?=[ >])')
"""Attributes whose values need no quotes; that before a slash does."""


def smaller(html: str) -> str:
    """Return a page that takes fewer bytes, and looks the same.

    Args:
        html: the page. Text in it is escaped, so that only its own drawings and tables look like them.
    """
    rules: dict[str, str] = {}

    def with_class(tag: re.Match[str]) -> str:
        pairs = [pair for each in SHARED.findall(tag[0]) for pair in re.findall(r'([\w-]+)="([^"]*)"', each)]
        if not pairs:
            return tag[0]
        rule = ";".join(
            f"{name}:{value}{'px' if name == 'font-size' else ''}" for name, value in sorted(pairs)
        )
        name = rules.setdefault(rule, f"a{len(rules)}")
        return re.sub(r"^<\w+", rf'\g<0> class="{name}"', SHARED.sub("", POINTS.sub(_as_path, tag[0])))

    def drawing(svg: re.Match[str]) -> str:
        return _unquoted(TAG.sub(with_class, svg[0]))

    html = re.sub(r"<svg .*?</svg>", drawing, html, flags=re.DOTALL)
    html = re.sub(r"<tbody>.*?</tbody>", _small_table, html, flags=re.DOTALL)
    return html.replace(LOOKS, "\n".join(f".{name}{{{rule}}}" for rule, name in rules.items()), 1)


def _small_table(rows: re.Match[str]) -> str:
    return re.sub(r"</(?:td|th|tr)>", "", _unquoted(rows[0]))


def _unquoted(html: str) -> str:
    """Return elements without the quotes that their attributes do not need."""
    return TAG.sub(lambda tag: QUOTED.sub(r" \1=\2", tag[0]), html)


def _as_path(element: re.Match[str]) -> str:
    """Return a polygon or a polyline as a path: `m10 20h5v3z`."""
    kind, points = element[1], element[2].split()
    if not points:
        return element[0]
    tenths = [[round(10 * float(number)) for number in point.split(",")] for point in points]
    steps = [(right - left, below - above) for (left, above), (right, below) in pairwise(tenths)]
    path = f"m{_joined(tenths[0])}" + "".join(_steps(steps))
    return f'<path d="{path}{"z" if kind == "polygon" else ""}"'


def _steps(steps: Sequence[tuple[int, int]]) -> Iterator[str]:
    for across, down in steps:
        if not down:
            yield f"h{_joined([across])}"
        else:
            yield f"l{_joined([across, down])}" if across else f"v{_joined([down])}"


def _joined(tenths: Sequence[int]) -> str:
    """Write numbers as a path has them: without a 0 before the point, and with a space only where it is needed."""
    text = ""
    for place, number in enumerate(tenths):
        amount = f"{abs(number) / 10:g}"
        amount = amount.removeprefix("0") if 0 < abs(number) < 10 else amount
        text += f"-{amount}" if number < 0 else f"{' ' if place else ''}{amount}"
    return text
