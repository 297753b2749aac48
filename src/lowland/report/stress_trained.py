"""Report of trained runs that were asked the same questions: methods compared, paired by seed and item."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowland.evidence.stress import REFERENCES
from lowland.ground.mistakes import Mistake
from lowland.ground.records import StressRecord
from lowland.report.blocks import Block, Paragraph, Section
from lowland.report.stress_adapters import adapter_blocks

Asked = tuple[StressRecord, pd.DataFrame]
"""A stress test's record and its rows."""


def trained_sections(tests: Sequence[Asked]) -> list[Section]:
    """Build a section for each set of questions that runs of several methods were asked.

    Runs that were asked other questions, and models without training, are left out.

    Args:
        tests: records and rows of stress tests.
    """
    sets: dict[tuple[str, str], list[Asked]] = {}
    for record, rows in tests:
        if record.asked.get("trained") and len(rows):
            sets.setdefault((str(rows["eval"].iloc[0]), str(record.items.get("sha256"))), []).append(
                (record, rows)
            )
    return [
        Section(f"{eval}: trained runs compared", tuple(_comparison(eval, asked)))
        for (eval, _), asked in sets.items()
        if len({record.asked["trained"][0] for record, _ in asked}) > 1
    ]


def _comparison(eval: str, asked: Sequence[Asked]) -> list[Block]:
    """Compare the methods, with a run of each seed."""
    rows = pd.concat([_of_run(record, rows, REFERENCES[eval]) for record, rows in asked], ignore_index=True)
    intro = Paragraph(
        f"Runs of one method are its seeds; each question is a text, and {REFERENCES[eval]} is the undamaged one"
        " (clean). Questions without an answer count as wrong."
    )
    try:
        return [intro, *adapter_blocks(rows, full=True)]
    except Mistake as mistake:
        return [Paragraph(f"The runs cannot be compared: {mistake}.")]


def _of_run(record: StressRecord, rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return a run's rows as those of an adapter: the method as the model, its seed, an item as a group.

    Epochs are averaged.
    """
    method, seed, _ = record.asked["trained"]
    rows = rows.assign(
        model=method,
        seed=int(seed),
        group=rows["item"],
        score=rows["score"].astype(float).fillna(0.0),
        condition=rows["condition"].replace({reference: "clean"}),
        level=rows["level"].fillna(""),
    )
    keys = ["model", "seed", "item", "condition", "level", "protected", "mitigation"]
    averaged = rows.drop_duplicates(keys).drop(columns="score")
    return averaged.merge(rows.groupby(keys, as_index=False)["score"].mean(), on=keys)
