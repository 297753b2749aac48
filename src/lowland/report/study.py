"""A study in plain text: Markdown tables, and sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.core.spread import Spread
from lowland.evidence.core.wording import score_name
from lowland.evidence.readers.runs import finished
from lowland.evidence.study import MethodScores, by_method, compare_with_reference, reference_of
from lowland.ground.records import RunRecord


def summary(folders: Sequence[Path]) -> str:
    """The whole story of a study's runs: scores by method, differences to the reference, what to beware of.

    Args:
        folders: of the runs; failed ones are counted and left out.
    """
    runs = finished(folders)
    failed = len(folders) - len(runs)
    parts = [f"{failed} of {len(folders)} runs failed."] if failed else []
    if not runs:
        return parts[0]
    records = list(runs.values())
    splits = list(records[0].scores)
    reference = reference_of(list(dict.fromkeys(one.method for one in records)))
    parts += [_heading(records), scores_table(by_method(records))]
    for split in splits:
        compared = compare_with_reference(runs, reference, split=split)
        if split != "test":
            parts += [f"Test set '{split}':", short_table(by_method(records, split))]
        parts += [_comparisons(compared)] if compared else []
    parts += _mixed(records)
    return "\n\n".join(parts)


def scores_table(rows: Sequence[MethodScores]) -> str:
    """A Markdown table: mean ± standard deviation over seeds, parameters, seconds and memory."""
    return table(
        [
            "method",
            *map(score_name, rows[0].scores),
            "trainable",
            "share",
            "seconds",
            "peak memory",
        ],
        [
            [
                row.method,
                *_scores(row),
                f"{row.trainable:,}",
                f"{row.share:.2%}",
                _plus_minus(row.seconds, 1, ".1f"),
                _plus_minus(row.peak_bytes, 2**20, ".0f", " MiB") if row.peak_bytes.mean else "not known",
            ]
            for row in rows
        ],
    )


def short_table(rows: Sequence[MethodScores]) -> str:
    """A Markdown table of the scores alone."""
    return table(
        ["method", *map(score_name, rows[0].scores)],
        [[row.method, *_scores(row)] for row in rows],
    )


def _scores(row: MethodScores) -> list[str]:
    return [_plus_minus(score, 1, ".4f") for score in row.scores.values()]


def _heading(records: Sequence[RunRecord]) -> str:
    first = records[0]
    seeds = len({one.seed for one in records})
    told = "1 seed" if seeds == 1 else f"{seeds} seeds; mean ± standard deviation over seeds"
    return f"{first.task}, {first.model['name']}: {first.data['sizes']['test']} test texts, {told}"


def _comparisons(compared: Sequence[PairedComparison]) -> str:
    lines = [f"- {one.sentence()}" for one in compared]
    told = [
        f"{one.method} {one.permutation.p:.3g} (at least {one.permutation.smallest_p:.3g} with"
        f" {len(one.seeds)} {'seed' if len(one.seeds) == 1 else 'seeds'})"
        for one in compared
    ]
    lines.append(f"- Permutation test over seeds, p: {', '.join(told)}.")
    return "\n".join(lines)


def _mixed(records: Sequence[RunRecord]) -> list[str]:
    """Warnings where the runs were not made alike."""
    warnings = []
    if len({str(one.code) for one in records}) > 1:
        warnings.append("Beware: the runs were made with different versions of lowland's code.")
    if len({str(one.environment) for one in records}) > 1:
        warnings.append("Beware: the runs were made in different environments.")
    return warnings


def _plus_minus(value: Spread, unit: float, form: str, name: str = "") -> str:
    mean = format(value.mean / unit, form)
    return f"{mean}{name}" if math.isnan(value.sd) else f"{mean} ± {format(value.sd / unit, form)}{name}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns in line."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)
