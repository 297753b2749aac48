"""Texts that models were not tuned on, with or without labels, read from a user's file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.deploy.forgetting.settings import ColumnsOfTexts
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.rng import stream
from lowland.tasks.labels import canonical_labels, label_problems
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.tables import pick_columns

FOLDS = 5
"""Number of folds of a probe's cross-validation."""
LABEL = "label"
"""The usual name of the column with the labels."""


@dataclass(frozen=True)
class OtherTexts:
    """Texts of another task than that of the runs.

    Attributes:
        source: the file.
        texts: the n texts, each once.
        examples: n row numbers in the file, from 0 on.
        labels: n labels; None if the file has none.
    """

    source: Path
    texts: tuple[str, ...]
    examples: tuple[int, ...]
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def majority(self) -> float | None:
        """Share of the texts that have the most frequent label; None without labels."""
        return None if self.labels is None else max(Counter(self.labels).values()) / len(self)


def read_other_texts(
    path: Path, columns: ColumnsOfTexts, remark: Callable[[str], None] | None = None
) -> OtherTexts:
    """Read the texts of a file, and their labels if there are any. Of equal texts only the first is kept.

    Args:
        path: the file.
        columns: names of its columns, and how many texts to use.
        remark: function that is called with a sentence if texts are left out.

    Raises:
        Mistake: if the file cannot be read, a column is missing, cells hold no text, there are fewer than two texts, or
            the labels are not enough for a probe.
    """
    header = not columns.no_header
    raw = read_form(path, separator=columns.separator, header=header)
    label = columns.label_column or (LABEL if LABEL in raw.rows.columns else None)
    table = pick_columns(raw, {"text": columns.text_column, "label": label}, header=header)
    table = table.reset_index(drop=True)
    if label is not None:
        table["label"] = canonical_labels(table["label"])
    different = table.drop_duplicates("text")
    if len(different) < len(table) and remark is not None:
        copies = len(table) - len(different)
        verbs = ("repeats", "is") if copies == 1 else ("repeat", "are")
        remark(f"{plural(copies, 'row')} of {path} {verbs[0]} an earlier text, and {verbs[1]} left out")
    chosen = _drawn(different, columns.limit)
    labels = None if label is None else tuple(chosen["label"])
    if problems := _problems(path, chosen, labels):
        raise Mistake(*problems)
    return OtherTexts(path, tuple(chosen["text"]), tuple(map(int, chosen.index)), labels)


def _drawn(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Return at most `limit` rows, drawn at random, in their order."""
    if limit is None or len(table) <= limit:
        return table
    rows = stream(0, "retention", "texts").permutation(len(table))[:limit]
    return table.iloc[np.sort(rows)]


def _problems(path: Path, table: pd.DataFrame, labels: Sequence[str] | None) -> list[str]:
    """Return why texts cannot be used, in sentences."""
    if len(table) < 2:
        return [f"{path} holds {plural(len(table), 'different text')}; at least two are needed"]
    if labels is None:
        return []
    problems = label_problems(labels, str(path))
    rare = {name: count for name, count in Counter(labels).items() if count < FOLDS}
    if not problems and rare:
        counts = ", ".join(f"{name!r} {count}" for name, count in list(rare.items())[:3])
        problems.append(
            f"{path}: a probe needs {FOLDS} different texts of each label, and some have fewer ({counts}"
            f"{', …' if len(rare) > 3 else ''}); leave these labels out, or use more texts"
        )
    return problems
