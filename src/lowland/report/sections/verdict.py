"""First part of a study's page: the verdict in a sentence, the forest plot, and what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.core.unpaired import UnpairedComparison
from lowland.evidence.core.wording import points, quantities, score_name
from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Data, Figure, Paragraph
from lowland.report.cells import Column
from lowland.report.drawing.forest import ForestRow, forest
from lowland.report.study import comparison_bullets, corrected_p, difference_warnings

SPLIT = "test"
"""Test set of the first part; others follow in a section of their own."""


def headline(evidence: StudyEvidence) -> str:
    """Return the verdict on the main test set in one sentence, which claims no more than the intervals allow."""
    compared = evidence.compared[SPLIT]
    if len(evidence.methods) == 1:
        return _alone(evidence)
    if not compared:
        return f"Nothing can be compared: no method shares a seed with {evidence.reference}."
    metric = score_name(compared[0].metric)
    if all(each.identical for each in compared):
        return f"{_listed([each.method for each in compared])} gave the same answers as {evidence.reference}."
    if not any(each.over_seeds for each in compared):
        return f"One seed of each method says nothing of the methods; below is how single runs differ in {metric}."
    compared = [each for each in compared if each.over_seeds]  # one seed says nothing of a method
    shown = shown_by_method(compared)
    parts = []
    for word, sign in (("better", 1), ("worse", -1)):
        differing = [each for each in compared if shown[each.method] and sign * each.difference > 0]
        if len(differing) == 1:
            parts.append(
                f"{differing[0].method} is {word} than {evidence.reference} by {_amount(differing[0], True)}"
            )
        elif differing:
            names = [f"{each.method} ({_amount(each, False)})" for each in differing]
            parts.append(f"{_listed(names)} are {word} than {evidence.reference}")
    rest = [each.method for each in compared if not shown[each.method]]
    if not parts:
        return f"No difference in {metric} is shown between {evidence.reference} and {_listed(rest, 'or')}."
    if rest:
        parts.append(f"{_listed(rest)} {_verb(rest)} not shown to differ")
    return f"In {metric}, {'; '.join(parts)}."


def shown_by_method(compared: Sequence[PairedComparison]) -> dict[str, bool]:
    """Return for each method whether its difference is shown: over seeds, and after Holm's correction."""
    corrected = corrected_p(compared)
    return {
        each.method: each.over_seeds
        and not each.low <= 0 <= each.high
        and corrected[each.method] < 1 - each.level
        for each in compared
    }


def _amount(comparison: PairedComparison, is_named: bool) -> str:
    """Write the size of a difference, whatever its sign: `2.1 points (95 % interval 0.5 to 3.7)`."""
    ends = sorted([abs(comparison.low), abs(comparison.high)])
    values = [abs(comparison.difference), *ends]
    amount, low, high = points(values) if comparison.is_share else quantities(values)
    unit = " points" if comparison.is_share else ""
    level = f"{100 * comparison.level:g} % interval "
    return (
        f"{amount}{unit} ({level}{low} to {high})"
        if is_named
        else f"by {amount}{unit}, {level}{low} to {high}"
    )


def lead_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build the forest plot of the main test set, the sentences, the A/A line, and what to beware of."""
    blocks = comparison_blocks(evidence, SPLIT)
    if state := state_sentence(evidence):
        blocks.insert(0, Paragraph(state))
    return [*blocks, *answer_warnings(evidence), *difference_warnings(evidence.records)]


def answer_warnings(evidence: StudyEvidence) -> list[Paragraph]:
    """Build the remarks on the answers for the main test set, each once, with the runs that they are about."""
    about: dict[str, dict[str, list[int]]] = {}
    for record in evidence.records:
        mark = f"{SPLIT}, {record.method}, seed {record.seed}: "
        for remark in record.remarks:
            if remark.startswith(mark):
                about.setdefault(remark.removeprefix(mark), {}).setdefault(record.method, []).append(
                    record.seed
                )
    return [
        Paragraph(f"Beware: {_runs_named(runs)}: {visible(sentence).rstrip('.')}.")
        for sentence, runs in about.items()
    ]


def _runs_named(runs: Mapping[str, Sequence[int]]) -> str:
    """Name runs by method and seed: `lora (seeds 1 and 2) and dora (seed 1)`."""
    return _listed(
        [
            f"{visible(method)} ({'seed' if len(seeds) == 1 else 'seeds'} {_listed(list(map(str, seeds)))})"
            for method, seeds in runs.items()
        ]
    )


def comparison_blocks(evidence: StudyEvidence, split: str) -> list[Block]:
    """Build the forest plot and the sentences of a test set; none if nothing is compared."""
    compared = evidence.compared[split]
    if not compared:
        return []
    return [
        forest_figure(evidence, split),
        comparison_bullets(compared, evidence.false_verdicts[split]),
    ]


def forest_figure(
    evidence: StudyEvidence,
    split: str,
    *,
    study: str = "",
    names: Sequence[str] | None = None,
    reach: tuple[float, float] | None = None,
) -> Figure:
    """Build the forest plot of the differences from the reference on a test set.

    Args:
        evidence: evidence of the study.
        split: name of the test set.
        study: name of the study, if it stands beside others.
        names: labels of methods whose places give their looks; default: those of the study.
        reach: values that the axis reaches; default: those of the differences.
    """
    compared, reference = evidence.compared[split], evidence.reference
    rows, first = forest_rows(evidence, split, names or evidence.names), compared[0]
    metric, where = score_name(first.metric), f"{study}: " if study else ""
    title = f"{where}Differences from {reference} in {metric}, with {100 * first.level:g} % intervals"
    words = "; ".join(f"{row.name} {row.numbers}" for row in rows)
    sides, unit = (f"{reference} better", f"{reference} worse"), "points" if first.is_share else metric
    drawings = [
        forest(rows, title, f"{words}.", sides=sides, unit=unit, narrow=narrow, reach=reach)
        for narrow in (False, True)
    ]
    suffix = f"{split}_{study}" if study else split
    data = _differences(evidence, split, suffix, f"{title}{', in points' if first.is_share else ''}")
    return Figure(f"forest-{suffix}", _caption(compared, reference), (drawings[0],), data, (drawings[1],))


def forest_rows(evidence: StudyEvidence, split: str, names: Sequence[str]) -> list[ForestRow]:
    """Return the rows of the forest plot of a test set; the place of a label among names gives its look."""
    compared = evidence.compared[split]
    shown, factor = shown_by_method(compared), 100 if compared[0].is_share else 1
    return [
        ForestRow(
            name=each.method,
            value=factor * each.difference,
            low=factor * each.low,
            high=factor * each.high,
            numbers=interval_numbers(each),
            dots=tuple(factor * value for value in each.per_seed) if each.over_seeds else (),
            number=names.index(each.method),
            is_shown=shown[each.method],
        )
        for each in compared
    ]


def _differences(evidence: StudyEvidence, split: str, suffix: str, caption: str) -> Data:
    """Build the table of the differences from the reference: intervals, p-values, and what the design can detect."""
    compared = evidence.compared[split]
    corrected = corrected_p(compared)
    form, scale = ("+.2f", 100.0) if compared[0].is_share else ("+.4g", 1.0)
    return Data(
        f"differences_{suffix}",
        caption,
        (
            Column("method", "method"),
            Column("difference", "difference", "interval", form, scale),
            Column("p", "p", "number", ".2g"),
            Column("p_holm", "p (Holm)", "number", ".2g"),
            Column("permutation_p", "p, permutation over seeds", "number", ".3g"),
            Column("detectable", "detectable in 80 %", "number", form.lstrip("+"), scale),
            Column("seeds", "seeds", "number"),
            Column("examples", "examples", "number"),
            Column("groups", "groups", "number"),
            Column("false_verdicts", "A/A: false verdicts, %", "number", ".1f", 100),
        ),
        tuple(
            (
                each.method, (each.difference, each.low, each.high), each.p, corrected.get(each.method),
                each.permutation.p, each.detectable, len(each.seeds), each.n_examples, each.n_groups,
                evidence.false_verdicts[split].get(each.method),
            )
            for each in compared
        ),
    )  # fmt: skip


def _caption(compared: Sequence[PairedComparison], reference: str) -> str:
    first = compared[0]
    alone = [each.method for each in compared if not each.over_seeds]
    over = "seeds and test examples" if len(alone) < len(compared) else "test examples alone"
    if alone and len(alone) < len(compared):
        over += f" (for {_listed(alone)}, with one seed, over test examples alone)"
    small = " Small dots are single seeds." if len(alone) < len(compared) else ""
    return (
        f"Difference from {reference} in {score_name(first.metric)}, paired by seed and example; the line is the"
        f" {100 * first.level:g} % interval over {over}.{small} A hollow marker: no difference is shown."
    )


def interval_numbers(comparison: PairedComparison | UnpairedComparison) -> str:
    """Write a difference with its interval: `+2.1 (+0.5 to +3.7)`, in points if it is one of shares."""
    values = [comparison.difference, comparison.low, comparison.high]
    texts = points(values) if comparison.is_share else quantities(values)
    first, low, high = (text if text.startswith("-") or float(text) == 0 else f"+{text}" for text in texts)
    return f"{first} ({low} to {high})"


def _alone(evidence: StudyEvidence) -> str:
    method = evidence.methods[0]
    name, score = next(iter(method.scores.items()))
    spread = f" ± {score.sd:.4f}" if len(method.seeds) > 1 else ""
    return (
        f"{method.method}: {score_name(name)} {score.mean:.4f}{spread}, {plural(len(method.seeds), 'seed')}; there is"
        " no other method to compare it with."
    )


def state_sentence(evidence: StudyEvidence) -> str:
    """Return the sentence on runs that are not finished; "" if all are."""
    parts = []
    if evidence.failed:
        names = ", ".join(f"{record.method} seed {record.seed}" for record in evidence.failed[:6])
        more = ", …" if len(evidence.failed) > 6 else ""
        parts.append(f"{plural(len(evidence.failed), 'run')} failed ({names}{more})")
    if evidence.unfinished:
        parts.append(f"{plural(evidence.unfinished, 'run')} did not finish")
    return f"Beware: {' and '.join(parts)}; this page is of the other {len(evidence.runs)}." if parts else ""


def _listed(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def other_test_sets(evidence: StudyEvidence) -> list[Block]:
    """Build forest plot and sentences for each test set but the main one."""
    blocks: list[Block] = []
    for split in evidence.compared:
        if split != SPLIT and (inner := comparison_blocks(evidence, split)):
            blocks += [Paragraph(f"Test set '{split}':"), *inner]
    return blocks
