"""Reader of a behavioural test's rows: which cases each method's runs pass, by seed.

Rows are those of a stress test (`lowland.ground.records.ROW_COLUMNS`) with further columns (`FURTHER`). The model is
the method, the condition a test of the suite, the topic its capability, the item a case, the group a template, and the
score 1 if the run passes the case.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd

from lowland.evidence.readers.stress_rows import check_columns
from lowland.ground.mistakes import Mistake

FURTHER = (
    "topic", "prompt", "gold", "seed", "group", "kind", "original",
    "predicted_original", "predicted", "p_original", "p",
)  # fmt: skip
"""Columns of the rows of a behavioural test that other stress tests lack, or leave empty."""


@dataclass(frozen=True)
class BehaviourScores:
    """Passed cases of several methods.

    Attributes:
        cases: columns `test`, `kind`, `capability` and `group`, by case.
        passed: for each method a table with a row for each case, in the order of `cases`, and a column for each seed: 1
            for a case that the run passes, else 0.
    """

    cases: pd.DataFrame
    passed: dict[str, pd.DataFrame]

    def groups(self, chosen: pd.Series) -> list[Hashable]:
        """Return the templates of the chosen cases."""
        return list(self.cases.loc[chosen, "group"])


def read_behaviour(rows: pd.DataFrame) -> BehaviourScores:
    """Return the passed cases by method, seed and case.

    Args:
        rows: rows of one behavioural test.

    Raises:
        Mistake: if columns are missing, a run answered a case twice, or runs were asked different cases.
    """
    check_columns(rows)
    if missing := [name for name in FURTHER if name not in rows.columns]:
        raise Mistake(
            f"the table of rows lacks the columns {', '.join(missing)}; rows of lowland behave have them"
        )
    if rows.duplicated(["model", "seed", "item"]).any():
        raise Mistake("cases are answered twice by one run; give the rows of one behavioural test at a time")
    first = rows.drop_duplicates("item").set_index("item")
    cases = first[["condition", "kind", "topic", "group"]].set_axis(
        ["test", "kind", "capability", "group"], axis=1
    )
    passed = {}
    for method, block in rows.groupby("model", sort=False):
        table = block.pivot(index="item", columns="seed", values="score").reindex(cases.index)
        if table.isna().to_numpy().any():
            raise Mistake(
                f"{method} lacks answers to some cases; give the rows of one behavioural test at a time"
            )
        passed[str(method)] = table
    return BehaviourScores(cases, passed)
