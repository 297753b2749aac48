"""Report of behavioural tests: pass rates, differences between methods, and cases that fail."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowland.evidence.behaviour import (
    BehaviourDifference,
    BehaviourEvidence,
    PassRate,
    Scope,
    behaviour_evidence,
)
from lowland.evidence.behaviour_failures import FailedRun, Failure, worst_failures
from lowland.ground.mistakes import plural
from lowland.ground.records import StressRecord
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Section, Table
from lowland.report.wording import p_value, quoted, signed

ONE_SEED = "One seed says nothing of the methods; train several to compare them."


def behaviour_blocks(
    rows: pd.DataFrame, record: StressRecord, *, reference: str | None = None
) -> list[Block]:
    """Build the report of a behavioural test.

    Args:
        rows: its rows.
        record: its record, which names the suite.
        reference: the method that the others are compared with; None takes LoRA if it took part, else the first.
    """
    evidence = behaviour_evidence(rows, reference=reference)
    blocks: list[Block] = [_heading(evidence, record), _rate_table(evidence, ("test",))]
    blocks += [
        Paragraph("By kind of test and capability:"),
        _rate_table(evidence, ("kind", "capability", "suite")),
    ]
    if len(evidence.methods) > 1:
        blocks.append(Section(f"Differences from {evidence.reference}", tuple(_difference_blocks(evidence))))
    if failures := worst_failures(rows):
        lines = Paragraph("Up to two cases of each test, those that most runs fail:")
        blocks.append(Section("Failing cases", (lines, failure_table(failures))))
    return [*blocks, Section("How to read this", (_notes(evidence),))]


def _heading(evidence: BehaviourEvidence, record: StressRecord) -> Paragraph:
    (whole,) = evidence.scopes_by("suite")
    tests = plural(len(evidence.scopes_by("test")), "test")
    about = f", {record.items['about']}" if "about" in record.items else ""
    return Paragraph(
        f"Suite {visible(str(record.asked.get('suite')))}{visible(about)}: {plural(whole.cases, 'case')} of {tests},"
        f" from {plural(whole.templates, 'template')}; {plural(len(evidence.seeds), 'seed')}. Pass rates in per cent,"
        f" with {100 * evidence.level:g} % intervals:"
    )


def _rate_table(evidence: BehaviourEvidence, properties: Sequence[str]) -> Table:
    """Build a table with a row for each scope and a column for each method."""
    rates = {(rate.method, rate.scope): _rate(rate) for rate in evidence.rates}
    is_by_test = "test" in properties
    header = ("test", "kind", "cases") if is_by_test else ("cases of", "cases")
    rows = []
    for scope in (scope for scope in evidence.scopes if scope.by in properties):
        name = Quoted(visible(scope.name)) if is_by_test else Quoted(scope_name(scope))
        kind = (scope.kind,) if is_by_test else ()
        rows.append((name, *kind, f"{scope.cases:,}", *(rates[method, scope] for method in evidence.methods)))
    return Table((*header, *evidence.methods), tuple(rows))


def scope_name(scope: Scope) -> str:
    """Write what the cases of a scope have in common: `test negated verbs`, `capability negation`, `all tests`."""
    return "all tests" if scope.by == "suite" else visible(f"{scope.by} {scope.name}")


def _rate(rate: PassRate) -> str:
    share = f"{100 * rate.value:.1f}"
    if rate.low is None or rate.high is None:
        return share
    return f"{share} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _difference_blocks(evidence: BehaviourEvidence) -> list[Block]:
    """Build a sentence on all cases for each method, and a table of the differences that intervals show."""
    blocks: list[Block] = []
    whole = [difference for difference in evidence.differences if difference.scope.by == "suite"]
    unpaired = [
        f"{method} shares no seed with {evidence.reference}, so that they are not compared; train both with the same"
        " seeds."
        for method in evidence.unpaired
    ]
    if lines := [*map(overall_sentence, whole), *unpaired]:
        blocks.append(Bullets(tuple(lines)))
    parts = [difference for difference in evidence.differences if difference.scope.by != "suite"]
    shown = [difference for difference in parts if difference.is_shown]
    if parts:
        kept = sum(difference.p_holm <= 1 - evidence.level for difference in shown)
        blocks.append(
            Paragraph(
                f"Of {plural(len(parts), 'difference')} by test, kind and capability, {len(shown)} have an interval"
                f" that excludes 0; {kept} of these {'remains' if kept == 1 else 'remain'} after Holm's correction."
            )
        )
    return [*blocks, _difference_table(shown)] if shown else blocks


def overall_sentence(difference: BehaviourDifference) -> str:
    """Return a sentence on the pass rate over all cases, which claims no more than interval and p allow."""
    interval, seeds = difference.interval, len(difference.interval.per_seed)
    ours, theirs = difference.method, difference.reference
    basis = f"{_interval(difference)}, {plural(seeds, 'seed')}, p {p_value(difference.p_holm)} (Holm)"
    is_shown = difference.is_shown and difference.p_holm <= 1 - interval.level
    if not interval.over_seeds:
        verdict = f"the two runs {'differ' if is_shown else 'could differ by that much by chance'}"
        return f"Over all cases, the run of {ours} against that of {theirs}: {basis}; {verdict}. {ONE_SEED}"
    if not is_shown:
        return f"Over all cases, these runs do not show whether {ours} or {theirs} passes more: {basis}."
    return f"Over all cases, {ours} passes {'more' if interval.difference > 0 else 'less'} than {theirs}: {basis}."


def _difference_table(differences: Sequence[BehaviourDifference]) -> Table:
    rows = tuple(
        (
            Quoted(scope_name(difference.scope)),
            difference.method,
            _interval(difference),
            p_value(difference.interval.p),
            p_value(difference.p_holm),
        )
        for difference in differences
    )
    return Table(("cases of", "method", "points", "p", "p (Holm)"), rows)


def _interval(difference: BehaviourDifference) -> str:
    interval = difference.interval
    return f"{signed(interval.difference)} points ({signed(interval.low)} to {signed(interval.high)})"


def failure_table(failures: Sequence[Failure]) -> Table:
    """Build a table of failing cases: texts, expectation, and what the runs predict."""
    rows = tuple(
        (
            Quoted(visible(failure.test)),
            quoted(failure.original) if failure.original else "",
            quoted(failure.text),
            Quoted(visible(failure.expected)),
            Quoted(visible("; ".join(answer_words(run, failure.kind) for run in failure.runs))),
        )
        for failure in failures
    )
    return Table(("test", "original", "text", "expected", "predictions that fail"), rows)


def answer_words(run: FailedRun, kind: str) -> str:
    """Write the answer of a run: `lora: positive → neutral`, or the probabilities for a direction."""
    if kind == "direction":
        answer = f"{run.p_original:.2f} → {run.p:.2f}"
    elif run.predicted_original:
        answer = f"{run.predicted_original} → {run.predicted}"
    else:
        answer = run.predicted
    return f"{run.method}: {answer}" + (f" ({run.failed} of {run.seeds} seeds)" if run.seeds > 1 else "")


def _notes(evidence: BehaviourEvidence) -> Bullets:
    over = (
        "other templates and other seeds"
        if len(evidence.seeds) > 1
        else "other templates, and not of other seeds"
    )
    few = (
        " With one seed and a dozen templates or fewer, they are too narrow: in simulations they missed the truth in"
        " 11 to 14 % of cases."
        if len(evidence.seeds) == 1
        else ""
    )
    return Bullets(
        (
            "A case of *minimum functionality* passes with the expected label, one of *invariance* if the change leaves"
            " the predicted label as it was, and one of *direction* if the probability of the label moves against the"
            " expectation by no more than the tolerance of the test.",
            "A run that always predicts the same label passes every invariance. Read these tests together with minimum"
            " functionality.",
            f"Intervals speak of {over}; the cases of one template count as one piece of evidence.{few} A rate without"
            " an interval is of cases that all came out alike, or of one template.",
            "p belongs to the interval: it is below 0.05 where the interval excludes 0. Holm's correction is over all"
            " methods and all tests (or kinds, or capabilities).",
        )
    )
