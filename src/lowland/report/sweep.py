"""Report of a sweep: the best settings of each method, and how the search went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowland.evidence.core.wording import score_name
from lowland.ground.mistakes import plural
from lowland.report.blocks import Block, Paragraph, Table

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of trials after which the best score so far is shown."""


def sweep_blocks(tunings: Mapping[str, Mapping[str, Any]], others: Sequence[str] = ()) -> list[Block]:
    """Build the report of a sweep.

    Args:
        tunings: `Tuning.describe()` of each method, by its label; of runs, the entry `tuning` of their records.
        others: labels of the methods that were not searched.
    """
    first = next(iter(tunings.values()))
    name, counts = score_name(first["score"]), {len(tuning["trials"]) for tuning in tunings.values()}
    budget = plural(counts.pop(), "trial") if len(counts) == 1 else "trials"
    steps = [step for step in STEPS if step < max(len(tuning["trials"]) for tuning in tunings.values())]
    rows = tuple(
        (
            label,
            *[_number(tuning["best_so_far"], step) for step in steps],
            _number(tuning["best_so_far"], len(tuning["trials"])),
            ", ".join(f"{setting} {value:.3g}" for setting, value in tuning["best"].items()),
            f"{tuning['examples']:,}",
        )
        for label, tuning in tunings.items()
    )
    header = ("method", *[plural(step, "trial") for step in steps], "best", "settings", "examples")
    return [
        Paragraph(
            f"Settings were searched on validation data, with {budget} for each method; the first trial has the"
            f" recipe's own settings. The table shows the best validation {name} after so many trials, its settings"
            " (of equal scores, those with the smaller validation loss), and how many examples all trials trained on:"
        ),
        Table(header, rows),
        *(
            [Paragraph(f"Not searched, since it uses none of these settings: {', '.join(others)}.")]
            if others
            else []
        ),
        *_edges(tunings),
    ]


def _edges(tunings: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Return a paragraph on best values at the end of their range: a better one may be beyond it."""
    at_end = [
        f"{label}'s {name} {tuning['best'][name]:.3g} (from {values[0]:g} to {values[-1]:g})"
        for label, tuning in tunings.items()
        for name, values in tuning["space"].items()
        if len(values) == 2 and _is_at_end(tuning["best"][name], values)
    ]
    if not at_end:
        return []
    return [Paragraph(f"Near the end of its range: {'; '.join(at_end)}. Better values may lie beyond it.")]


def _is_at_end(value: float, ends: list[float]) -> bool:
    low, high = ends
    return low > 0 and (value <= low * 1.25 or value >= high / 1.25)


def _number(curve: list[float | None], step: int) -> str:
    score = curve[step - 1] if step <= len(curve) else None
    return "" if score is None else f"{score:.4f}"
