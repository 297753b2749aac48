"""Train, validation and test splits: stratified by label, seeded, and without an example in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.ground.rng import stream_seed
from lowland.tasks.examples import TEST, TRAIN, VALIDATION, Split, TaskData, TaskFields
from lowland.tasks.labels import canonical_labels, case_remarks, joined_remarks, label_problems, rare_problems
from lowland.tasks.max_train import rows_left_out, surplus_remarks

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""Names of splits that a column may use, in any case; rows with another name are a further test set."""


@dataclass(frozen=True)
class Roles:
    """Meaning of the columns of a table of examples.

    Attributes:
        inputs: columns that the model reads; examples with equal inputs are copies of each other.
        label: the column with the label, by which splits are stratified; None for a task without classes.
        targets: further columns, which the model should predict.
        together: columns whose equal values must be in one split; None for `inputs`.
        copies: columns whose equal values may not be in two of the table's own splits; None for those of `together`.
        shown: the column that stands for an example in sentences; None for `inputs`.
        noun: what an example is, in sentences.
    """

    inputs: Sequence[str] = ("text",)
    label: str | None = "label"
    targets: Sequence[str] = ()
    together: Sequence[str] | None = None
    copies: Sequence[str] | None = None
    shown: str | None = None
    noun: str = "text"

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that a split keeps: inputs, label, and targets."""
        return (*self.inputs, *([self.label] if self.label else []), *self.targets)

    @property
    def unit(self) -> Sequence[str]:
        """The columns whose equal values must be in one split."""
        return self.inputs if self.together is None else self.together


def make_splits(
    table: pd.DataFrame, source: str, fields: TaskFields, *, roles: Roles | None = None
) -> TaskData:
    """Split a table of examples into train, validation and test.

    If the table has a column `split`, that column decides; if it names no validation set, one is taken from the
    training rows. Otherwise the shares in `fields` decide, stratified by label if there are labels, with the split seed
    alone.
    Duplicates (equal but for case, spaces and Unicode form) never cross a split: they are held out together, and where
    the table's own splits share an example, the copy in the earlier split is dropped. The order is train, validation,
    further test sets by name, test: a row of the test set is never dropped. Of the training rows, `max_train` are drawn
    at last, so that validation and test sets are those of the whole data.

    Args:
        table: the columns that `roles` names, and optionally split, group and category.
        source: where the table came from.
        fields: fields of the task, with shares and split seed.
        roles: what the columns mean; default: `text` is read, and `label` is predicted.

    Raises:
        Mistake: if the table or one of its cells is empty, there are fewer than two labels or implausibly many, a label
            has too few examples, the shares or `max_train` leave too few to train on, a split is missing, or a label of
            another split is not in train.
    """
    roles, dropped = roles or Roles(), 0
    remarks: list[str] = []
    cells = list(table.get(roles.label or "", ()))
    table = _clean(table, source, roles)
    seed, share = fields.split_seed, fields.validation_share
    if "split" in table.columns:
        named = table["split"].str.strip()
        table, dropped = _without_leaks(
            table.assign(split=named.str.casefold().map(SPLIT_NAMES).fillna(named)),
            roles.unit if roles.copies is None else roles.copies,
        )
        remarks = [*remarks, *_leak_remarks(dropped)]
        _check_splits(table, source, (TRAIN, TEST))
    else:
        table = _hold_out(table.assign(split=TRAIN), TEST, fields.test_share, seed, source, roles, least=5)
        share /= 1 - fields.test_share
        remarks += _share_remarks(table, fields.test_share, roles.unit)
    if VALIDATION not in set(table["split"]):
        table = _hold_out(table, VALIDATION, share, seed, source, roles, least=2)
    _check_splits(table, source, (TRAIN, VALIDATION, TEST))
    if roles.label and (problems := rare_problems(table["label"], source)):
        raise Mistake(*problems)
    if "group" not in table.columns:
        same = _same_example(table, roles.unit)
        table = table.assign(group=same.groupby(same).ngroup().astype(str))
    if fields.max_train is not None:
        train = int((table["split"] == TRAIN).sum())
        remarks += surplus_remarks(fields.max_train, train)
        table = table.drop(index=rows_left_out(table, fields.max_train, seed))
    if roles.label:
        copies = copy_remarks(table, roles.inputs, roles.shown)
        kept = [cells[row] for row in table.index]
        remarks = [*joined_remarks(kept), *case_remarks(table["label"]), *copies, *remarks]
    return TaskData(
        task=fields.name,
        source=source,
        splits={str(name): _split(rows, roles) for name, rows in table.groupby("split", sort=True)},
        sha256=_fingerprint(table, roles),
        label_names=tuple(sorted(set(table["label"]))) if roles.label else (),
        dropped=dropped,
        remarks=tuple(remarks),
    )


def _split(rows: pd.DataFrame, roles: Roles) -> Split:
    return Split(
        columns={name: tuple(rows[name]) for name in roles.kept},
        examples=rows.index.to_numpy(dtype=np.int64),
        groups=tuple(rows["group"]),
        categories=tuple(rows["category"]) if "category" in rows else ("",) * len(rows),
    )


def _clean(table: pd.DataFrame, source: str, roles: Roles) -> pd.DataFrame:
    """Return the table with text in every cell.

    Refuse empty cells; where there are labels, fewer than two, and more than a fifth of the rows.
    """
    if table.empty:
        raise Mistake(f"{source} holds no rows")
    for column in (*roles.inputs, *([roles.label] if roles.label else []), "split"):
        if column not in table.columns:
            continue
        blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if blank.any():
            row = int(np.flatnonzero(blank)[0]) + 1
            raise Mistake(
                f"{source} has {plural(int(blank.sum()), 'row')} without a {column}, the first is row {row};"
                " fill them in or remove them"
            )
    if roles.label:
        table = table.assign(label=canonical_labels(table["label"]))
    table = table.astype({name: str for name in table.columns}).reset_index(drop=True)
    if roles.label and (problems := label_problems(table["label"], source)):
        raise Mistake(*problems)
    return table


def copy_remarks(table: pd.DataFrame, inputs: Sequence[str], shown: str | None = None) -> list[str]:
    """Return a sentence on examples that occur more than once with different labels, if there are any."""
    labels = table["label"].groupby(_same_example(table, inputs))
    conflicts = labels.nunique()
    conflicts = conflicts[conflicts > 1]
    if conflicts.empty:
        return []
    rows = labels.size()[conflicts.index].sum()
    example = table.loc[_same_example(table, inputs) == conflicts.index[0]]
    text = " | ".join(example[name].iloc[0] for name in ((shown,) if shown else inputs))
    return [
        f"{plural(len(conflicts), 'example')} with different labels ({rows:,} rows), such as {text[:60]!r} with"
        f" {' and '.join(sorted(set(example['label'])))}; a model cannot learn both"
    ]


def _hold_out(
    table: pd.DataFrame, name: str, share: float, seed: int, source: str, roles: Roles, *, least: int
) -> pd.DataFrame:
    """Move a share of the training rows, stratified by label, to the split `name`; copies of an example go together."""
    from sklearn.model_selection import train_test_split

    rows = table[table["split"] == TRAIN]
    same = _same_example(rows, roles.unit)
    first = rows.assign(stratum=rows[roles.label] if roles.label else "").groupby(same)["stratum"].first()
    count = first.value_counts()
    if roles.label is None and len(first) < least:
        different = plural(len(first), f"different {' and '.join(roles.unit)}")
        raise Mistake(f"{source} has {different} to take '{name}' from; it needs at least {least}")
    few = [f"{label} has {plural(number, roles.noun)}" for label, number in count.items() if number < least]
    if few:
        raise Mistake(
            f"{source}: {', '.join(few)} to take '{name}' from, not counting copies; every label needs at least {least}"
        )
    size = max(round(share * len(first)), len(count))
    try:
        _, held = train_test_split(
            first.index.to_numpy(),
            test_size=size,
            stratify=first.to_numpy() if roles.label else None,
            random_state=stream_seed(seed, "split", name) % 2**32,
        )
    except ValueError:
        raise Mistake(
            f"{source}: taking {size} of {len(first)} different {roles.noun}s for '{name}' leaves too few of each label"
            f" to train on; give smaller shares than test_share and validation_share have now"
        ) from None
    chosen = same.index[same.isin(held)]
    return table.assign(split=table["split"].where(~table.index.isin(chosen), name))


def _share_remarks(table: pd.DataFrame, share: float, unit: Sequence[str]) -> list[str]:
    """Return a sentence if the test set is far from its share, because examples that belong together stay together."""
    same = _same_example(table, unit)
    in_test = table["split"] == TEST
    if abs(in_test.mean() - share) <= share / 2 or same.nunique() == len(table):
        return []
    largest = same.value_counts().iloc[0]
    return [
        f"the test set has {in_test.mean():.0%} of the examples, and test_share is {share:.0%}: examples with the same"
        f" {' and '.join(unit)} stay together, and one of these groups has {plural(int(largest), 'example')}"
    ]


def _same_example(table: pd.DataFrame, inputs: Sequence[str]) -> pd.Series:
    """Return a key for each row: rows whose inputs differ in case, spaces and Unicode form alone share it."""
    folded = [table[name].str.normalize("NFC").str.casefold().str.split().str.join(" ") for name in inputs]
    key = folded[0]
    for other in folded[1:]:
        key = key.str.cat(other, sep="\t")
    return key


def _without_leaks(table: pd.DataFrame, unit: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Drop each row whose like is in a later split, too; return the table and the number of dropped rows."""
    further = sorted(set(table["split"]) - {TRAIN, VALIDATION, TEST})
    order = {name: number for number, name in enumerate((TRAIN, VALIDATION, *further, TEST))}
    rank = table["split"].map(order)
    kept = rank == rank.groupby(_same_example(table, unit)).transform("max")
    return table[kept], int((~kept).sum())


def _leak_remarks(dropped: int) -> list[str]:
    """Return a sentence on rows that were dropped because a later split has them, too."""
    if not dropped:
        return []
    return [
        f"{plural(dropped, 'row')} of an earlier split occurred in a later one, too, and were left out of the earlier"
        " one: no model is tested on what it was trained on"
    ]


def _check_splits(table: pd.DataFrame, source: str, needed: tuple[str, ...]) -> None:
    labels_of = table["label"] if "label" in table.columns else pd.Series("", table.index)
    held = {str(name): set(labels) for name, labels in labels_of.groupby(table["split"])}
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


def _fingerprint(table: pd.DataFrame, roles: Roles) -> str:
    """Return SHA-256 of all that a run takes from the data, row by row."""
    digest = hashlib.sha256()
    names = ("split", "label", *roles.inputs, *roles.targets, "group", "category")
    columns = [name for name in names if name in table.columns]
    for row in table[columns].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()
