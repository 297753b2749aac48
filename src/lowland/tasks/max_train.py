"""`max_train`: a part of the training examples, drawn at random, in which each label keeps its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.ground.rng import stream
from lowland.tasks.examples import TRAIN


def rows_left_out(table: pd.DataFrame, number: int, seed: int) -> list[int]:
    """Return the training rows that are not among `number` drawn ones; labels keep their shares, and a row at least.

    Raises:
        Mistake: if the number is below that of the labels.
    """
    rows = table[table["split"] == TRAIN]
    rows = rows if "label" in rows else rows.assign(label="")
    counts = Counter(rows["label"])
    if number < len(counts):
        raise Mistake(
            f"max_train is {number}, and the training examples have {len(counts)} labels; each needs an example,"
            f" so give at least {len(counts)}"
        )
    if number >= len(rows):
        return []
    sizes = _divided(number, counts)
    left: list[int] = []
    for label, alike in rows.groupby("label"):
        order = stream(seed, "split", "max_train", str(label)).permutation(alike.index.to_numpy())
        left += order[sizes[str(label)] :].tolist()
    return left


def _divided(number: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Return each label's part of a number, by its count (largest remainder), and at least 1."""
    share = {label: number * count / sum(counts.values()) for label, count in counts.items()}
    sizes = {label: max(1, int(value)) for label, value in share.items()}
    while rest := number - sum(sizes.values()):
        step = 1 if rest > 0 else -1
        label = max(
            (label for label in sorted(sizes) if sizes[label] + step >= 1),
            key=lambda label: step * (share[label] - sizes[label]),
        )
        sizes[label] += step
    return sizes


def surplus_remarks(number: int, train: int) -> list[str]:
    """Return a sentence if more training examples are asked for than there are."""
    if number <= train:
        return []
    return [f"max_train is {number:,}, and there are {plural(train, 'training example')}, which are all used"]
