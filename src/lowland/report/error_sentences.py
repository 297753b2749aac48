"""Findings of an error analysis in plain sentences, which claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lowland.evidence.core.by_item import holm
from lowland.evidence.errors import COVERAGES, ErrorAnalysis
from lowland.ground.mistakes import plural
from lowland.report.wording import signed

SHOWN_COVERAGE = 0.8
"""Share of the examples whose accuracy stands in the summary."""


def summary_sentences(analysis: ErrorAnalysis) -> Iterator[str]:
    """Yield all findings, a sentence for each."""
    yield from failure_sentences(analysis)
    yield from confidence_sentences(analysis)


def failure_sentences(analysis: ErrorAnalysis) -> Iterator[str]:
    """Yield the findings on wrong examples: how many, of which kinds, and how they change between methods."""
    for method, answers in analysis.answers.methods.items():
        yield f"{method} gets {1 - answers.right.mean():.1%} of the examples wrong."
    runs = sum(len(each.seeds) for each in analysis.answers.methods.values())
    if runs > 1:
        never = len(analysis.never_right)
        share = never / len(analysis.answers.examples)
        verb = "is" if never == 1 else "are"
        yield f"{plural(never, 'example')} ({share:.1%}) {verb} wrong in all {runs} runs."
    yield from _kinds(analysis)
    yield from _changes(analysis)


def _kinds(analysis: ErrorAnalysis) -> Iterator[str]:
    for scores, what in ((analysis.categories, "category"), (analysis.rules, "kind of text")):
        if not scores:
            continue
        if all(each.gap is None for each in scores):
            yield f"The {what} is not tested: there are too few groups of examples, or no seed that all methods have."
            continue
        harder = [
            f"{each.name} ({signed(each.gap.difference)} points, {signed(each.gap.low)} to {signed(each.gap.high)})"
            for each in sorted(scores, key=lambda each: 0.0 if each.gap is None else each.gap.difference)
            if each.is_harder and each.gap is not None
        ]
        if harder:
            yield f"Accuracy is lower than on other examples for the {what} {'; '.join(harder)}."
        else:
            yield f"No {what} is shown to be harder than the other examples."


def _changes(analysis: ErrorAnalysis) -> Iterator[str]:
    churn = analysis.churn[analysis.reference]
    for each in analysis.changes:
        fixed, broken = (int((counts == len(each.seeds)).sum()) for counts in (each.fixed, each.broken))
        sentence = (
            f"{each.method} and {analysis.reference} differ in being right in {each.share:.1%} of the cases"
        )
        if not math.isnan(churn):
            sentence += f"; two seeds of {analysis.reference} differ in {churn:.1%}"
        if len(each.seeds) > 1:
            sentence += f". In all {len(each.seeds)} seeds, {each.method} fixes {plural(fixed, 'example')}"
            sentence += f" and breaks {broken}"
        yield f"{sentence}."


def confidence_sentences(analysis: ErrorAnalysis) -> Iterator[str]:
    """Yield the findings on confidence: who is over- or underconfident, and what leaving out unsure answers gains."""
    corrected = holm([each.surplus.p for each in analysis.confidence.values()])
    for (method, each), p in zip(analysis.confidence.items(), corrected, strict=True):
        surplus = each.surplus
        bounds = f"{signed(surplus.low)} to {signed(surplus.high)} points"
        if p >= 1 - surplus.level:
            yield (
                f"{method} is not shown to be over- or underconfident: its mean confidence less its accuracy is"
                f" {signed(surplus.difference)} ({bounds})."
            )
        else:
            word = "overconfident" if surplus.difference > 0 else "underconfident"
            yield f"{method} is {word} by {abs(100 * surplus.difference):.1f} points ({bounds})."
    if analysis.method in analysis.confidence:
        selective = dict(zip(COVERAGES, analysis.confidence[analysis.method].selective, strict=True))
        yield (
            f"On the {SHOWN_COVERAGE:.0%} of the examples of which {analysis.method} is most confident, its accuracy is"
            f" {selective[SHOWN_COVERAGE]:.3f} instead of {selective[1.0]:.3f}."
        )
