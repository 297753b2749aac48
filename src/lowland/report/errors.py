"""Report of an error analysis: which examples a study's runs get wrong, of which kinds, and how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowland.evidence.categories import CategoryScores, rule_categories
from lowland.evidence.core.confidence import ReliabilityBin
from lowland.evidence.core.wording import examples_words
from lowland.evidence.errors import COVERAGES, ErrorAnalysis
from lowland.evidence.readers.answers import Answers
from lowland.evidence.text_rules import TEXT_RULES
from lowland.evidence.wrong_examples import confusion
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Section, Table
from lowland.report.error_sentences import summary_sentences
from lowland.report.markdown import escape
from lowland.report.wording import p_value, quoted, signed

Row = tuple[str | Quoted, ...]
"""Row of a table."""
MAX_LABELS = 12
"""Largest number of labels whose confusion matrix is shown whole."""
FREQUENT = 8
"""Number of the most frequent confusions that are shown."""


def error_blocks(analysis: ErrorAnalysis, examples: int = 3, left_out: int = 0) -> list[Block]:
    """Build the report of an error analysis.

    Args:
        analysis: what it shows.
        examples: number of examples to show of each kind.
        left_out: number of runs that failed or are not finished.
    """
    answers = analysis.answers
    groups = int(answers.examples["group"].nunique())
    seeds = {seed for each in answers.methods.values() for seed in each.seeds}
    blocks: list[Block] = [
        Paragraph(
            f"{answers.task}: {examples_words(len(answers.examples), groups)};"
            f" {', '.join(answers.methods)}; {plural(len(seeds), 'seed')}"
        ),
        Bullets(tuple(summary_sentences(analysis))),
    ]
    if left_out:
        blocks.append(Paragraph(f"Left out: {plural(left_out, 'run')} that failed or did not finish."))
    if len({each.seeds for each in answers.methods.values()}) > 1:
        blocks.append(
            Paragraph("Methods have different seeds; they are compared on the seeds that they share.")
        )
    blocks += _confusions(analysis)
    blocks += _categories(analysis, examples)
    if analysis.changes:
        blocks.append(Section("Fixed and broken", tuple(_changes(analysis, examples))))
    if analysis.never_right:
        blocks.append(Section("Wrong in every run", tuple(_never_right(analysis, examples))))
    if analysis.mistakes and examples:
        blocks.append(
            Section(f"Most confident mistakes of {analysis.method}", (_mistakes(analysis, examples),))
        )
    if analysis.confidence:
        blocks.append(Section("Confidence", tuple(_confidence(analysis))))
    return blocks


def _confusions(analysis: ErrorAnalysis) -> list[Block]:
    """Build the confusion matrix of the method, and the most frequent confusions of all methods."""
    answers = analysis.answers
    if not answers.labels or answers.methods[analysis.method].predicted is None:
        return []
    counts = {method: confusion(answers, method) for method in answers.methods}
    blocks: list[Block] = []
    labels = list(answers.labels)
    if len(labels) <= MAX_LABELS:
        matrix: tuple[Row, ...] = tuple(
            (quoted(label), *[f"{count:.1f}" for count in row])
            for label, row in zip(labels, counts[analysis.method], strict=True)
        )
        blocks.append(
            Paragraph(f"{analysis.method}: examples by label (rows) and prediction, mean over seeds.")
        )
        blocks.append(Table(("label", *[escape(visible(label)) for label in labels]), matrix))
    mean = np.mean(list(counts.values()), axis=0) * (1 - np.eye(len(labels)))
    order = [np.unravel_index(place, mean.shape) for place in np.argsort(-mean, axis=None, kind="stable")]
    frequent = [(int(i), int(j)) for i, j in order[:FREQUENT] if mean[i, j] > 0]
    if frequent and len(counts) > 1:
        blocks.append(Paragraph("Most frequent confusions, mean over seeds:"))
        pairs: tuple[Row, ...] = tuple(
            (quoted(labels[i]), quoted(labels[j]), *[f"{each[i, j]:.1f}" for each in counts.values()])
            for i, j in frequent
        )
        blocks.append(Table(("label", "prediction", *counts), pairs))
    return [Section("Confusions", tuple(blocks))] if blocks else []


def _categories(analysis: ErrorAnalysis, examples: int) -> list[Block]:
    sections: list[Block] = []
    if analysis.categories:
        sections.append(Section("Accuracy by category", (_category_table(analysis.categories),)))
    if analysis.rules:
        kinds = "; ".join(f"{each.name}: {TEXT_RULES[each.name].summary}" for each in analysis.rules)
        inner: list[Block] = [
            Paragraph(
                f"Rules for English texts, which look for words and so err (docs/errors.md says how often). {kinds}."
            ),
            _category_table(analysis.rules),
        ]
        for each in analysis.rules:
            if each.is_harder and examples and (rows := _hard_examples(analysis, each.name, examples)):
                inner += [
                    Paragraph(f"{each.name}, those that the most runs get wrong:"),
                    Table(("example", "label", "wrong runs", "text"), rows),
                ]
        sections.append(Section("Accuracy by kind of text", tuple(inner)))
    return sections


def _category_table(scores: Sequence[CategoryScores]) -> Table:
    methods = list(scores[0].accuracy)
    rows: list[Row] = []
    for each in scores:
        accuracies = [
            "" if math.isnan(each.accuracy[method]) else f"{each.accuracy[method]:.3f}" for method in methods
        ]
        gap = "" if each.gap is None else signed(each.gap.difference)
        interval = "" if each.gap is None else f"{signed(each.gap.low)} to {signed(each.gap.high)}"
        p = "" if each.gap is None else p_value(each.p_holm)
        rows.append((quoted(each.name), str(each.count), *accuracies, gap, interval, p))
    return Table(
        ("", "examples", *methods, "against the others, all methods (points)", "95 % interval", "p (Holm)"),
        tuple(rows),
    )


def _hard_examples(analysis: ErrorAnalysis, rule: str, examples: int) -> tuple[tuple[str | Quoted, ...], ...]:
    """Return rows for the examples of a kind that the most runs get wrong."""
    answers = analysis.answers
    wrong = np.concatenate([1 - each.right for each in answers.methods.values()])  # (runs, N)
    count = wrong.sum(axis=0) * rule_categories(answers)[rule]
    order = [int(row) for row in np.argsort(-count, kind="stable")[:examples] if count[row] > 0]
    return tuple(
        (*_about(answers, row)[:2], f"{count[row]:.0f} of {len(wrong)}", _about(answers, row)[2])
        for row in order
    )


def _about(answers: Answers, row: int) -> tuple[str | Quoted, str | Quoted, str | Quoted]:
    """Return number, label and text of an example."""
    example = answers.examples.iloc[row]
    text = quoted(example["text"]) if example["text"] else ""
    label = quoted(example["label"]) if example["label"] else ""
    return quoted(example["example"]), label, text


def _changes(analysis: ErrorAnalysis, examples: int) -> list[Block]:
    rows, reference = [], analysis.reference
    for each in analysis.changes:
        seeds = len(each.seeds)
        rows.append(
            (
                each.method,
                str(seeds),
                *[str(int((counts == seeds).sum())) for counts in (each.fixed, each.broken)],
                *[str(int((counts > 0).sum())) for counts in (each.fixed, each.broken)],
                f"{each.share:.1%}",
            )
        )
    header = (
        f"against {reference}", "seeds", "fixed in every seed", "broken in every seed", "fixed in any", "broken in any",
        "predictions that differ in being right",
    )  # fmt: skip
    blocks: list[Block] = [Table(header, tuple(rows))]
    for each in analysis.changes:
        for kind, counts in (("fixes", each.fixed), ("breaks", each.broken)):
            order = [int(row) for row in np.argsort(-counts, kind="stable")[:examples] if counts[row] > 0]
            if order:
                blocks.append(Paragraph(f"{each.method} {kind}, in the most seeds first:"))
                table = tuple(
                    (
                        *_about(analysis.answers, row)[:2],
                        f"{counts[row]} of {len(each.seeds)}",
                        _about(analysis.answers, row)[2],
                    )
                    for row in order
                )
                blocks.append(Table(("example", "label", "seeds", "text"), table))
    return blocks


def _never_right(analysis: ErrorAnalysis, examples: int) -> list[Block]:
    count, runs = (
        len(analysis.never_right),
        sum(len(each.seeds) for each in analysis.answers.methods.values()),
    )
    sentence = (
        f"{plural(count, 'example')} of {len(analysis.answers.examples)} {'is' if count == 1 else 'are'} wrong in all"
        f" {runs} runs. Read them: either the label is an error, or the example is hard for all methods. Those whose"
        " label the runs find least likely come first."
    )
    rows = tuple(
        (
            *_about(analysis.answers, each.row)[:2],
            quoted(each.predicted) if each.predicted else "",
            f"{each.agreement:.0%}",
            "" if math.isnan(each.label_probability) else f"{each.label_probability:.3f}",
            _about(analysis.answers, each.row)[2],
        )
        for each in analysis.never_right[:examples]
    )
    header = ("example", "label", "predicted", "runs that agree", "probability of the label", "text")
    return [Paragraph(sentence), *([Table(header, rows)] if rows else [])]


def _mistakes(analysis: ErrorAnalysis, examples: int) -> Table:
    rows = tuple(
        (
            *_about(analysis.answers, each.row)[:2],
            quoted(each.predicted),
            f"{each.confidence:.3f}",
            str(each.seeds),
            _about(analysis.answers, each.row)[2],
        )
        for each in analysis.mistakes[:examples]
    )
    return Table(("example", "label", "predicted", "confidence", "seeds", "text"), rows)


def _confidence(analysis: ErrorAnalysis) -> list[Block]:
    blocks: list[Block] = [
        _calibration_table(analysis),
        Paragraph("Accuracy of the most confident predictions, if only a share of the examples is answered:"),
        Table(
            ("answered", *analysis.confidence),
            tuple(
                (f"{coverage:.0%}", *[f"{each.selective[n]:.3f}" for each in analysis.confidence.values()])
                for n, coverage in enumerate(COVERAGES)
            ),
        ),
    ]
    if analysis.method in analysis.confidence:
        blocks.append(Paragraph(f"{analysis.method}, all seeds together:"))
        blocks.append(_reliability_table(analysis.confidence[analysis.method].bins))
    return blocks


def _calibration_table(analysis: ErrorAnalysis) -> Table:
    rows = tuple(
        (
            method,
            f"{signed(each.surplus.difference)} ({signed(each.surplus.low)} to {signed(each.surplus.high)})",
            f"{100 * each.error.value:.1f} ({100 * each.error.low:.1f} to {100 * each.error.high:.1f})",
            f"{100 * each.error.by_chance:.1f} (up to {100 * each.error.by_chance_high:.1f})",
            f"{100 * each.risk_area:.1f}",
        )
        for method, each in analysis.confidence.items()
    )
    header = (
        "in points",
        "confidence - accuracy",
        "calibration error (ECE)",
        "ECE by chance alone",
        "area under risk and coverage",
    )
    return Table(header, rows)


def _reliability_table(bins: Sequence[ReliabilityBin]) -> Table:
    rows = tuple(
        (
            f"{each.low:.1f} to {each.high:.1f}",
            str(each.count),
            f"{each.confidence:.3f}",
            f"{each.accuracy:.3f}",
        )
        for each in bins
        if each.count
    )
    return Table(("confidence", "predictions", "mean confidence", "accuracy"), rows)
