"""Classification with as many examples of each label, for data sets in which one label is rare."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lowland.ground.rng import stream
from lowland.tasks.classification import Classification
from lowland.tasks.examples import TaskFields


@dataclass(frozen=True)
class BalancedClassification(Classification):
    """Classification of as many texts of each label as the rarest label has, drawn with the split seed.

    It is a task of its own, and no option: the balanced data set has other scores than the whole one (its majority
    baseline is 50 %), so the two should not share a name in tables and folders.
    """

    def read_tables(self, fields: TaskFields) -> tuple[pd.DataFrame, str]:
        """Return the balanced table, and its source."""
        table, source = super().read_tables(fields)
        return balance(table, fields.split_seed), source


def balance(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw as many rows of each label as the rarest has, in each split by itself; the rows keep their order."""
    drawn: list[int] = []
    for split, rows in table.groupby(table["split"] if "split" in table else [""] * len(table)):
        size = int(rows["label"].value_counts().min())
        for label, alike in rows.groupby("label"):
            generator = stream(seed, "balance", str(split), str(label))
            drawn += generator.choice(alike.index.to_numpy(), size, replace=False).tolist()
    return table.loc[sorted(drawn)]
