"""Train, validation and test: stratified, by a seed of their own, and no text on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.tasks.classification import TEST, TRAIN, VALIDATION, Split, TextData

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""What a column of splits may call them, in any case; rows of another name are a further test set."""


def make_splits(task: str, table: pd.DataFrame, source: str, data: Mapping[str, Any]) -> TextData:
    """Split a table into train, validation and test.

    Where the table has a column `split`, that says which row is where; if it names no validation set, one is taken
    from the training rows. Else the recipe's shares say how many, stratified by label, by the split seed alone.
    Duplicates of a text (but for case and spaces) never cross a split: they are held out together, and where the
    table's own splits share a text, the copy in the earlier one is dropped (train before validation before test
    before further test sets, by name).

    Args:
        task: its name.
        table: columns text, label, and perhaps split, group and category.
        source: where it came from.
        data: the task's fields of the recipe.

    Raises:
        Mistake: naming what is wrong with the table.
    """
    table, dropped = _clean(table, source), 0
    seed, share = data["split_seed"], data["validation_share"]
    if "split" in table.columns:
        named = table["split"].str.strip()
        table, dropped = _without_leaks(
            table.assign(split=named.str.casefold().map(SPLIT_NAMES).fillna(named))
        )
        _check_splits(table, source, (TRAIN, TEST))
    else:
        table = _hold_out(table.assign(split=TRAIN), TEST, data["test_share"], seed, source, least=5)
        share /= 1 - data["test_share"]
    if VALIDATION not in set(table["split"]):
        table = _hold_out(table, VALIDATION, share, seed, source, least=2)
    _check_splits(table, source, (TRAIN, VALIDATION, TEST))
    if "group" not in table.columns:
        alike = _alike(table["text"])
        table = table.assign(group=alike.groupby(alike).ngroup().astype(str))
    label_names = tuple(sorted(set(table["label"])))
    splits = {str(name): _split(rows, label_names) for name, rows in table.groupby("split", sort=True)}
    return TextData(task, source, label_names, splits, _fingerprint(table), dropped)


def _split(rows: pd.DataFrame, label_names: tuple[str, ...]) -> Split:
    index = {name: number for number, name in enumerate(label_names)}
    return Split(
        texts=tuple(rows["text"]),
        labels=rows["label"].map(index).to_numpy(dtype=np.int64),
        examples=rows.index.to_numpy(dtype=np.int64),
        groups=tuple(rows["group"]),
        categories=tuple(rows["category"]) if "category" in rows else ("",) * len(rows),
    )


def _clean(table: pd.DataFrame, source: str) -> pd.DataFrame:
    if table.empty:
        raise Mistake(f"{source} holds no rows")
    for column in ("text", "label", "split"):
        if column not in table.columns:
            continue
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
            f"{source} has {table['label'].nunique()} labels in {len(table)} rows; is the label column the right one?"
        )
    return table


def _hold_out(
    table: pd.DataFrame, name: str, share: float, seed: int, source: str, *, least: int
) -> pd.DataFrame:
    """Move a stratified share of the training rows to the split `name`; copies of a text go together."""
    rows = table[table["split"] == TRAIN]
    alike = _alike(rows["text"])
    first = rows.groupby(alike)["label"].first()
    count = first.value_counts()
    few = [f"{label} has {number}" for label, number in count.items() if number < least]
    if few:
        raise Mistake(
            f"{source}: {', '.join(few)} different texts to take '{name}' from; at least {least} a label are needed"
        )
    size = max(round(share * len(first)), len(count))
    try:
        _, held = train_test_split(
            first.index.to_numpy(),
            test_size=size,
            stratify=first.to_numpy(),
            random_state=stream_seed(seed, "split", name) % 2**32,
        )
    except ValueError:
        raise Mistake(
            f"{source}: taking {size} of {len(first)} different texts for '{name}' leaves too few of each label to"
            f" train on; give smaller shares than test_share and validation_share have now"
        ) from None
    chosen = alike.index[alike.isin(held)]
    return table.assign(split=table["split"].where(~table.index.isin(chosen), name))


def _alike(texts: pd.Series) -> pd.Series:
    """What counts as the same text: case and spaces aside."""
    return texts.str.casefold().str.split().str.join(" ")


def _without_leaks(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Drop each row whose text stands in a later split, too."""
    further = sorted(set(table["split"]) - {TRAIN, VALIDATION, TEST})
    order = {name: number for number, name in enumerate((TRAIN, VALIDATION, *further, TEST))}
    rank = table["split"].map(order)
    kept = rank == rank.groupby(_alike(table["text"])).transform("max")
    return table[kept], int((~kept).sum())


def _check_splits(table: pd.DataFrame, source: str, needed: tuple[str, ...]) -> None:
    held = {str(name): set(rows["label"]) for name, rows in table.groupby("split")}
    problems = [
        f"{source} has no rows of its own for the split '{name}'; its splits are {', '.join(held)}"
        for name in needed
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
    """SHA-256 of all that a run takes from the data, row by row."""
    digest = hashlib.sha256()
    columns = [name for name in ("split", "label", "text", "group", "category") if name in table.columns]
    for row in table[columns].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()
