"""Report of fine-tuned methods on damaged texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.core.spread import Spread
from lowland.evidence.core.wording import identical_words, seeds_words
from lowland.evidence.readers.stress_rows import Cell
from lowland.evidence.stress_adapters import AdapterDifference, AdapterEvidence, adapter_evidence
from lowland.ground.mistakes import plural
from lowland.report.blocks import Block, Bullets, Paragraph, Table
from lowland.report.wording import cell_name, cell_suffix, p_value, signed


def adapter_blocks(rows: pd.DataFrame, *, full: bool, score: str = "accuracy") -> list[Block]:
    """Build the report of adapters' rows, one test set after the other.

    Args:
        rows: with `seed`, `group` and, if there are several test sets, `split`.
        full: True for all tables, False for mean scores and conclusions alone.
        score: what the mean score is called.
    """
    splits = rows.groupby("split", sort=False) if "split" in rows.columns else [("test", rows)]
    evidence_of = {str(split): adapter_evidence(block) for split, block in splits}
    blocks: list[Block] = []
    for split, evidence in evidence_of.items():
        if split != "test":
            blocks.append(Paragraph(f"Test set '{split}':"))
        blocks += [_heading(evidence, score), *evidence_blocks(evidence, full=full, score=score)]
    return [*blocks, *_notes(next(iter(evidence_of.values())), full)]


def evidence_blocks(evidence: AdapterEvidence, *, full: bool, score: str = "accuracy") -> list[Block]:
    """Build the mean score by corruption and method, which method loses less, and if full every comparison."""
    blocks: list[Block] = [_accuracy_table(evidence)]
    if evidence.overall:
        sentences = (drop_difference_sentence(difference, evidence) for difference in evidence.overall)
        blocks.append(Bullets(tuple(sentences)))
    if full:
        blocks += [Paragraph("Drop from clean, in points:"), _drop_table(evidence)]
    if full and evidence.accuracy:
        blocks += [
            Paragraph(f"{score.capitalize()} minus {evidence.reference}'s, paired by seed and text:"),
            _difference_table(evidence.accuracy),
            Paragraph(
                f"Less lost from clean than {evidence.reference} (above 0: the method holds up better):"
            ),
            _difference_table(evidence.drop_difference),
        ]
    return blocks


def drop_difference_sentence(difference: AdapterDifference, evidence: AdapterEvidence) -> str:
    """Return a sentence on whether the method loses less over a level's corruptions.

    The sentence claims no more than the interval and p, corrected over all methods and levels, allow.
    """
    under = _conditions(difference.cells)
    interval = difference.interval
    if difference.identical or interval.difference == interval.low == interval.high == 0:
        return f"Under {under}, {_equal_words(difference, evidence)}"
    basis = (
        f"{100 * interval.level:g} % interval {_ends(interval)}, {plural(len(interval.per_seed), 'seed')},"
        f" p {p_value(difference.p_holm)} (Holm)"
    )
    if not interval.over_seeds:
        runs = f"the run of {difference.method} loses {100 * abs(interval.difference):.1f} points"
        less = "less" if interval.difference >= 0 else "more"
        return (
            f"Under {under}, {runs} {less} than the run of {difference.reference} ({basis}; over test texts alone)."
            " One seed says nothing of the methods; test several to compare them."
        )
    if interval.low <= 0 <= interval.high or not difference.p_holm <= 1 - interval.level:
        methods = f"{difference.method} or {difference.reference}"
        amount = f"{signed(interval.difference)} points ({basis})"
        return f"Under {under}, these runs do not show whether {methods} holds up better: {amount}."
    amount = f"{100 * abs(interval.difference):.1f} points {'less' if interval.difference > 0 else 'more'}"
    return f"Under {under}, {difference.method} loses {amount} than {difference.reference} ({basis})."


def _conditions(cells: Sequence[Cell]) -> str:
    """Return what the cells of a level have in common: `2 corruptions, heavy`, or the cell's name if it is alone."""
    cell, count = cells[0], len(cells)
    if count == 1:
        return cell_name(cell)
    return f"{count} {f'corruptions, {cell.level}' if cell.level else 'conditions'}{cell_suffix(cell)}"


def _equal_words(difference: AdapterDifference, evidence: AdapterEvidence) -> str:
    """Return the end of a sentence on methods that lose the same: because they agree on every text, or not."""
    seeds = len(difference.interval.per_seed)
    caveat = (
        ""
        if difference.interval.over_seeds
        else " One seed says nothing of the methods; test several to compare them."
    )
    if difference.identical:
        words = identical_words(
            difference.compared,
            difference.method,
            difference.reference,
            examples=evidence.examples,
            groups=evidence.groups,
            seeds=seeds,
        )
        return f"the {words}, undamaged ones included.{caveat}"
    return (
        f"{difference.method} and {difference.reference} lose the same{seeds_words(seeds)}, though not with the same"
        f" {difference.compared}; these texts do not show what others would.{caveat}"
    )


def _heading(evidence: AdapterEvidence, score: str) -> Paragraph:
    groups = "" if evidence.groups == evidence.examples else f" in {evidence.groups} groups"
    named = "" if score == "accuracy" else f"{score}, "
    shown = f"{named}mean ± standard deviation over seeds, in per cent"
    if len(evidence.seeds) == 1:
        shown = f"{score} in per cent"
    return Paragraph(
        f"{evidence.examples} test texts{groups}, {plural(len(evidence.seeds), 'seed')}; {shown}"
    )


def _accuracy_table(evidence: AdapterEvidence) -> Table:
    accuracies = {(score.method, score.cell): _spread(score.accuracy) for score in evidence.scores}
    methods = tuple(dict.fromkeys(score.method for score in evidence.scores))
    rows = tuple(
        (cell_name(cell), *[accuracies.get((method, cell), "not asked") for method in methods])
        for cell in dict.fromkeys(score.cell for score in evidence.scores)
    )
    return Table(("texts", *methods), rows)


def _drop_table(evidence: AdapterEvidence) -> Table:
    drops = {(score.method, score.cell): _interval(score.drop) for score in evidence.scores if score.drop}
    methods = tuple(dict.fromkeys(score.method for score in evidence.scores))
    rows = tuple(
        (cell_name(cell), *[drops.get((method, cell), "not asked") for method in methods])
        for cell in dict.fromkeys(score.cell for score in evidence.scores if score.drop)
    )
    return Table(("texts", *methods), rows)


def _difference_table(differences: tuple[AdapterDifference, ...]) -> Table:
    rows = tuple(
        (
            cell_name(difference.cells[0]),
            difference.method,
            f"identical {difference.compared}" if difference.identical else _interval(difference.interval),
            p_value(difference.p),
            p_value(difference.p_holm),
        )
        for difference in differences
    )
    return Table(("texts", "method", "points", "p", "p (Holm)"), rows)


def _notes(evidence: AdapterEvidence, full: bool) -> list[Block]:
    """Explain the intervals and p-values that are shown; all test sets show the same kinds."""
    drop = next((score.drop for score in evidence.scores if score.drop), None)
    compared = evidence.overall or (evidence.accuracy if full else ())
    if drop is None or not (full or compared):
        return []
    seeds = (
        "other seeds and other texts of the same kind"
        if drop.over_seeds
        else "other texts of the same kind, and not of other seeds"
    )
    size = f"{100 * drop.level:g} %"
    note = f"Intervals ({size}) speak of {seeds}; texts of one group count as one."
    if any(not difference.identical for difference in compared or ()):
        note += " p belongs to the interval: it is below 0.05 where the interval excludes 0."
        note += " Holm's correction is over all rows of a table."
    return [Paragraph(note)]


def _interval(interval: PairedInterval) -> str:
    return f"{signed(interval.difference)} ({_ends(interval)})"


def _ends(interval: PairedInterval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def _spread(spread: Spread) -> str:
    mean = f"{100 * spread.mean:.1f}"
    return mean if math.isnan(spread.sd) else f"{mean} ± {100 * spread.sd:.1f}"
