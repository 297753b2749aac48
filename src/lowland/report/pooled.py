"""Report of differences that are pooled over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowland.evidence.core.wording import points, quantities, score_name
from lowland.evidence.pooled import Pooled
from lowland.evidence.verdict_sentences import p_words
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Table
from lowland.report.verdict import verdicts_as_json


def pooled_blocks(pooled: Sequence[Pooled]) -> list[Block]:
    """Build the report of pooled differences: a sentence for each method, and a row for each task."""
    return [
        Bullets(tuple(pooled_sentence(each, len(pooled)) for each in pooled)),
        Paragraph(
            "Each task has the same weight. The interval speaks of other examples and seeds of these tasks, and not of"
            " other tasks."
        ),
        _table(pooled),
    ]


def pooled_sentence(pooled: Pooled, comparisons: int = 1) -> str:
    """Return one plain sentence on a method, over all tasks.

    Args:
        pooled: its pooled difference.
        comparisons: number of methods that are compared with the reference.
    """
    difference, low, high = _numbers(pooled, [pooled.difference, pooled.low, pooled.high])
    unit = " points" if _is_share(pooled) else ""
    p = f"p {p_words(pooled.p)}" + (f", {p_words(pooled.p_holm)} by Holm" if comparisons > 1 else "")
    basis = f"{100 * pooled.level:g} % interval {low} to {high}; {p}"
    over = f"over {plural(len(pooled.tasks), 'task')}"
    name = _score(pooled)
    if pooled.p_holm >= 1 - pooled.level:
        signed = difference if difference.startswith("-") else f"+{difference}"
        return (
            f"{over.capitalize()}, these results do not show a difference in {name} between {pooled.method} and"
            f" {pooled.reference}: {signed}{unit} ({basis})."
        )
    outcome = "better" if pooled.difference > 0 else "worse"
    return (
        f"{over.capitalize()}, {pooled.method} is {outcome} than {pooled.reference} in {name} by"
        f" {difference.lstrip('-')}{unit} ({basis})."
    )


def pooled_as_json(pooled: Sequence[Pooled], flips: int) -> list[dict[str, Any]]:
    """Return pooled differences as plain values, with the verdict in each task; in the unit of the scores."""
    return [
        {
            "method": each.method,
            "reference": each.reference,
            "sentence": pooled_sentence(each, len(pooled)),
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "level": each.level,
            "p": each.p,
            "p_holm": each.p_holm,
            "standard_error": each.standard_error,
            "df": None if each.standard_error == 0 else each.df,
            "tasks": {task: verdicts_as_json([verdict], flips)[0] for task, verdict in each.tasks.items()},
        }
        for each in pooled
    ]


def _table(pooled: Sequence[Pooled]) -> Table:
    rows: list[tuple[str | Quoted, ...]] = []
    for each in pooled:
        for task, verdict in each.tasks.items():
            compared = verdict.comparison
            difference, low, high = _numbers(each, [compared.difference, compared.low, compared.high])
            means = f"{verdict.mean:.4f}", f"{verdict.mean_reference:.4f}"
            rows.append(
                (Quoted(visible(each.method)), Quoted(visible(task)), *means, difference, f"{low} to {high}")
            )
        difference, low, high = _numbers(each, [each.difference, each.low, each.high])
        rows.append((Quoted(visible(each.method)), "all", "", "", difference, f"{low} to {high}"))
    first = pooled[0]
    unit = " (points)" if _is_share(first) else ""
    header = ("", "task", _score(first), f"{visible(first.reference)}", f"difference{unit}")
    return Table((*header, f"{100 * first.level:g} % interval"), tuple(rows))


def _score(pooled: Pooled) -> str:
    """Return the score's name, or "score" if the tasks have different ones."""
    names = {verdict.comparison.metric for verdict in pooled.tasks.values()}
    return score_name(names.pop()) if len(names) == 1 else "score"


def _is_share(pooled: Pooled) -> bool:
    return next(iter(pooled.tasks.values())).comparison.is_share


def _numbers(pooled: Pooled, values: list[float]) -> list[str]:
    return points(values) if _is_share(pooled) else quantities(values)
