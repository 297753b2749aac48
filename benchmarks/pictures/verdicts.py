"""Pictures of what an interval says: repeated studies, p, false verdicts of rules, power, and the margin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from calibration import LEVEL
from lowland import verdict
from lowland.evidence import detectable_difference
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.variances import half_width
from lowland.report.drawing.svg import BLUE, GREEN, GREY, ORANGE, Axis, Drawing
from pictures.studies import EFFECT, Array, shown, simulate

CALIBRATION = Path(__file__).resolve().parents[2] / "docs" / "results" / "calibration.json"


def repeated_studies() -> Drawing:
    """Draw the intervals of 50 studies of one true difference, the first of 4,000."""
    mean, half = _intervals(4000)
    missed = np.abs(mean - EFFECT) > half
    out = Drawing(740, 310, "95 % intervals of 50 simulated studies, and the true difference")
    y, x = Axis(-2, 6, 262, 34), Axis(0, 49, 70, 545)
    out.ticks_left(y, 55, {value: f"{value}" for value in range(-2, 7)})
    out.text((16, 20), "difference, points", GREY, size=13)
    out.line((55, y(EFFECT)), (556, y(EFFECT)))
    for study in range(50):
        colour, width = (ORANGE, 3.5) if missed[study] else (BLUE, 2)
        low, high = mean[study] - half[study], mean[study] + half[study]
        out.line((x(study), y(low)), (x(study), y(high)), colour, width)
        out.dot((x(study), y(mean[study])), colour, 3)
    out.text(
        (305, 292), "50 studies, each with other seeds and other examples", GREY, anchor="middle", size=13
    )
    out.text((565, y(EFFECT) + 5), "true difference")
    out.text((565, 60), f"{50 - missed[:50].sum()} contain it", BLUE, bold=True)
    out.text((565, 80), f"{missed[:50].sum()} miss it", ORANGE, bold=True)
    out.text((565, 225), f"of {missed.size:,} studies,", GREY)
    out.text((565, 244), f"{100 * missed.mean():.1f} % miss it", GREY)
    return out


def _intervals(studies: int) -> tuple[Array, Array]:
    """Return the differences and half-widths of simulated studies, (T,) each, in points."""
    rng = np.random.default_rng(2)
    mean, half = np.zeros(studies), np.zeros(studies)
    for number in range(studies):
        study = simulate(rng, effect=EFFECT)
        differences = study.new - study.old
        seeds, examples = differences.shape
        mean[number] = 100 * differences.mean()
        half[number] = 100 * half_width(
            variances_of(differences, np.arange(examples)), seeds, examples, LEVEL
        )
    return mean, half


def p_value() -> Drawing:
    """Draw the study's interval at rising levels, until it reaches 0."""
    study = shown()
    result, (seeds, examples) = study.compared(), study.new.shape
    parts = variances_of(study.new - study.old, np.arange(examples))
    out = Drawing(740, 290, "Intervals of one study at several levels; p is found where one just reaches 0")
    x, middle, own = Axis(-1, 5, 100, 540), 100 * result.difference, 1 - result.p
    out.text((85, 22), "level", GREY, anchor="end", size=13)
    out.line((x(0), 20), (x(0), 230))
    for number, level in enumerate(sorted([0.5, 0.8, 0.95, 0.99, own])):
        y, colour = 48 + 40 * number, ORANGE if level == own else BLUE
        half = 100 * float(half_width(parts, seeds, examples, level))
        out.line((x(middle - half), y), (x(middle + half), y), colour, 4 if level == own else 2.5)
        out.dot((x(middle), y), colour)
        out.text((85, y + 5), f"{100 * level:.3g} %", colour, anchor="end", bold=level == own)
        if level == own:
            out.text((555, y - 4), "just reaches 0:", ORANGE)
            out.text((555, y + 15), f"p = {result.p:.3f}", ORANGE, bold=True)
    out.ticks_below(x, 235, {value: f"{value}" for value in range(-1, 6)})
    out.text((x(2), 274), "difference, points", GREY, anchor="middle", size=13)
    return out


RULES = {
    "used": "used",
    "A + B, weighted t": "A + B, weighted t",
    "mixed model (REML), Satterthwaite": "mixed model",
    "t over seeds": "t over seeds",
    "t over examples": "t over examples",
}
"""Rules of calibration.json, and their names in the picture."""


def rules() -> Drawing:
    """Draw each rule's rate of false verdicts in every setting with three seeds."""
    rows = json.loads(CALIBRATION.read_text(encoding="utf-8"))["rows"]
    rows = [row["rules"] for row in rows if row["setting"]["seeds"] == 3]
    out = Drawing(
        740, 330, f"False verdicts of five rules in {len(rows)} settings with three seeds, and their power"
    )
    x = Axis(0.1, 100, 170, 620, log=True)
    out.box((x(3.5), 42), (x(6) - x(3.5), 218), "#e8e8e8")
    out.line((x(5), 42), (x(5), 260), GREY, 1, dashed=True)
    out.text((x(2.5), 30), "wastes power", GREY, anchor="end", size=13)
    out.text((x(5), 30), "5 %", anchor="middle", size=13)
    out.text((x(9), 30), "misleads", GREY, size=13)
    out.text((685, 30), "power", GREY, anchor="middle", size=13)
    for number, (rule, name) in enumerate(RULES.items()):
        y, colour = 68 + 42 * number, BLUE if rule == "used" else ORANGE
        rates = [100 * row[rule]["false"] for row in rows]
        out.dots([(x(rate), y + 6 * (place % 5 - 2)) for place, rate in enumerate(rates)], colour)
        out.text((155, y + 5), name, colour, anchor="end", bold=rule == "used")
        power_of_rule = 100 * np.mean([row[rule]["power"] for row in rows])
        out.text((685, y + 5), f"{power_of_rule:.0f} %", colour, anchor="middle", bold=rule == "used")
    out.ticks_below(x, 266, {value: f"{value:g} %" for value in (0.1, 0.3, 1, 3, 10, 30, 100)})
    out.text((395, 312), "false verdicts; each dot is a setting", GREY, anchor="middle", size=13)
    return out


def power() -> Drawing:
    """Draw the power of a study against the true difference, with the first 3 and 5 of its seeds, and with all 10."""
    out = Drawing(
        740, 320, "Share of studies that detect a difference, against its size, with 3, 5 and 10 seeds"
    )
    x, y = Axis(0, 6, 75, 700), Axis(0, 1, 262, 45)
    out.ticks_left(y, 75, {share: f"{100 * share:.0f} %" for share in (0, 0.2, 0.4, 0.6, 0.8, 1)})
    out.ticks_below(x, 262, {value: f"{value}" for value in range(7)})
    out.text((16, 20), "studies that detect it", GREY, size=13)
    out.text((x(3), 304), "true difference, points", GREY, anchor="middle", size=13)
    out.line((75, y(0.8)), (700, y(0.8)), GREY, 1, dashed=True)
    shares = np.linspace(0.06, 0.99, 63)
    for seeds, colour in ((10, GREEN), (5, BLUE), (3, ORANGE)):
        result = shown(seeds).compared()
        sizes = [
            100 * detectable_difference(result.standard_error, result.df, power=float(share))
            for share in shares
        ]
        out.curve([(x(size), y(share)) for size, share in zip(sizes, shares, strict=True)], colour)
        out.text((x(sizes[-1]), y(1) - 6), f"{seeds} seeds", colour, anchor="middle", bold=True)
        place = x(100 * result.detectable), y(0.8)
        out.dot(place, colour, 5)
        out.line(place, (place[0], 262), colour, 1, dashed=True)
        out.text((place[0] + 5, 255), f"{100 * result.detectable:.1f}", colour, bold=True)
    return out


def margin() -> Drawing:
    """Draw five studies on one axis, with 0 and the largest loss that counts as none."""
    allowed, rng = 2.0, np.random.default_rng(0)
    studies = [
        shown(),
        simulate(rng, seeds=10, examples=1000, effect=0),
        simulate(rng, seeds=10, examples=3000, effect=-1),
        simulate(rng, seeds=3, examples=300, effect=-1),
        simulate(rng, seeds=5, examples=1000, effect=-6),
    ]
    out = Drawing(740, 340, "Five intervals, the margin and 0 on one axis, with the verdict on each")
    x = Axis(-10, 6, 40, 500)
    out.box((x(-10), 40), (x(-allowed) - x(-10), 240), "#fbe9df")
    out.line((x(-allowed), 40), (x(-allowed), 280), ORANGE, 2)
    out.line((x(0), 40), (x(0), 280))
    out.text((x(-allowed), 30), f"margin: -{allowed:.0f}", ORANGE, anchor="middle", size=13)
    for number, study in enumerate(studies):
        y = 66 + 47 * number
        result = verdict(study.old, study.new, margin=allowed)
        compared = result.comparison
        out.line((x(100 * compared.low), y), (x(100 * compared.high), y), BLUE, 3)
        out.dot((x(100 * compared.difference), y), BLUE)
        out.text((520, y), f"{result.margin_outcome}", bold=True)
        out.text((520, y + 17), f"without the margin: {result.outcome}", GREY, size=13)
    out.ticks_below(x, 285, {value: f"{value}" for value in range(-10, 7, 2)})
    out.text((270, 324), "difference, points", GREY, anchor="middle", size=13)
    return out
