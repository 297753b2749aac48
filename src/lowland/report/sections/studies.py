"""Sections of studies beside each other: the verdict of each, their differences, scores and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowland.evidence.core.unpaired import UnpairedComparison
from lowland.evidence.core.wording import score_name
from lowland.evidence.readers.runs import TEST
from lowland.evidence.studies import Comparison, NamedStudy, StudyDifferences, method_table, score_interval
from lowland.ground.mistakes import plural
from lowland.report.blocks import Block, Bullets, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell, Column, Row
from lowland.report.drawing.forest import ForestRow, forest, reach_of
from lowland.report.sections.scores import COSTS, costs_of
from lowland.report.sections.verdict import forest_figure, forest_rows, headline, interval_numbers


def listed(names: Sequence[str]) -> str:
    """Write names with commas, and an "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def verdict_blocks(studies: Sequence[NamedStudy], names: Sequence[str]) -> list[Block]:
    """Build the verdict of each study, with the forest plots on one scale where they have one unit.

    Args:
        studies: the studies.
        names: labels of all methods; the place of a label gives its look, like in the functions below.
    """
    drawn = [study for study in studies if study.evidence.compared[TEST]]
    units = {(each.is_share, each.metric) for study in drawn for each in study.evidence.compared[TEST]}
    reaches = [reach_of(forest_rows(study.evidence, TEST, names)) for study in drawn]
    reach = (min(low for low, _ in reaches), max(high for _, high in reaches)) if len(units) == 1 else None
    blocks: list[Block] = []
    if len(drawn) > 1:
        scale = (
            "The plots have one scale."
            if reach
            else "The scores are different ones, so each plot has its own scale."
        )
        blocks.append(
            Paragraph(
                f"Each study by itself: methods against its own reference, paired by seed and example. {scale}"
            )
        )
    for study in studies:
        figure = (
            [forest_figure(study.evidence, TEST, study=study.name, names=names, reach=reach)]
            if study in drawn
            else []
        )
        blocks.append(Section(study.name, (Paragraph(headline(study.evidence)), *figure)))
    return blocks


def difference_blocks(each: StudyDifferences, names: Sequence[str]) -> list[Block]:
    """Build the forest plot of one study against another, method by method, and the sentences."""
    title = f"{each.study.name} against {each.reference.name}"
    blocks: list[Block] = [
        *([_difference_figure(each, names)] if each.compared else []),
        *([Bullets(tuple(_sentence(each, method) for method in each.compared))] if each.compared else []),
    ]
    if each.reasons:
        reasons = tuple(f"{method}: {reason}." for method, reason in each.reasons.items())
        blocks += [Paragraph("Not compared:"), Bullets(reasons)]
    if not blocks:
        ours, theirs = ([*study.evidence.names] for study in (each.study, each.reference))
        blocks.append(
            Paragraph(
                f"The two share no method ({listed(ours)}; {listed(theirs)}), so that nothing is compared."
            )
        )
    return [Section(title, tuple(blocks))]


def _sentence(each: StudyDifferences, method: str) -> str:
    """Return the sentence on a method, with how it is paired, and what Holm's correction takes back."""
    compared = each.compared[method]
    text = compared.sentence()
    if not isinstance(compared, UnpairedComparison):
        text += f" Paired by {plural(len(compared.seeds), 'seed')} and by example."
        if left := each.left_out[method]:
            text += f" Left out, since only one of both has them: seeds {', '.join(map(str, left))}."
    if len(each.p_holm) > 1 and compared.over_seeds:
        limit, p = 1 - compared.level, each.p_holm[method]
        if compared.p < limit <= p:
            text += f" With Holm's correction for {len(each.p_holm)} comparisons, that is no longer shown (p {p:.2g})."
    return text


def _difference_figure(each: StudyDifferences, names: Sequence[str]) -> Figure:
    ours, theirs = each.study.name, each.reference.name
    first = next(iter(each.compared.values()))
    factor, unit = (100.0, "points") if first.is_share else (1.0, score_name(first.metric))
    rows = [
        ForestRow(
            name=method,
            value=factor * compared.difference,
            low=factor * compared.low,
            high=factor * compared.high,
            numbers=interval_numbers(compared),
            dots=_dots(compared, factor),
            number=names.index(method) if method in names else None,
            is_shown=each.is_shown(method),
        )
        for method, compared in each.compared.items()
    ]
    title = f"{ours} minus {theirs} in {score_name(first.metric)}, with {100 * first.level:g} % intervals"
    words = "; ".join(f"{row.name} {row.numbers}" for row in rows)
    sides = (f"{theirs} better", f"{ours} better")
    wide, narrow = (
        forest(rows, title, f"{words}.", sides=sides, unit=unit, narrow=is_narrow)
        for is_narrow in (False, True)
    )
    caption = (
        f"Each method in {ours}, minus the same method in {theirs}, on the same test examples. Small dots are single"
        " seeds, where seeds are paired. A hollow marker: no difference is shown."
    )
    name = f"between_{ours}_and_{theirs}"
    return Figure(f"forest-{name}", caption, (wide,), _difference_table(each, name, title), (narrow,))


def _dots(compared: Comparison, factor: float) -> tuple[float, ...]:
    if isinstance(compared, UnpairedComparison) or not compared.over_seeds:
        return ()
    return tuple(factor * value for value in compared.per_seed)


def _difference_table(each: StudyDifferences, name: str, title: str) -> Data:
    first = next(iter(each.compared.values()))
    form, scale = ("+.2f", 100.0) if first.is_share else ("+.4g", 1.0)
    columns = (
        Column("method", "method"),
        Column("difference", "difference", "interval", form, scale),
        Column("p", "p", "number", ".2g"),
        Column("p_holm", "p (Holm)", "number", ".2g"),
        Column("detectable", "detectable in 80 %", "number", form.lstrip("+"), scale),
        Column("pairing", "paired by"),
        Column("seeds", f"seeds, {each.study.name}", "number"),
        Column("seeds_reference", f"seeds, {each.reference.name}", "number"),
        Column("examples", "examples", "number"),
        Column("groups", "groups", "number"),
    )
    rows: list[Row] = []
    for method, compared in each.compared.items():
        is_paired = not isinstance(compared, UnpairedComparison)
        ours, theirs = (
            compared.n_seeds if isinstance(compared, UnpairedComparison) else (len(compared.seeds),) * 2
        )
        rows.append(
            (
                method, (compared.difference, compared.low, compared.high), compared.p, each.p_holm.get(method),
                compared.detectable, "seed and example" if is_paired else "example", ours, theirs,
                compared.n_examples, compared.n_groups,
            )
        )  # fmt: skip
    in_points = ", in points" if first.is_share else ""
    return Data(f"differences_{name}", f"{title}{in_points}", columns, tuple(rows))


def study_score_blocks(studies: Sequence[NamedStudy], names: Sequence[str]) -> list[Block]:
    """Build the table of scores by method and study: the compared one with its interval, others with their spread."""
    rows: list[tuple[str, NamedStudy, dict[str, Cell]]] = []
    intervals: dict[str, None] = {}
    spreads: dict[str, None] = {}
    for method in names:
        for study in studies:
            scores = next((each for each in study.evidence.methods if each.method == method), None)
            if scores is None:
                continue
            cells: dict[str, Cell] = {name: (score.mean, score.sd) for name, score in scores.scores.items()}
            table = method_table(study, method)
            interval = None if isinstance(table, str) else score_interval(table)
            if interval is not None and not isinstance(table, str):
                low = max(interval.low, 0.0) if 0 <= interval.difference <= 1 else interval.low
                cells[f"{table.metric} interval"] = (interval.difference, low, interval.high)
                intervals[table.metric] = None
            spreads |= dict.fromkeys(scores.scores)
            rows.append((method, study, {**cells, "seeds": len(scores.seeds)}))
    columns = (
        Column("method", "method"),
        Column("study", "study"),
        Column("seeds", "seeds", "number"),
        *(
            Column(f"{name}_interval", f"{score_name(name)}, 95 % interval", "interval", ".4f")
            for name in intervals
        ),
        *(Column(name, f"{score_name(name)}, mean ± sd", "spread", ".4f") for name in spreads),
    )
    keys = ["seeds", *(f"{name} interval" for name in intervals), *spreads]
    data = tuple((method, study.name, *(cells.get(key) for key in keys)) for method, study, cells in rows)
    caption = (
        "Scores on the test set. Intervals are over seeds and test examples, with one seed over examples alone. Whether"
        " two of them overlap does not say whether the studies differ: the differences above do"
    )
    return [Data("scores_by_study", caption, columns, data, heading=2)]


def study_cost_blocks(studies: Sequence[NamedStudy], names: Sequence[str]) -> list[Block]:
    """Build the table of what a run costs, by method and study."""
    rows = tuple(
        (method, study.name, *costs_of(each))
        for method in names
        for study in studies
        for each in study.evidence.methods
        if each.method == method
    )
    columns = (Column("method", "method"), Column("study", "study"), *COSTS)
    blocks: list[Block] = [
        Data(
            "cost_by_study", "Cost of one run, mean ± standard deviation over seeds", columns, rows, heading=2
        )
    ]
    if len({_machine(study) for study in studies}) > 1:
        blocks.append(
            Paragraph(
                "The studies ran on different machines or with other libraries, so their seconds cannot be compared."
            )
        )
    return blocks


def _machine(study: NamedStudy) -> str:
    environment: Mapping[str, Any] = study.evidence.first.environment
    names = ("processor", "cores", "device", "torch", "threads")
    return str([environment.get(name) for name in names])
