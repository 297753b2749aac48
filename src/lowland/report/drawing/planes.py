"""Map of the loss on a plane in bands of colour, small enough for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from lowland.report.drawing.looks import INK, MUTED
from lowland.report.drawing.scales import round_ticks
from lowland.report.drawing.surfaces import colour_of, interpolated, loss_scale, number_at
from lowland.report.drawing.svg import PAPER, Axis, Drawing, Point

CELLS, BANDS = 24, 12
"""Number of cells along each side of the map, and of colours."""
LEFT, TOP, SIDE = 46, 34, 216
"""Place and size of the map, in pixels."""
LETTER = 6.4
"""Width of a letter of the labels, in pixels, about."""


def plane_map(
    title: str, description: str, losses: Mapping[Point, float], places: Mapping[str, Point]
) -> Drawing:
    """Draw the loss on a plane, with its places.

    Args:
        title: what is shown.
        description: what it says, for those who do not see it.
        losses: loss at each point (x, y) of a grid; one at least is finite.
        places: coordinates of the runs and the base model.
    """
    xs, ys = sorted({x for x, _ in losses}), sorted({y for _, y in losses})
    x, y = Axis(xs[0], xs[-1], LEFT, LEFT + SIDE), Axis(ys[0], ys[-1], TOP + SIDE, TOP)
    scale, is_cut = loss_scale(losses, places)
    out = Drawing(340, TOP + SIDE + 30, title, description)
    out.text((2, 16), title, INK, size=13.5, bold=True)
    size = SIDE / CELLS
    middles = [size * (cell + 0.5) for cell in range(CELLS)]
    rows = [
        [
            scale(interpolated(losses, xs, ys, (number_at(x, LEFT + across), number_at(y, TOP + down))))
            for across in middles
        ]
        for down in middles
    ]
    _bands(out, [[_band(share) for share in row] for row in rows], size)
    for value, label in round_ticks(y.low, y.high, 4).items():
        out.text((LEFT - 7, y(value) + 4.5), label, MUTED, anchor="end", size=12.5)
    out.ticks_below(x, TOP + SIDE, round_ticks(x.low, x.high, 4), MUTED)
    for name, (across, up) in places.items():
        _place(out, (x(across), y(up)), name)
    _legend(out, scale, is_cut)
    return out


def _band(share: float) -> int:
    """Return the number of the band of a share of the scale; NaN has the last."""
    return min(max(int(share * BANDS), 0), BANDS - 1) if share == share and share < 1 else BANDS - 1


def _bands(out: Drawing, rows: Sequence[Sequence[int]], size: float) -> None:
    """Draw the cells: one element for each band, with a thick line for neighbours in a row."""
    paths: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        left, middle = float(LEFT), TOP + size * (number + 0.5)
        for band, cells in groupby(row):
            width = size * len(list(cells))
            paths.setdefault(band, []).append(f"M{left:g} {middle:g}h{width:g}")
            left += width
    for band, parts in sorted(paths.items()):
        out.path("".join(parts), colour_of((band + 0.5) / BANDS), size + 0.5)


def _place(out: Drawing, spot: Point, name: str) -> None:
    """Draw a place with its name on a label, at its right in the left half of the map, else at its left."""
    out.dot(spot, PAPER, 4.5, edge=INK)
    width = LETTER * len(name) + 8
    left = spot[0] + 9 if spot[0] < LEFT + SIDE / 2 else spot[0] - 9 - width
    left = max(left, 2.0)
    up = 18 if left < spot[0] < left + width else 0  # the label would hide the dot
    out.box((left, spot[1] - 8 - up), (width, 16), PAPER)
    out.text((left + width / 2, spot[1] + 4 - up), name, INK, anchor="middle", size=11.5)


def _legend(out: Drawing, scale: Axis, is_cut: bool) -> None:
    """Draw the bands with their losses."""
    left, height = LEFT + SIDE + 16, SIDE / BANDS
    for band in range(BANDS):
        out.box((left, TOP + SIDE - height * (band + 1)), (14, height + 0.4), colour_of((band + 0.5) / BANDS))
    up = Axis(scale.low, scale.high, TOP + SIDE, TOP)
    for value, label in round_ticks(scale.low, scale.high, 5).items():
        out.text((left + 20, up(value) + 4.5), label, MUTED, size=12.5)
    if is_cut:
        out.text((left, TOP - 6), "or more", MUTED, size=11.5)
