"""Report of `lowland measure sharpness`: rises of the loss by method, and their differences in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.sharpness import RiseDifference, SharpnessAt
from lowland.evidence.verdict_sentences import p_words
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Section, Table

MEASURES = {
    "expected": "expected sharpness",
    "sam": "SAM's step",
    "worst": "worst case",
    "adaptive": "adaptive m-sharpness",
}
"""Names of the measures in reports."""
ROUNDING = 1e-6
"""Difference of two mean rises, in nats, up to which the rounding of float32 may be its reason."""
SPACES = {"full": "full space (merged weights)", "adapter": "adapter's space (A and B)"}


def sharpness_blocks(
    measured: Sequence[SharpnessAt], sizes: Mapping[str, int], draws: int, ended: Sequence[str]
) -> list[Block]:
    """Build the report of the sharpness of the runs of one study.

    Args:
        measured: the figures, those of one split and space beside each other.
        sizes: number of examples of each split.
        draws: number of draws of the noise.
        ended: sentences on losses that were not finite.
    """
    examples = ", ".join(f"{plural(count, 'example')} of {split}" for split, count in sizes.items())
    blocks: list[Block] = [
        Paragraph(
            f"Rise of the loss (nats) on {examples}; {plural(draws, 'draw')} of noise, each with both signs; 95 %"
            " intervals. A smaller rise is flatter."
        )
    ]
    for (split, space), group in groupby(measured, lambda at: (at.split, at.space)):
        figures = list(group)
        inner: list[Block] = [_rises(figures)]
        if any(at.differences for at in figures):
            inner += [_differences(figures), Bullets(tuple(sharpness_sentences(figures)))]
        blocks.append(Section(f"{visible(split)}, {SPACES[space]}", tuple(inner)))
    if ended:
        blocks.append(Bullets(tuple(ended)))
    return blocks


def sharpness_as_json(measured: Sequence[SharpnessAt]) -> list[dict[str, Any]]:
    """Return the figures as plain values, in nats."""
    return [
        {
            "split": at.split,
            "space": at.space,
            "measure": at.measure,
            "strength": at.strength,
            "methods": {
                rise.method: {"seeds": list(rise.seeds), "mean": rise.mean, **_ends(rise.interval)}
                for rise in at.rises
            },
            "against": [
                {
                    "method": each.method,
                    "reference": each.reference,
                    "seeds": list(each.seeds),
                    "difference": each.interval.difference,
                    **_ends(each.interval),
                    "per_seed": list(each.interval.per_seed),
                    "p": each.interval.p,
                    "p_holm": each.p_holm,
                }
                for each in at.differences
            ],
        }
        for at in measured
    ]


def _ends(interval: PairedInterval | None) -> dict[str, float | None]:
    if interval is None:
        return {"low": None, "high": None}
    return {"low": interval.low, "high": interval.high}


def _rises(figures: Sequence[SharpnessAt]) -> Table:
    methods = list(dict.fromkeys(rise.method for at in figures for rise in at.rises))
    rows = []
    for at in figures:
        rises = {rise.method: rise for rise in at.rises}
        cells = [
            _number_with(rises[name].mean, rises[name].interval) if name in rises else "not finite"
            for name in methods
        ]
        rows.append((MEASURES[at.measure], f"{at.strength:g}", *cells))
    return Table(("rise of the loss", "strength", *map(visible, methods)), tuple(rows))


def _differences(figures: Sequence[SharpnessAt]) -> Table:
    rows: list[tuple[str | Quoted, ...]] = [
        (
            MEASURES[at.measure],
            f"{at.strength:g}",
            Quoted(f"{visible(each.method)} - {visible(each.reference)}"),
            _number_with(each.interval.difference, each.interval),
            p_words(each.p_holm),
        )
        for at in figures
        for each in at.differences
    ]
    return Table(("rise of the loss", "strength", "methods", "difference", "p (Holm)"), tuple(rows))


def _number_with(value: float, interval: PairedInterval | None) -> str:
    return f"{value:.3g}" + (f" ({interval.low:.3g} to {interval.high:.3g})" if interval is not None else "")


def sharpness_sentences(figures: Sequence[SharpnessAt]) -> Iterator[str]:
    """Yield a sentence for each measure and method: at which strengths it is flatter, sharper, or undecided."""
    for measure, group in groupby(figures, lambda at: at.measure):
        by_method: dict[str, list[tuple[float, RiseDifference]]] = {}
        for at in group:
            for each in at.differences:
                by_method.setdefault(each.method, []).append((at.strength, each))
        for method, differences in by_method.items():
            yield _sentence(MEASURES[measure], method, differences)


def _sentence(measure: str, method: str, differences: Sequence[tuple[float, RiseDifference]]) -> str:
    first = differences[0][1]
    verdicts: dict[str, list[str]] = {}
    for strength, each in differences:
        shown = each.p_holm < 1 - each.interval.level and abs(each.interval.difference) > ROUNDING
        word = ("flatter" if each.interval.difference < 0 else "sharper") if shown else ""
        verdicts.setdefault(word, []).append(f"{strength:g}")
    pair = f"{visible(method)} and {visible(first.reference)}"
    parts = [
        f"{visible(method)} is {word} than {visible(first.reference)} at {', '.join(strengths)}"
        for word, strengths in verdicts.items()
        if word
    ]
    if undecided := verdicts.get(""):
        parts.append(f"no difference between {pair} is shown at {', '.join(undecided)}")
    basis = plural(len(first.seeds), "seed")
    if len(first.seeds) == 1:
        basis += ", which says nothing of other seeds"
    return f"{measure[0].upper()}{measure[1:]}: {'; '.join(parts)} ({basis})."
