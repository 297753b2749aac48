"""Failures: accuracy by category, examples that methods fix and break, and the list of errors."""

from __future__ import annotations

from collections.abc import Sequence

from lowland.evidence.categories import CategoryScores
from lowland.evidence.errors import ErrorAnalysis
from lowland.evidence.study_evidence import StudyEvidence
from lowland.evidence.text_rules import TEXT_RULES
from lowland.report.blocks import Block, Bullets, Data, Figure, Section
from lowland.report.cells import Column, Row
from lowland.report.drawing.forest import ForestRow, forest
from lowland.report.error_sentences import failure_sentences
from lowland.report.sections.error_list import error_list
from lowland.report.wording import signed

MOST_CATEGORIES = 14
"""Largest number of categories in a plot; of more, those that differ the most."""


def failure_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build sentences, the plot of categories, the table of changes and the list of errors; none without errors."""
    analysis = evidence.analysis
    if analysis is None:
        return []
    blocks: list[Block] = [Bullets(tuple(failure_sentences(analysis)))]
    for name, title, scores in (
        ("categories", "category", analysis.categories),
        ("kinds", "kind of text", analysis.rules),
    ):
        if inner := _categories(name, title, scores):
            blocks.append(Section(f"By {title}", tuple(inner)))
    if analysis.changes:
        blocks.append(Section("Fixed and broken", (_changes(analysis),)))
    listed = error_list(evidence, analysis)
    return [*blocks, listed] if listed.data.rows else blocks


def _categories(name: str, title: str, scores: Sequence[CategoryScores]) -> list[Block]:
    """Build the plot and table of accuracies by category; the table alone if no category has an interval."""
    if not scores:
        return []
    data = _category_table(name, title, scores)
    drawn = sorted(
        (each for each in scores if each.gap is not None),
        key=lambda each: -abs(each.gap.difference if each.gap else 0.0),
    )[:MOST_CATEGORIES]
    rows = [_row(each) for each in scores if each in drawn]
    if not rows:
        return [data]
    heading = f"Accuracy by {title}, against that on all other examples"
    words = "; ".join(f"{row.name} {row.numbers}" for row in rows)
    sides = ("harder than the others", "easier")
    wide, narrow = (
        forest(rows, heading, f"{words}.", sides=sides, unit="points", narrow=narrow)
        for narrow in (False, True)
    )
    rules = [each for each in scores if each.name in TEXT_RULES] if name == "kinds" else []
    about = (
        f" {'; '.join(f'{each.name}: {TEXT_RULES[each.name].summary}' for each in rules)}." if rules else ""
    )
    looks = (
        " The kinds are found by rules for English texts, which look for words and so err." if rules else ""
    )
    caption = (
        f"{heading}: mean over methods, with 95 % intervals. Filled: harder, also after Holm's correction."
        f"{looks}{about}"
    )
    return [Figure(name, caption, (wide,), data, (narrow,))]


def _row(scores: CategoryScores) -> ForestRow:
    gap = scores.gap
    assert gap is not None
    return ForestRow(
        name=scores.name,
        value=100 * gap.difference,
        low=100 * gap.low,
        high=100 * gap.high,
        numbers=f"{signed(gap.difference)} ({signed(gap.low)} to {signed(gap.high)})",
        is_shown=scores.is_harder,
    )


def _category_table(name: str, title: str, scores: Sequence[CategoryScores]) -> Data:
    methods = list(scores[0].accuracy)
    columns = (
        Column("category", title),
        Column("examples", "examples", "number"),
        *[Column(f"accuracy_{method}", method, "number", ".3f") for method in methods],
        Column("gap", "against the others, points", "interval", "+.1f", 100),
        Column("p_holm", "p (Holm)", "number", ".2g"),
    )
    rows = tuple(
        (
            each.name,
            each.count,
            *[each.accuracy[method] for method in methods],
            None if each.gap is None else (each.gap.difference, each.gap.low, each.gap.high),
            each.p_holm,
        )
        for each in scores
    )
    return Data(name, f"Accuracy by {title}", columns, rows)


def _changes(analysis: ErrorAnalysis) -> Data:
    columns = (
        Column("method", "method"),
        Column("seeds", "seeds", "number"),
        Column("fixed_in_every_seed", "fixed in every seed", "number"),
        Column("broken_in_every_seed", "broken in every seed", "number"),
        Column("fixed_in_any_seed", "fixed in any", "number"),
        Column("broken_in_any_seed", "broken in any", "number"),
        Column("share_that_differs", "predictions that differ in being right, %", "number", ".1f", 100),
    )
    rows: tuple[Row, ...] = tuple(
        (
            each.method,
            len(each.seeds),
            *[int((counts == len(each.seeds)).sum()) for counts in (each.fixed, each.broken)],
            *[int((counts > 0).sum()) for counts in (each.fixed, each.broken)],
            each.share,
        )
        for each in analysis.changes
    )
    return Data(
        "changes", f"Examples that a method fixes and breaks against {analysis.reference}", columns, rows
    )
