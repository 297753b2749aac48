"""Scores and cost of each method, on each test set, and the scores of each label."""

from __future__ import annotations

from lowland.evidence.core.wording import score_name
from lowland.evidence.study import MethodScores, by_method
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Block, Data, Paragraph
from lowland.report.cells import Column, Row
from lowland.report.study import class_table

COSTS = (
    Column("trained_parameters", "trained parameters", "number"),
    Column("trained_share", "share, %", "number", ".2f", 100),
    Column("train_seconds", "seconds", "spread", ".1f"),
    Column("peak_mib", "peak memory, MiB", "spread", ".0f"),
)
"""Columns of what a run costs; they stand in the table of the main test set."""


def score_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build the tables of scores by method: mean and standard deviation over seeds; the baseline is the last row."""
    blocks: list[Block] = []
    splits = list(evidence.first.scores)
    for split in splits:
        blocks.append(_scores(evidence, split, len(splits) > 1))
        if table := class_table(evidence.records, split):
            what = "each label" if evidence.first.data.get("labels") else "each kind of example"
            blocks += [Paragraph(f"F1 of {what}{_on(split, len(splits) > 1)}:"), table]
    return blocks


def _scores(evidence: StudyEvidence, split: str, is_named: bool) -> Data:
    methods = by_method(evidence.records, split)
    names, has_costs = list(methods[0].scores), split == "test"
    columns = (
        Column("method", "method"),
        Column("seeds", "seeds", "number"),
        *[Column(name, score_name(name), "spread", ".4f") for name in names],
        *(COSTS if has_costs else ()),
    )
    rows: list[Row] = [
        (
            method.method,
            len(method.seeds),
            *[(score.mean, score.sd) for score in method.scores.values()],
            *(costs_of(method) if has_costs else ()),
        )
        for method in methods
    ]
    nothing = [None] * len(COSTS) if has_costs else []
    rows += [
        (f"{name} (baseline)", None, *[by_split[split].get(score) for score in names], *nothing)
        for name, by_split in evidence.first.baseline.items()
        if split in by_split
    ]
    spread = ": mean ± standard deviation over seeds" if len(evidence.seeds) > 1 else ""
    cost = " and cost of one run" if has_costs else ""
    return Data(f"scores_{split}", f"Scores{_on(split, is_named)}{cost}{spread}", columns, tuple(rows))


def costs_of(method: MethodScores) -> Row:
    """Return what a run of a method costs, in the order of `COSTS`."""
    memory = method.peak_bytes
    return (
        method.trainable,
        method.share,
        (method.seconds.mean, method.seconds.sd),
        (memory.mean / 2**20, memory.sd / 2**20) if memory.mean else None,
    )


def _on(split: str, is_named: bool) -> str:
    return f" on {split}" if is_named else ""
