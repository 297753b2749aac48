"""Text classification: texts with labels, their splits, and the scores of an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from lowland.mistakes import Mistake
from lowland.rng import stream_seed

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Split:
    """Some texts of a task, aligned.

    Attributes:
        texts: n of them.
        labels: (n,) indices into the task's label names.
        examples: (n,) row numbers in the source: the same example has the same number in every run.
        groups: n of them; examples of one group are alike (copies, or made from one template), and so no
            independent evidence.
        categories: n of them; empty strings where the data has none.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    examples: np.ndarray
    groups: tuple[str, ...]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """A task's data.

    Attributes:
        task: its name.
        source: where it came from.
        label_names: sorted; labels are indices into them.
        splits: "train", "validation", "test", and further test sets by their names.
        sha256: of all texts, labels and splits, in order: equal data has equal hashes.
        dropped: rows left out because a later split holds the same text.
    """

    task: str
    source: str
    label_names: tuple[str, ...]
    splits: Mapping[str, Split]
    sha256: str
    dropped: int = 0

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The splits that are for the last evaluation alone, "test" first."""
        return (TEST, *sorted(self.splits.keys() - {TRAIN, VALIDATION, TEST}))

    def describe(self) -> dict[str, Any]:
        """What a record says of the data."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "labels": list(self.label_names),
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "dropped_duplicates": self.dropped,
        }


def make_splits(task: str, table: pd.DataFrame, source: str, data: Mapping[str, Any]) -> TextData:
    """Split a table into train, validation and test.

    Where the table has a column `split`, that says which row is where; if it names no validation set, one is taken
    from the training rows. Else the recipe's shares say how many, stratified by label, by the split seed alone.
    Duplicates of a text (but for case and spaces) never cross a split: they are held out together, and where the
    table's own splits share a text, the copy in the earlier one is dropped (train before validation before test).

    Args:
        task: its name.
        table: columns text, label, and perhaps split, group and category.
        source: where it came from.
        data: the task's fields of the recipe.

    Raises:
        Mistake: naming what is wrong with the table.
    """
    table = _clean(table, source)
    seed, validation_share = data["split_seed"], data["validation_share"]
    if "split" not in table.columns:
        table = _hold_out(table.assign(split=TRAIN), TEST, data["test_share"], seed, source)
        validation_share /= 1 - data["test_share"]
    table["split"] = table["split"].replace({"dev": VALIDATION, "valid": VALIDATION})
    if VALIDATION not in set(table["split"]):
        table = _hold_out(table, VALIDATION, validation_share, seed, source)
    table, dropped = _without_leaks(table)
    _check_splits(table, source)
    if "group" not in table.columns:
        table["group"] = _alike(table["text"]).groupby(_alike(table["text"])).ngroup().astype(str)
    label_names = tuple(sorted(set(table["label"])))
    index = {name: number for number, name in enumerate(label_names)}
    splits = {
        str(name): Split(
            texts=tuple(rows["text"]),
            labels=rows["label"].map(index).to_numpy(dtype=np.int64),
            examples=rows.index.to_numpy(dtype=np.int64),
            groups=tuple(rows["group"]),
            categories=tuple(rows["category"]) if "category" in rows else ("",) * len(rows),
        )
        for name, rows in table.groupby("split", sort=True)
    }
    return TextData(task, source, label_names, splits, _fingerprint(table), dropped)


def score(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1 and weighted F1, each in [0, 1]; a class that is never predicted has F1 0."""
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
    }


def _clean(table: pd.DataFrame, source: str) -> pd.DataFrame:
    if table.empty:
        raise Mistake(f"{source} holds no rows")
    for column in ("text", "label"):
        blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if blank.any():
            row = int(np.flatnonzero(blank)[0]) + 1
            raise Mistake(
                f"{source} has {int(blank.sum())} rows without a {column}, the first is row {row};"
                " fill them in or remove them"
            )
    table = table.astype({name: str for name in table.columns}).reset_index(drop=True)
    if table["label"].nunique() < 2:
        raise Mistake(
            f"{source} has one label only, {table['label'].iloc[0]!r}; a classifier needs at least two"
        )
    if table["label"].nunique() > max(2, len(table) // 3):
        raise Mistake(
            f"{source} has {table['label'].nunique()} labels in {len(table)} rows;"
            " is the label column the right one?"
        )
    return table


def _hold_out(table: pd.DataFrame, name: str, share: float, seed: int, source: str) -> pd.DataFrame:
    """Move a stratified share of the training rows to the split `name`; copies of a text go together."""
    rows = table[table["split"] == TRAIN]
    alike = _alike(rows["text"])
    first = rows.groupby(alike)["label"].first()
    count = first.value_counts()
    few = [f"{label} has {number}" for label, number in count.items() if number < 4]
    if few:
        raise Mistake(
            f"{source}: {', '.join(few)} different texts; at least 4 a label are needed to split them into"
            " train, validation and test"
        )
    size = max(round(share * len(first)), len(count))
    _, held = train_test_split(
        first.index.to_numpy(),
        test_size=size,
        stratify=first.to_numpy(),
        random_state=stream_seed(seed, "split", name) % 2**32,
    )
    chosen = alike.index[alike.isin(held)]
    return table.assign(split=table["split"].where(~table.index.isin(chosen), name))


def _alike(texts: pd.Series) -> pd.Series:
    """What counts as the same text: case and spaces aside."""
    return texts.str.casefold().str.split().str.join(" ")


def _without_leaks(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Drop training rows whose text stands in another split, and validation rows whose text stands in a test set."""
    rank = table["split"].map({TRAIN: 0, VALIDATION: 1}).fillna(2)
    kept = rank == rank.groupby(_alike(table["text"])).transform("max")
    return table[kept], int((~kept).sum())


def _check_splits(table: pd.DataFrame, source: str) -> None:
    held = {str(name): set(rows["label"]) for name, rows in table.groupby("split")}
    problems = [
        f"{source} has no rows for the split '{name}'; its splits are {', '.join(held)}"
        for name in (TRAIN, TEST)
        if name not in held
    ]
    for name, labels in held.items():
        unseen = sorted(labels - held.get(TRAIN, labels))
        problems += [
            f"{source}: label '{label!s}' is in the split '{name}', but not in 'train';"
            " a label must be trained on before it can be tested"
            for label in unseen
        ]
    if problems:
        raise Mistake(*problems)


def _fingerprint(table: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in table[["split", "label", "text"]].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()
