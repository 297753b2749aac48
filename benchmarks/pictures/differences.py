"""Pictures of the differences and their variance: pairs, the table of differences, the quantile, and groups."""

from __future__ import annotations

import numpy as np
from scipy import stats

from calibration import LEVEL, Setting, draw, parts_of
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.variances import Variances, half_width
from lowland.report.drawing.svg import BLUE, GREEN, GREY, ORANGE, PALE, Axis, Drawing
from pictures.studies import Array, shown

OF_SEEDS, OF_EXAMPLES, OF_BOTH = "#a6dbc9", "#e3bcd3", "#7d7d7d"
"""Colours of the parts of the variance."""


def pairs() -> Drawing:
    """Draw the accuracies of five pairs, and their differences on the same scale."""
    study = shown()
    new, old = (100 * scores.mean(axis=1) for scores in (study.new, study.old))
    out = Drawing(740, 320, "Accuracies of five pairs of runs, and the five differences")
    middle = round(float((new + old).mean()) / 2)
    accuracy, points = Axis(middle - 7, middle + 7, 275, 45), Axis(-5, 9, 275, 45)
    out.text((65, 24), "accuracies of 5 pairs", bold=True)
    out.ticks_left(accuracy, 65, {value: f"{value} %" for value in range(middle - 6, middle + 7, 2)})
    for before, after in zip(old, new, strict=True):
        ends = (200, accuracy(before)), (330, accuracy(after))
        out.line(*ends, BLUE, 2)
        for end in ends:
            out.dot(end, BLUE)
    _span(out, 180, accuracy, old, BLUE, side=-1)
    _span(out, 350, accuracy, new, BLUE)
    out.text((540, 24), "their differences", bold=True)
    out.ticks_left(points, 540, {value: f"{value}" for value in range(-4, 9, 2)})
    out.line((540, points(0)), (610, points(0)), GREY, 1)
    for place, value in enumerate(new - old):
        out.dot((555 + 10 * place, points(value)), ORANGE)
    _span(out, 615, points, new - old, ORANGE)
    for x, name in ((200, "old"), (330, "new"), (575, "new - old")):
        out.text((x, 300), name, anchor="middle")
    return out


def _span(out: Drawing, x: float, axis: Axis, values: Array, colour: str, side: int = 1) -> None:
    """Draw a bracket beside dots (at their right with side 1, left with -1), and how far they spread."""
    low, high = axis(values.min()), axis(values.max())
    out.curve([(x - 6 * side, low), (x, low), (x, high), (x - 6 * side, high)], colour, 1.5)
    anchor = "start" if side == 1 else "end"
    place = (x + 9 * side, (low + high) / 2 + 5)
    out.text(place, f"{np.ptp(values):.1f} points", colour, anchor=anchor, bold=True)


def table() -> Drawing:
    """Draw a table of differences as the sum of what seeds, examples and chance add, and the variances of each."""
    rng = np.random.default_rng(0)
    seeds, examples = 4, 12
    whole = (
        rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 0.4, examples) + rng.normal(0, 0.4, (seeds, examples))
    )
    centred = whole - whole.mean()
    rows, columns = centred.mean(axis=1, keepdims=True), centred.mean(axis=0)
    parts = (
        ("differences", "less their mean", centred),
        ("seeds", "rows differ", rows + 0 * whole),
        ("examples", "columns differ", columns + 0 * whole),
        ("chance in each cell", "what is left", centred - rows - columns),
    )
    most = float(np.abs(centred).max())
    out = Drawing(740, 330, "A table of differences, split into three parts, and the variances A, B, C and V")
    for number, (name, what, values) in enumerate(parts):
        left = 20 + 184 * number
        out.text((left, 26), name, bold=True)
        out.text((left, 44), what, GREY, size=13)
        _cells(out, (left, 56), values, most)
        if number:
            out.text((left - 17, 92), "=" if number == 1 else "+", anchor="middle", size=18)
    _bars(out, variances_of(whole, np.arange(examples)))
    return out


def _cells(out: Drawing, corner: tuple[float, float], values: Array, most: float) -> None:
    """Draw a table: blue above 0, orange below it."""
    left, top = corner
    for (row, column), value in np.ndenumerate(values):
        share = min(abs(value) / (0.8 * most), 1.0)
        end = (0, 114, 178) if value > 0 else (213, 94, 0)
        colour = "#" + "".join(f"{round(255 + (channel - 255) * share):02x}" for channel in end)
        out.box((left + 12.5 * column, top + 15 * row), (12, 14.5), colour)
    right, bottom = left + 12.5 * values.shape[1] + 0.5, top + 15 * values.shape[0] + 0.5
    out.curve(
        [(left - 1, top - 1), (right, top - 1), (right, bottom), (left - 1, bottom), (left - 1, top - 1)],
        PALE,
        1,
    )


def _bars(out: Drawing, parts: Variances) -> None:
    """Draw A, B and V as bars, with the interaction C where it is in each."""
    a, b, c = float(parts.seeds), float(parts.examples), float(parts.interaction)
    x = Axis(0, a + b - c, 60, 530)
    out.text((20, 158), "variance of the mean", bold=True)
    for y, name in ((172, "A"), (212, "B"), (268, "V")):
        out.text((40, y + 21), name, anchor="middle", bold=True, size=16)
        if name != "B":
            out.box((x(0), y), (x(a - c) - x(0), 30), OF_SEEDS)
        if name != "A":
            out.box((x(a), y), (x(a + b - c) - x(a), 30), OF_EXAMPLES)
        out.box((x(a - c), y), (x(a) - x(a - c), 30), OF_BOTH)
        out.text(((x(a - c) + x(a)) / 2, y + 20), "C", "#fff", anchor="middle", bold=True)
    out.text((x(0) + 8, 192), "seeds")
    out.text((x(a) + 8, 232), "examples")
    out.text((x(a + b - c) + 10, 280), "V = A + B - C:", bold=True)
    out.text((x(a + b - c) + 10, 298), "chance counts once")


def quantile() -> Drawing:
    """Draw how far t reaches, by the share of V that rests on the seeds."""
    groups, shares = 1000, np.linspace(0, 1, 51)
    out = Drawing(740, 330, "The quantile t against the share w of the variance that rests on the seeds")
    x, y = Axis(0, 1, 75, 540), Axis(1.5, 4.5, 275, 40)
    out.ticks_left(y, 75, {value: f"{value}" for value in (2, 3, 4)})
    out.ticks_below(x, 275, {0: "0", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1: "100 %"})
    out.text((16, 22), "t: the interval reaches t standard errors to each side", GREY, size=13)
    out.text(
        (x(0.5), 316), "w: share of the variance that rests on the seeds", GREY, anchor="middle", size=13
    )
    t_b = float(stats.t.ppf((1 + LEVEL) / 2, groups - 1))
    out.line((x(0), y(t_b)), (x(1), y(t_b)), GREY, 1, dashed=True)
    out.text((x(0.02), y(t_b) + 19), f"{t_b:.2f} if nothing rests on the seeds", GREY, size=13)
    for seeds, colour in ((3, ORANGE), (5, BLUE), (10, GREEN)):
        parts = Variances(shares, 1 - shares, np.zeros_like(shares))
        t = half_width(parts, seeds, groups, LEVEL)
        out.curve([(x(w), y(value)) for w, value in zip(shares, t, strict=True)], colour)
        out.text((x(1) + 10, y(t[-1]) + 5), f"{seeds} seeds: up to {t[-1]:.2f}", colour, bold=True)
    return out


def groups() -> Drawing:
    """Draw the rate of false verdicts with groups as units, and with examples as units."""
    sizes = (1, 2, 4, 8, 16)
    out = Drawing(740, 310, "False verdicts against the number of alike examples in a group")
    x, y = Axis(1, 16, 90, 540, log=True), Axis(0, 50, 245, 40)
    out.ticks_left(y, 75, {value: f"{value} %" for value in (0, 5, 10, 20, 30, 40, 50)})
    out.ticks_below(x, 252, {size: f"{size}" for size in sizes})
    out.text((16, 22), "false verdicts", GREY, size=13)
    out.text((315, 293), "alike examples in a group", GREY, anchor="middle", size=13)
    out.line((75, y(5)), (550, y(5)), GREY, 1, dashed=True)
    rates = np.array([_rates(size) for size in sizes])  # (sizes, 2)
    for column, colour, words in ((0, ORANGE, "examples as units"), (1, BLUE, "groups as units")):
        points = [(x(size), y(rate)) for size, rate in zip(sizes, rates[:, column], strict=True)]
        out.curve(points, colour)
        for point in points:
            out.dot(point, colour)
        out.text((points[-1][0] + 16, points[-1][1] - 3), words, colour, bold=True)
        out.text((points[-1][0] + 16, points[-1][1] + 15), f"{rates[-1, column]:.0f} %", colour)
    return out


def _rates(size: int) -> tuple[float, float]:
    """Return false verdicts in per cent, of examples as units and of groups of this size as units."""
    setting = Setting(seeds=3, examples=400, taste=0.2, difficulty=0.6, group=size)
    differences = draw(setting, 2000, np.random.default_rng(0))
    rates = []
    for group in (1, size):
        mean, *parts = parts_of(differences, group)
        half = half_width(Variances(*parts), setting.seeds, setting.examples // group, LEVEL)
        rates.append(100 * float((np.abs(mean) > half).mean()))
    return rates[0], rates[1]
