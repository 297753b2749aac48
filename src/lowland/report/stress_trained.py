"""Report of trained runs that were asked the same questions: methods compared, paired by seed and item."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowland.evidence.readers.stress_rows import Cell
from lowland.evidence.stress import REFERENCES
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.records import StressRecord
from lowland.report.blocks import Block, Paragraph, Section, Table
from lowland.report.stress_adapters import adapter_blocks
from lowland.report.wording import cell_name

Asked = tuple[StressRecord, pd.DataFrame]
"""A stress test's record and its rows."""
Questions = tuple[str, str]
"""The stress test, and the hash of all that is sent."""


def trained_sections(tests: Sequence[Asked]) -> list[Section]:
    """Build a section for each set of questions that runs of several methods were asked.

    Models without training that were asked the same questions are shown beside them. Runs that cannot be compared,
    since no other method was asked their questions, are counted.

    Args:
        tests: records and rows of stress tests.
    """
    sets = _sets(tests)
    compared = compared_sets(tests)
    sections = []
    for key, asked in compared.items():
        eval = key[0]
        others = sum(len(runs) for other, runs in sets.items() if other[0] == eval and other not in compared)
        untrained = [
            rows
            for record, rows in tests
            if record.asked.get("trained") is None and len(rows) and _questions(record, rows) == key
        ]
        blocks = [*_comparison(eval, asked), *_untrained(untrained, REFERENCES[eval]), *_left_out(others)]
        sections.append(Section(f"{eval}: trained runs compared", tuple(blocks)))
    return sections


def _sets(tests: Sequence[Asked]) -> dict[Questions, list[Asked]]:
    """Return the tests of trained runs by their questions."""
    sets: dict[Questions, list[Asked]] = {}
    for record, rows in tests:
        if record.asked.get("trained") is not None and len(rows):
            sets.setdefault(_questions(record, rows), []).append((record, rows))
    return sets


def compared_sets(tests: Sequence[Asked]) -> dict[Questions, list[Asked]]:
    """Return the tests of trained runs whose questions runs of several methods were asked, by these questions."""
    return {
        key: asked for key, asked in _sets(tests).items() if len({_method(record) for record, _ in asked}) > 1
    }


def _questions(record: StressRecord, rows: pd.DataFrame) -> Questions:
    """Return what the same questions have in common: the stress test, and the hash of all that is sent."""
    return str(rows["eval"].iloc[0]), str(record.items.get("sha256"))


def _method(record: StressRecord) -> str:
    return str(record.asked["trained"][0])


def _untrained(tests: Sequence[pd.DataFrame], reference: str) -> list[Block]:
    """Show the accuracy of models without training on the same questions; failed questions count as wrong."""
    if not tests:
        return []
    rows = _plain(pd.concat(tests, ignore_index=True), reference)
    keys = zip(rows["condition"], rows["level"], rows["protected"], rows["mitigation"], strict=True)
    rows = rows.assign(texts=[cell_name(Cell(*key)) for key in keys])
    means = rows.pivot_table(index="texts", columns="model", values="score", sort=False)
    cells = tuple((str(name), *(f"{100 * mean:.1f}" for mean in row)) for name, row in means.T.items())
    return [
        Paragraph("Without training, the same questions give (accuracy in per cent):"),
        Table(("texts", *map(str, means.columns)), cells),
    ]


def _left_out(count: int) -> list[Block]:
    """Say how many tests of trained runs are not compared."""
    if not count:
        return []
    return [
        Paragraph(
            f"{plural(count, 'test')} of trained runs {'is' if count == 1 else 'are'} left out: no other method was"
            " asked the same questions."
        )
    ]


def _comparison(eval: str, asked: Sequence[Asked]) -> list[Block]:
    """Compare the methods, with a run of each seed."""
    rows = trained_rows(eval, asked)
    try:
        return [about_questions(eval), *adapter_blocks(rows, full=True)]
    except Mistake as mistake:
        return [Paragraph(f"The runs cannot be compared: {mistake}.")]


def about_questions(eval: str) -> Paragraph:
    """Return what texts and seeds are where trained runs were asked questions."""
    clean = "undamaged" if REFERENCES[eval] == "clean" else f"in {REFERENCES[eval].capitalize()}"
    return Paragraph(
        f"Runs of one method are its seeds, and each question is a text; clean ones are {clean}. Questions without an"
        " answer count as wrong."
    )


def trained_rows(eval: str, asked: Sequence[Asked]) -> pd.DataFrame:
    """Return the rows of trained runs in the form of those of fine-tuned runs on damaged texts."""
    return pd.concat([_of_run(record, rows, REFERENCES[eval]) for record, rows in asked], ignore_index=True)


def _of_run(record: StressRecord, rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return a run's rows as those of an adapter: the method as the model, its seed, an item as a group.

    Epochs are averaged.
    """
    method, seed, _ = record.asked["trained"]
    rows = _plain(rows, reference).assign(model=method, seed=int(seed), group=rows["item"])
    keys = ["model", "seed", "item", "condition", "level", "protected", "mitigation"]
    averaged = rows.drop_duplicates(keys).drop(columns="score")
    return averaged.merge(rows.groupby(keys, as_index=False)["score"].mean(), on=keys)


def _plain(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return rows whose undamaged condition is called clean, and whose failed questions count as wrong."""
    return rows.assign(
        score=rows["score"].astype(float).fillna(0.0),
        condition=rows["condition"].replace({reference: "clean"}),
        level=rows["level"].fillna(""),
    )
