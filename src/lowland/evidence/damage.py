"""Effects of damage: replies that flip, the worst of several corruptions, accuracy by rate of damage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import Estimate, Resamples, estimate, means, percentiles
from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.stress_rows import Cell, ItemMeans, rates_of

TENTH = 0.1  # the unit of a slope: a rate of 10 %, in edits per character (per edge of a word for emoji)
MIN_RATES = 3  # least number of rates above 0 for a slope


@dataclass(frozen=True)
class Flips:
    """Answers that change between two cells, over all pairs of an epoch in `reference` and an epoch in `cell`.

    Attributes:
        cell: the damaged cell.
        reference: the undamaged cell.
        to_wrong: right in the reference, wrong in the cell.
        to_right: wrong in the reference, right in the cell.
        floor: right in one epoch of the reference and wrong in another one, the flips without any damage; NaN with one
            epoch. It is the same for flips to right.
    """

    cell: Cell
    reference: Cell
    to_wrong: Estimate
    to_right: Estimate
    floor: Estimate


@dataclass(frozen=True)
class WorstCase:
    """Share of items that are right under every condition of a level, within one epoch.

    Attributes:
        level: level of damage; "" for languages.
        protected: whether names and numbers were left unchanged.
        mitigation: name of the mitigation.
        conditions: the conditions that were taken together.
        all_right: share of items, averaged over their epochs.
        lowest: condition with the lowest accuracy.
        lowest_accuracy: accuracy of that condition.
        left_out: number of items' epochs that are left out, because a row failed or was not asked.
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
        protected: whether names and numbers were left unchanged.
        mitigation: name of the mitigation.
        rates: rising, shares of the characters; 0 is clean.
        accuracies: one for each rate.
        slope: change in accuracy for each further 10 % of damage.
    """

    condition: str
    protected: bool
    mitigation: str
    rates: tuple[float, ...]
    accuracies: tuple[Estimate, ...]
    slope: Estimate


def count_flips(
    drawn: Resamples,
    right: ItemMeans,
    undamaged: pd.DataFrame,
    items: list[str],
    cell: Cell,
    reference: Cell,
) -> Flips:
    """Estimate the share of answers that change between two cells.

    If an item is right in a share p of its epochs in the reference and q in the cell, ``p (1 - q)`` of all pairs of
    epochs flip to wrong and ``(1 - p) q`` to right. The floor is ``p (1 - p) n / (n - 1)``: the same over pairs of
    different epochs among the reference's n.

    Args:
        drawn: resamples of the items.
        right: for each cell, the share of scored epochs in which each item is right.
        undamaged: rows of the reference, as `prepare_rows` returns them.
        items: items in the order of the resamples' columns.
        cell: the damaged cell.
        reference: the undamaged cell.
    """
    before, after = right[reference], right[cell]
    n = undamaged.groupby("item")["right"].count().reindex(items, fill_value=0).to_numpy(np.float64)
    factor = np.divide(n, n - 1, out=np.full_like(n, np.nan), where=n > 1)
    return Flips(
        cell,
        reference,
        to_wrong=estimate(drawn, before * (1 - after)),
        to_right=estimate(drawn, (1 - before) * after),
        floor=estimate(drawn, before * (1 - before) * factor),
    )


def worst_cases(
    rows: pd.DataFrame, drawn: Resamples, right: ItemMeans, items: list[str], undamaged: str | None
) -> tuple[WorstCase, ...]:
    """Estimate the share of items that are right under all conditions of a level, protection and mitigation.

    Only levels with two conditions or more have a worst case.

    Args:
        rows: rows as `prepare_rows` returns them.
        drawn: resamples of the items.
        right: for each cell, the share of scored epochs in which each item is right.
        items: items in the order of the resamples' columns.
        undamaged: the condition that is left out; None takes all together (languages).
    """
    damaged = rows if undamaged is None else rows[rows["condition"] != undamaged]
    return tuple(
        _worst_case(block, Cell("", level, protected, mitigation), drawn, right, items)
        for (level, protected, mitigation), block in _by_level(damaged)
        if block["condition"].nunique() > 1
    )


def doses(rows: pd.DataFrame, drawn: Resamples, right: ItemMeans, undamaged: str) -> tuple[Dose, ...]:
    """Estimate accuracy by rate for each condition that was asked at `MIN_RATES` rates above 0 or more.

    The slope is that of least squares through the accuracies, with the clean one at rate 0 if it was asked. It is
    linear in them, so that its interval comes from the same resamples.

    Args:
        rows: rows as `prepare_rows` returns them.
        drawn: resamples of the items.
        right: for each cell, the share of scored epochs in which each item is right.
        undamaged: the clean condition.
    """
    rates = rates_of(rows)
    ladders = sorted({(cell.condition, cell.protected, cell.mitigation) for cell in rates})
    made = []
    for condition, protected, mitigation in sorted(ladders, key=lambda ladder: ladder[2] != "none"):
        steps = [
            cell
            for cell in sorted(rates, key=lambda cell: (rates[cell], cell.level))
            if (cell.condition, cell.protected, cell.mitigation) == (condition, protected, mitigation)
        ]
        if condition == undamaged or len({rates[cell] for cell in steps} - {0.0}) < MIN_RATES:
            continue
        clean = Cell(undamaged, "", False, mitigation)
        ladder = [*([clean] if clean in right else []), *steps]
        x = np.array([rates[cell] for cell in ladder])
        shares = np.stack([right[cell] for cell in ladder])
        accuracies = tuple(estimate(drawn, row) for row in shares)
        slope = _slope(drawn, x, shares)
        made.append(Dose(condition, protected, mitigation, tuple(x.tolist()), accuracies, slope))
    return tuple(made)


def _worst_case(
    rows: pd.DataFrame, place: Cell, drawn: Resamples, right: ItemMeans, items: list[str]
) -> WorstCase:
    """Estimate the worst case of the rows of one level, protection and mitigation."""
    conditions = sorted(rows["condition"].unique())
    cells = [Cell(name, place.level, place.protected, place.mitigation) for name in conditions]
    accuracy = {cell.condition: estimate(drawn, right[cell]).value for cell in cells}
    lowest = min(accuracy, key=lambda name: (np.nan_to_num(accuracy[name], nan=2.0), name))
    by_condition = rows.pivot_table(
        index=["item", "epoch"], columns="condition", values="right", aggfunc="min", dropna=False
    )
    complete = by_condition.dropna()
    all_right = complete.min(axis=1).groupby("item").mean().reindex(items).to_numpy(np.float64)
    epochs = len(rows[["item", "epoch"]].drop_duplicates())
    return WorstCase(
        place.level,
        place.protected,
        place.mitigation,
        tuple(conditions),
        estimate(drawn, all_right),
        lowest,
        accuracy[lowest],
        left_out=epochs - len(complete),
    )


def _by_level(damaged: pd.DataFrame) -> list[tuple[tuple[str, bool, str], pd.DataFrame]]:
    """Return the rows of each level, protection and mitigation: no mitigation first, then by rate."""
    blocks = [
        ((str(level), bool(protected), str(mitigation)), block)
        for (level, protected, mitigation), block in damaged.groupby(["level", "protected", "mitigation"])
    ]

    def place(entry: tuple[tuple[str, bool, str], pd.DataFrame]) -> tuple[object, ...]:
        (level, protected, mitigation), block = entry
        return mitigation != "none", mitigation, block["rate"].min(), level, protected

    return sorted(blocks, key=place)


def _slope(drawn: Resamples, rates: Floats, shares: Floats) -> Estimate:
    """Estimate the slope for a `TENTH` from shares (C, G) at C rates."""
    centred = rates - rates.mean()
    weights = TENTH * centred / (centred**2).sum()  # (C,)
    value = float(
        weights @ [row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in shares]
    )
    low, high = percentiles(drawn, means(drawn, shares) @ weights)
    return Estimate(value, low, high, int(np.isfinite(shares).any(axis=0).sum()))
