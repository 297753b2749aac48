"""Fine-tuned methods on damaged texts, in words and Markdown tables."""

from __future__ import annotations

import math

import pandas as pd

from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.stress_adapters import AdapterDifference, AdapterEvidence, adapter_evidence
from lowland.report.stress_tables import chance, named, signed
from lowland.report.study import table


def adapter_parts(rows: pd.DataFrame, *, full: bool) -> list[str]:
    """The story of adapters' rows, a test set at a time.

    Args:
        rows: with `seed`, `group` and, where there are several test sets, `split`.
        full: all tables, not the accuracies and the answer alone.
    """
    splits = rows.groupby("split", sort=False) if "split" in rows.columns else [("test", rows)]
    parts = []
    for split, block in splits:
        found = adapter_evidence(block)
        parts += [f"Test set '{split}':"] if str(split) != "test" else []
        parts += [_heading(found), *adapter_tables(found, full=full)]
    return [*parts, _notes(found)]


def adapter_tables(found: AdapterEvidence, *, full: bool) -> list[str]:
    """Accuracy by corruption and method; does a method hold up better; and, if full, every comparison."""
    parts = [_accuracy(found)]
    parts += ["\n".join(f"- {sentence(one)}" for one in found.overall)] if found.overall else []
    if full and found.accuracy:
        parts += [
            f"Drop from clean, in points:\n\n{_drops(found)}",
            f"Accuracy minus {found.reference}'s, paired by seed and text:\n\n{_compared(found.accuracy)}",
            f"Less lost from clean than {found.reference} (above 0: the method holds up better):\n\n"
            f"{_compared(found.holding_up)}",
        ]
    elif full:
        parts.append(f"Drop from clean, in points:\n\n{_drops(found)}")
    return parts


def sentence(one: AdapterDifference) -> str:
    """Does the method hold up better over a level's corruptions?

    No more than the interval and p, corrected over all methods and levels, allow.
    """
    cell, count = one.cells[0], len(one.cells)
    under = named(cell) if count == 1 else f"{count} corruptions, {cell.level}"
    if count > 1:
        under += (", protected" if cell.protected else "") + (
            f", with {cell.mitigation}" if cell.mitigation != "none" else ""
        )
    seeds = len(one.interval.per_seed)
    basis = f"{100 * one.interval.level:g} % interval {_ends(one.interval)}, {seeds} seed{'s' * (seeds > 1)}"
    basis += f", p {chance(one.p_holm)} (Holm)"
    alone = "" if one.interval.over_seeds else "; over test texts alone, other seeds may differ"
    if one.interval.low <= 0 <= one.interval.high or not one.p_holm <= 1 - one.interval.level:
        told = f"whether {one.method} or {one.reference} holds up better cannot be told"
        return f"Under {under}, {told}: {signed(one.interval.difference)} points ({basis}{alone})."
    better = "less" if one.interval.difference > 0 else "more"
    by = f"{100 * abs(one.interval.difference):.1f} points {better}"
    return f"Under {under}, {one.method} loses {by} than {one.reference} ({basis}{alone})."


def _heading(found: AdapterEvidence) -> str:
    seeds = f"{len(found.seeds)} seed{'s' * (len(found.seeds) > 1)}"
    groups = "" if found.groups == found.examples else f" in {found.groups} groups"
    return f"{found.examples} test texts{groups}, {seeds}; mean ± standard deviation over seeds, in per cent"


def _accuracy(found: AdapterEvidence) -> str:
    methods = list(dict.fromkeys(one.method for one in found.scores))
    by_place = {(one.method, one.cell): one for one in found.scores}
    rows = []
    for cell in dict.fromkeys(one.cell for one in found.scores):
        told = []
        for method in methods:
            score = by_place.get((method, cell))
            told.append("not asked" if score is None else _spread(score.accuracy.mean, score.accuracy.sd))
        rows.append([named(cell), *told])
    return table(["texts", *methods], rows)


def _drops(found: AdapterEvidence) -> str:
    methods = list(dict.fromkeys(one.method for one in found.scores))
    drops = {(one.method, one.cell): one.drop for one in found.scores}
    rows = [
        [
            named(cell),
            *[_interval(drop) if (drop := drops.get((name, cell))) else "not asked" for name in methods],
        ]
        for cell in dict.fromkeys(one.cell for one in found.scores if one.drop)
    ]
    return table(["texts", *methods], rows)


def _compared(differences: tuple[AdapterDifference, ...]) -> str:
    rows = [
        [named(one.cells[0]), one.method, _interval(one.interval), chance(one.p), chance(one.p_holm)]
        for one in differences
    ]
    return table(["texts", "method", "points", "p", "p (Holm)"], rows)


def _notes(found: AdapterEvidence) -> str:
    one = next((score.drop for score in found.scores if score.drop), None)
    level = 100 * one.level if one else 95
    return (
        f"Intervals ({level:g} %) speak of other seeds and other texts of the same kind; texts of one group are"
        " resampled together. p is by Student's t from the interval's standard error; Holm's correction is over"
        " all rows of a table."
    )


def _interval(one: PairedInterval) -> str:
    return f"{signed(one.difference)} ({_ends(one)})"


def _ends(one: PairedInterval) -> str:
    return f"{signed(one.low)} to {signed(one.high)}"


def _spread(mean: float, sd: float) -> str:
    return f"{100 * mean:.1f}" if math.isnan(sd) else f"{100 * mean:.1f} ± {100 * sd:.1f}"
