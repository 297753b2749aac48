"""Report of a study: tables of scores, and sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.evidence.calibration import STUDIES
from lowland.evidence.core.by_item import holm
from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.core.spread import Spread, spread_of
from lowland.evidence.core.wording import score_name
from lowland.evidence.readers.runs import finished
from lowland.evidence.study import (
    MethodScores,
    by_method,
    compare_with_reference,
    dominated,
    false_verdicts_of_study,
    reference_of,
)
from lowland.ground.mistakes import plural
from lowland.ground.records import RunRecord, title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Table
from lowland.report.markdown import render
from lowland.report.sweep import sweep_blocks

Baseline = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Scores of the simplest method, by its name and test set, as a record holds them."""
MAX_LABELS = 12
"""Largest number of labels whose scores are shown."""


def summary(folders: Sequence[str | Path], tunings: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Return the report of a study's runs as Markdown.

    Args:
        folders: folders of the runs; failed runs are counted and left out.
        tunings: how the settings were searched, by label (`Tuning.describe()`); None takes it from the records, where
            runs from before the search say nothing of it.
    """
    return render(study_blocks([Path(folder) for folder in folders], tunings))


def study_blocks(
    folders: Sequence[Path], tunings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Block]:
    """Build the report of a study's runs: scores by method, differences from the reference, warnings.

    Args:
        folders: folders of the runs; failed runs are counted and left out.
        tunings: as for `summary`.
    """
    runs = finished(folders)
    failed = len(folders) - len(runs)
    blocks: list[Block] = [Paragraph(f"{failed} of {len(folders)} runs failed.")] if failed else []
    if not runs:
        return blocks
    records = list(runs.values())
    reference = reference_of(list(dict.fromkeys(record.method for record in records)))
    baseline = records[0].baseline
    methods = by_method(records)
    blocks += [Paragraph(_heading(records)), scores_table(methods, baseline)]
    if len(methods) > 1:
        blocks.append(Paragraph(pareto_sentence(methods)))
    tunings = tunings or {record.method: record.tuning for record in records if record.tuning}
    if tunings:
        others = [name for name in dict.fromkeys(record.method for record in records) if name not in tunings]
        blocks += sweep_blocks(tunings, others)
    for split in records[0].scores:
        compared = compare_with_reference(runs, reference, split=split)
        if split != "test":
            blocks += [
                Paragraph(f"Test set '{split}':"),
                short_table(by_method(records, split), baseline, split),
            ]
        if labels := class_table(records, split):
            heading = "F1 of each label:" if records[0].data.get("labels") else "F1 by kind of example:"
            blocks += [Paragraph(heading), labels]
        if compared:
            blocks.append(comparison_bullets(compared, false_verdicts_of_study(runs, reference, split=split)))
    return [*blocks, *difference_warnings(records)]


def scores_table(methods: Sequence[MethodScores], baseline: Baseline | None = None) -> Table:
    """Build a table of mean ± standard deviation over seeds, parameters, seconds and memory."""
    short = short_table(methods, baseline)
    costs: list[tuple[str, ...]] = [
        (
            f"{method.trainable:,}",
            f"{method.share:.2%}",
            _plus_minus(method.seconds, 1, ".1f"),
            _plus_minus(method.peak_bytes, 2**20, ".0f", " MiB") if method.peak_bytes.mean else "not known",
        )
        for method in methods
    ]
    costs += [("", "", "", "")] * (len(short.rows) - len(costs))  # a baseline costs nothing
    return Table(
        (*short.header, "trainable", "share", "seconds", "peak memory"),
        tuple((*row, *cost) for row, cost in zip(short.rows, costs, strict=True)),
    )


def pareto_sentence(methods: Sequence[MethodScores]) -> str:
    """Write which methods no other method dominates in quality and cost, and which are dominated."""
    others = dominated(methods)
    front = [method.method for method in methods if method.method not in others]
    score = score_name(next(iter(methods[0].scores)))
    costs = "trained parameters, seconds and peak memory"
    sentence = f"Pareto front of {score}, {costs}, by their means: {', '.join(front)}."
    if others:
        pairs = ", ".join(f"{method} by {other}" for method, other in others.items())
        sentence += f" Dominated (no better in any mean and worse in some, perhaps by chance): {pairs}."
    return sentence


def short_table(
    methods: Sequence[MethodScores], baseline: Baseline | None = None, split: str = "test"
) -> Table:
    """Build a table of the scores alone, in the order of the records; the baseline is the last row.

    A score that a baseline lacks, such as a perplexity, is left empty.
    """
    rows = [
        (method.method, *[_plus_minus(score, 1, ".4f") for score in method.scores.values()])
        for method in methods
    ]
    rows += [
        (name, *[_number(scores[split].get(score)) for score in methods[0].scores])
        for name, scores in (baseline or {}).items()
        if split in scores
    ]
    return Table(("method", *map(score_name, methods[0].scores)), tuple(rows))


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:.4f}"


def class_table(records: Sequence[RunRecord], split: str) -> Table | None:
    """Build a table of each label's F1 by method; of many labels, those that are learned worst.

    Returns:
        None for a task without classes, and for records that do not hold these scores.
    """
    scored = [record for record in records if record.class_scores.get(split)]
    if not scored:
        return None
    labels = sorted({label for record in scored for label in record.class_scores[split]})
    values = {
        (record.method, label): spread_of(
            [
                other.class_scores[split].get(label, {}).get("f1", 0.0)
                for other in scored
                if other.method == record.method
            ]
        )
        for record in scored
        for label in labels
    }
    methods = tuple(dict.fromkeys(record.method for record in scored))
    worst = sorted(labels, key=lambda label: sum(values[method, label].mean for method in methods))[
        :MAX_LABELS
    ]
    support = scored[0].class_scores[split]
    rows: tuple[tuple[str | Quoted, ...], ...] = tuple(
        (
            Quoted(visible(label)),
            f"{support.get(label, {}).get('support', 0):.0f}",
            *[_plus_minus(values[method, label], 1, ".3f") for method in methods],
        )
        for label in labels
        if label in worst
    )
    return Table(("label" if scored[0].data.get("labels") else "kind", "examples", *methods), rows)


def _heading(records: Sequence[RunRecord]) -> str:
    first = records[0]
    seeds = plural(len({record.seed for record in records}), "seed")
    spread = "" if seeds == "1 seed" else "; mean ± standard deviation over seeds"
    return (
        f"{first.task}, {title_of(first.model)}: {first.data['sizes']['test']} test examples, {seeds}{spread}"
    )


def calibration_sentence(
    shares: Mapping[str, float], alike: Sequence[str] = (), studies: int = STUDIES
) -> str:
    """Write how often comparisons would give a verdict without a difference.

    Args:
        shares: of the simulated studies that get a verdict, by method.
        alike: methods whose scores are those of the reference, so that nothing varies that could be simulated.
        studies: number of simulated studies.
    """
    left_out = (
        f" {' and '.join(alike)}: equal to the reference on every example, not simulated." if alike else ""
    )
    parts = [f"{method} {share:.1%}" for method, share in shares.items()]
    return (
        f"A/A: of {studies:,} simulated studies like this one, but without a difference, these shares would get a"
        f" verdict for nothing: {', '.join(parts)}. About 5 % is intended.{left_out}"
    )


def comparison_bullets(compared: Sequence[PairedComparison], false_verdicts: Mapping[str, float]) -> Bullets:
    """Build the sentences on comparisons with the reference, with their p-values and the A/A check.

    Args:
        compared: the comparisons.
        false_verdicts: share of simulated studies without a difference that get a verdict, by method.
    """
    corrected = corrected_p(compared)
    sentences = [comparison.sentence() + _reservation(comparison, corrected) for comparison in compared]
    alike = [comparison.method for comparison in compared if comparison.method not in false_verdicts]
    calibration = [calibration_sentence(false_verdicts, alike)] if false_verdicts else []
    over_seeds = [comparison for comparison in compared if comparison.over_seeds]
    if not over_seeds:
        return Bullets((*sentences, *calibration))
    p = [
        f"{comparison.method} {comparison.p:.2g}"
        + (f" ({corrected[comparison.method]:.2g} by Holm's correction)" if len(over_seeds) > 1 else "")
        for comparison in over_seeds
    ]
    over = [
        f"{comparison.method} {comparison.permutation.p:.3g} (at least {comparison.permutation.smallest_p:.3g} with"
        f" {plural(len(comparison.seeds), 'seed')})"
        for comparison in over_seeds
    ]
    note = (
        f" With {len(over_seeds)} comparisons, only a corrected p below 0.05 is good evidence."
        if len(over_seeds) > 1
        else ""
    )
    return Bullets(
        (
            *sentences,
            f"p of the intervals: {', '.join(p)}.{note}",
            f"Permutation test over seeds, p: {', '.join(over)}.",
            *calibration,
        )
    )


def corrected_p(compared: Sequence[PairedComparison]) -> dict[str, float]:
    """Return p with Holm's correction over the comparisons that have several seeds, by method."""
    over_seeds = [comparison for comparison in compared if comparison.over_seeds]
    corrected = holm([comparison.p for comparison in over_seeds])
    return {comparison.method: p for comparison, p in zip(over_seeds, corrected, strict=True)}


def _reservation(comparison: PairedComparison, corrected: Mapping[str, float]) -> str:
    """Return what takes a verdict back that does not remain after Holm's correction; "" if there is nothing to say."""
    limit = 1 - comparison.level
    p = corrected.get(comparison.method, 0.0)
    if comparison.p >= limit or p < limit:
        return ""
    return f" With Holm's correction for {len(corrected)} comparisons, that is no longer shown (p {p:.2g})."


def difference_warnings(records: Sequence[RunRecord]) -> list[Paragraph]:
    """Build warnings for runs that differ in code or environment."""
    warnings = []
    if len({str(record.code) for record in records}) > 1:
        warnings.append(Paragraph("Beware: the runs were made with different versions of lowland's code."))
    if differing := _differing([record.environment for record in records]):
        sentence = f"Beware: the runs were made in different environments, which differ in {differing}."
        warnings.append(Paragraph(sentence))
    return warnings


def _differing(environments: Sequence[Mapping[str, Any]]) -> str:
    """Return the entries in which environments differ, with their values; "" if they do not."""
    names = dict.fromkeys(name for environment in environments for name in environment)
    values = {
        name: list(dict.fromkeys(str(environment.get(name, "none")) for environment in environments))
        for name in names
    }
    return "; ".join(
        f"{name} ({', '.join(different)})" for name, different in values.items() if len(different) > 1
    )


def _plus_minus(spread: Spread, unit: float, form: str, unit_name: str = "") -> str:
    mean = format(spread.mean / unit, form)
    if math.isnan(spread.sd):
        return f"{mean}{unit_name}"
    return f"{mean} ± {format(spread.sd / unit, form)}{unit_name}"
