"""Scatter plot of cost against quality, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.report.drawing.lines import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from lowland.report.drawing.looks import FAINT, INK, MUTED, look_of
from lowland.report.drawing.scales import powers, round_ticks, short, widened
from lowland.report.drawing.svg import Axis, Drawing

LOG_FROM = 8.0
"""Ratio of the largest cost to the smallest from which on the axis of costs is logarithmic."""

ASIDE = 9.0
"""Pixels between the markers of methods with the same cost."""


@dataclass(frozen=True)
class Spot:
    """Cost and quality of one method.

    Attributes:
        name: name of the method.
        number: its number, which gives its look.
        cost: its cost, above 0.
        value: its mean score.
        low: its lowest score over seeds.
        high: its highest score over seeds.
        is_on_front: whether no other method dominates it; the marker is hollow otherwise.
    """

    name: str
    number: int
    cost: float
    value: float
    low: float
    high: float
    is_on_front: bool


def scatter(spots: Sequence[Spot], title: str, description: str, cost: str) -> Drawing:
    """Draw costs and scores; a dashed line joins the methods that no other beats in both.

    Args:
        spots: the methods; costs must be above 0.
        title: what the plot shows.
        description: what it says.
        cost: name of the cost, for the axis.
    """
    out = Drawing(WIDTH, HEIGHT, title, description)
    costs = [spot.cost for spot in spots]
    log = max(costs) / min(costs) >= LOG_FROM
    low, high = (min(costs) / 1.6, max(costs) * 1.6) if log else widened(costs, 0.12)
    x = Axis(low if log else max(low, 0.0), high, LEFT, RIGHT, log=log)
    y = Axis(*widened([end for spot in spots for end in (spot.low, spot.high)], 0.1), BOTTOM, TOP)
    y_ticks = round_ticks(y.low, y.high, 5)
    out.text((2, 16), title, INK, size=13.5, bold=True)
    out.grid(y, (LEFT, RIGHT), y_ticks, FAINT)
    for value, label in y_ticks.items():
        out.text((LEFT - 8, y(value) + 4.5), label, MUTED, anchor="end", size=12.5)
    out.curve([(x(spot.cost), y(spot.value)) for spot in front(spots)], MUTED, 1.25, dashed=True)
    for spot, aside in zip(spots, _asides([x(spot.cost) for spot in spots]), strict=True):
        _spot(out, spot, (x(spot.cost) + aside, y(spot.value)), y)
    ticks = powers(x.low, x.high) if log else round_ticks(x.low, x.high, 4)
    if ticks and max(ticks) >= 1e4:
        ticks = {value: short(value) for value in ticks}
    out.ticks_below(x, BOTTOM, ticks, MUTED)
    out.text(((LEFT + RIGHT) / 2, BOTTOM + 40), cost, MUTED, anchor="middle", size=13)
    return out


def front(spots: Sequence[Spot]) -> list[Spot]:
    """Return the spots that no other spot beats in cost and value together, from the cheapest on."""
    best: list[Spot] = []
    for spot in sorted(spots, key=lambda spot: (spot.cost, -spot.value)):
        if not best or spot.value > best[-1].value:
            best.append(spot)
    return best


def _asides(places: Sequence[float]) -> list[float]:
    """Return by how many pixels each marker stands aside, so that those of equal costs do not hide each other."""
    asides = []
    for number, place in enumerate(places):
        near = [other for other, each in enumerate(places) if abs(each - place) < 4]
        asides.append(ASIDE * (near.index(number) - (len(near) - 1) / 2))
    return asides


def _spot(out: Drawing, spot: Spot, centre: tuple[float, float], y: Axis) -> None:
    look = look_of(spot.number)
    words = f"{spot.name}: {spot.value:.4f} ({spot.low:.4f} to {spot.high:.4f}) for {short(spot.cost)}"
    with out.group(f"s{spot.number}"), out.group("m", words):
        out.line((centre[0], y(spot.low)), (centre[0], y(spot.high)), look.colour, 1.5)
        out.mark(look.shape, centre, look.colour, 6, hollow=not spot.is_on_front)
