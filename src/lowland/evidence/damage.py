"""How damage does harm: answers that flip, the worst of several corruptions, accuracy by rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lowland.evidence.cells import Cell, Table, rates_of
from lowland.evidence.core.by_item import Estimate, Resamples, estimate, means, percentiles
from lowland.evidence.core.metrics import Floats

TENTH = 0.1  # a dose's slope is told for this share of the characters
LADDER = 3  # rates above 0 that make a dose-response


@dataclass(frozen=True)
class Flips:
    """Answers that change, over all pairs of an epoch in `against` and an epoch in `cell`.

    Attributes:
        cell: the damaged.
        against: the undamaged.
        to_wrong: right there, wrong here.
        to_right: wrong there, right here.
        floor: right in one epoch of `against`, wrong in another one: what flips without any damage; NaN
            with one epoch. The same for flips to right.
    """

    cell: Cell
    against: Cell
    to_wrong: Estimate
    to_right: Estimate
    floor: Estimate


@dataclass(frozen=True)
class WorstCase:
    """Items that are right under every condition of a level, within one epoch.

    Attributes:
        level: of damage; "" for languages.
        protected: names and numbers left whole.
        mitigation: its name.
        conditions: all that were held together.
        all_right: share of items, averaged over their epochs.
        lowest: the condition with the least accuracy.
        lowest_accuracy: its accuracy.
        left_out: items' epochs in which a row failed or was not asked; they tell nothing here.
    """

    level: str
    protected: bool
    mitigation: str
    conditions: tuple[str, ...]
    all_right: Estimate
    lowest: str
    lowest_accuracy: float
    left_out: int


@dataclass(frozen=True)
class Dose:
    """Accuracy by rate of damage, and the slope of a straight line through it.

    Attributes:
        condition: the corruption.
        protected: names and numbers left whole.
        mitigation: its name.
        rates: rising, shares of the characters; 0 is clean.
        accuracies: one a rate.
        slope: change in accuracy for each further tenth of the characters.
    """

    condition: str
    protected: bool
    mitigation: str
    rates: tuple[float, ...]
    accuracies: tuple[Estimate, ...]
    slope: Estimate


def flips(
    drawn: Resamples, right: Table, undamaged: pd.DataFrame, items: list[str], cell: Cell, against: Cell
) -> Flips:
    """Answers that change between two cells.

    Of an item that is right in a share p of its epochs there and q here, ``p (1 - q)`` of all pairs of
    epochs flip to wrong and ``(1 - p) q`` to right. The floor is ``p (1 - p) n / (n - 1)``, the same over
    pairs of different epochs of the n there.

    Args:
        drawn: resamples of the items.
        right: for each cell, the share of scored epochs in which each item is right.
        undamaged: the rows of `against`, as `checked` gives them.
        items: in the order of the resamples' columns.
        cell: the damaged.
        against: the undamaged.
    """
    there, here = right[against], right[cell]
    n = undamaged.groupby("item")["right"].count().reindex(items, fill_value=0).to_numpy(np.float64)
    more = np.divide(n, n - 1, out=np.full_like(n, np.nan), where=n > 1)
    return Flips(
        cell,
        against,
        to_wrong=estimate(drawn, there * (1 - here)),
        to_right=estimate(drawn, (1 - there) * here),
        floor=estimate(drawn, there * (1 - there) * more),
    )


def worst_cases(
    rows: pd.DataFrame, drawn: Resamples, right: Table, items: list[str], undamaged: str | None
) -> tuple[WorstCase, ...]:
    """For each level, protection and mitigation with two conditions or more: is an item right under all?

    Args:
        rows: as `checked` gives them.
        drawn: resamples of the items.
        right: for each cell one share an item.
        items: in the order of the resamples' columns.
        undamaged: the condition that is left out; None holds all together (languages).
    """
    damaged = rows if undamaged is None else rows[rows["condition"] != undamaged]
    found = []
    for (level, protected, mitigation), block in _by_level(damaged):
        conditions = sorted(block["condition"].unique())
        if len(conditions) < 2:
            continue
        cells = [Cell(one, str(level), bool(protected), str(mitigation)) for one in conditions]
        accuracy = {cell.condition: estimate(drawn, right[cell]).value for cell in cells}
        lowest = min(accuracy, key=lambda name: (np.nan_to_num(accuracy[name], nan=2.0), name))
        wide = block.pivot_table(
            index=["item", "epoch"], columns="condition", values="right", aggfunc="min", dropna=False
        )
        whole = wide.dropna()
        every = whole.min(axis=1).groupby("item").mean().reindex(items).to_numpy(np.float64)
        pairs = len(block[["item", "epoch"]].drop_duplicates())
        found.append(
            WorstCase(
                str(level),
                bool(protected),
                str(mitigation),
                tuple(conditions),
                estimate(drawn, every),
                lowest,
                accuracy[lowest],
                left_out=pairs - len(whole),
            )
        )
    return tuple(found)


def doses(rows: pd.DataFrame, drawn: Resamples, right: Table, undamaged: str) -> tuple[Dose, ...]:
    """Accuracy by rate for each condition that was asked at `LADDER` rates above 0 or more.

    The slope is that of least squares through the accuracies, the clean one at rate 0 included where it
    was asked; it is linear in them, so that its interval comes from the same resamples.
    """
    rates = rates_of(rows)
    found = []
    ladders = sorted({(c.condition, c.protected, c.mitigation) for c in rates})
    for condition, protected, mitigation in sorted(ladders, key=lambda one: one[2] != "none"):
        mine = [
            c for c in rates if (c.condition, c.protected, c.mitigation) == (condition, protected, mitigation)
        ]
        steps = sorted(mine, key=lambda cell: (rates[cell], cell.level))
        if condition == undamaged or len({rates[c] for c in steps} - {0.0}) < LADDER:
            continue
        clean = Cell(undamaged, "", False, mitigation)
        ladder = [*([clean] if clean in right else []), *steps]
        x = np.array([rates[cell] for cell in ladder])
        shares = np.stack([right[cell] for cell in ladder])
        told = tuple(estimate(drawn, row) for row in shares)
        found.append(
            Dose(condition, protected, mitigation, tuple(x.tolist()), told, _slope(drawn, x, shares))
        )
    return tuple(found)


def _by_level(damaged: pd.DataFrame) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    """Rows of each level, protection and mitigation: no mitigation first, then by rate."""

    def place(one: tuple[tuple[object, ...], pd.DataFrame]) -> tuple[Any, ...]:
        (level, protected, mitigation), block = one
        return mitigation != "none", mitigation, block["rate"].min(), level, protected

    return sorted(list(damaged.groupby(["level", "protected", "mitigation"])), key=place)


def _slope(drawn: Resamples, rates: Floats, shares: Floats) -> Estimate:
    """The slope for `TENTH`, from shares (C, G)."""
    centred = rates - rates.mean()
    weights = TENTH * centred / (centred**2).sum()  # (C,)
    value = float(
        weights @ [row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in shares]
    )
    low, high = percentiles(drawn, means(drawn, shares) @ weights)
    return Estimate(value, low, high, int(np.isfinite(shares).any(axis=0).sum()))
