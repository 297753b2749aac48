"""Evidence of fine-tuned methods on damaged texts: which method loses less, paired by seed and test example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.metrics import Floats
from lowland.evidence.core.spread import Spread
from lowland.evidence.readers.adapter_rows import CLEAN, AdapterScores, read_adapter_scores
from lowland.evidence.readers.stress_rows import Cell, rates_of
from lowland.evidence.study import reference_of
from lowland.ground.mistakes import Mistake


@dataclass(frozen=True)
class AdapterScore:
    """Accuracy of one method in one cell.

    Attributes:
        method: label of the method.
        cell: the corruption.
        rate: damage, as a share of the characters.
        seeds: number of seeds.
        accuracy: mean and standard deviation over seeds.
        drop: accuracy minus the clean one of the same seeds; None for the clean cell itself.
    """

    method: str
    cell: Cell
    rate: float
    seeds: int
    accuracy: Spread
    drop: PairedInterval | None


@dataclass(frozen=True)
class AdapterDifference:
    """Difference of a method from the reference.

    Attributes:
        method: label of the method.
        reference: label of the reference.
        quantity: "accuracy"; or "drop difference", the difference between what the two methods lose from clean to
            damaged, above 0 if the method loses less.
        cells: the corruptions that the difference is over; all of a level if there are several.
        interval: interval of the difference, over seeds and examples.
        p: two-sided p-value of the interval.
        p_holm: p-value after Holm's correction over all differences of the same table.
        identical: whether both methods have the same predictions (or scores) for every text and seed of the comparison.
        compared: "predictions" or "scores": what `identical` speaks of.
    """

    method: str
    reference: str
    quantity: str
    cells: tuple[Cell, ...]
    interval: PairedInterval
    p: float
    p_holm: float
    identical: bool
    compared: str


@dataclass(frozen=True)
class AdapterEvidence:
    """Evidence of several methods' runs on the same test texts.

    Attributes:
        reference: the method that the others are compared with.
        seeds: seeds of all methods.
        examples: number of test texts.
        groups: number of groups into which they fall.
        scores: scores by method and cell, the clean cell first.
        accuracy: each method minus the reference, by cell.
        drop_difference: the difference in what is lost from clean to damaged, by cell.
        overall: `drop_difference` over all corruptions of a level at once.
    """

    reference: str
    seeds: tuple[int, ...]
    examples: int
    groups: int
    scores: tuple[AdapterScore, ...]
    accuracy: tuple[AdapterDifference, ...]
    drop_difference: tuple[AdapterDifference, ...]
    overall: tuple[AdapterDifference, ...]


@dataclass(frozen=True)
class _Comparison:
    """Comparisons with one reference, with the settings of the intervals."""

    answers: AdapterScores
    reference: str
    level: float

    def score(self, method: str, cell: Cell, rate: float) -> AdapterScore:
        """Compute mean, standard deviation and drop of a method in a cell."""
        by_seed = self.answers.scores[method, cell].mean()
        sd = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
        drop = None
        if cell.condition != CLEAN:
            clean = self.answers.clean_cell(method, cell)
            drop = self.interval(*self.answers.pair((method, cell), (method, clean)))
        return AdapterScore(method, cell, rate, len(by_seed), Spread(float(by_seed.mean()), sd), drop)

    def accuracy(self, method: str, cell: Cell) -> AdapterDifference:
        """Compare the method's accuracy in a cell with the reference's."""
        interval = self.interval(*self.answers.pair((method, cell), (self.reference, cell)))
        return self.difference(method, "accuracy", (cell,), interval)

    def drop_difference(self, method: str, cells: tuple[Cell, ...]) -> AdapterDifference:
        """Compare what the method and the reference lose from clean to damaged, over all cells at once.

        With m and r the scores of method and reference on a text, damaged (d) and clean (c),
        ``(m_d - m_c) - (r_d - r_c) = (m_d + r_c) - (r_d + m_c)``: the difference of two stacked answer sheets, of twice
        the mean. All sheets of a text stay in its group, so that they count as one.
        """
        ours, theirs = [], []
        for cell in cells:
            m_d, r_d = self.answers.pair((method, cell), (self.reference, cell))
            m_c, r_c = self.answers.pair(
                (method, self.answers.clean_cell(method, cell)),
                (self.reference, self.answers.clean_cell(self.reference, cell)),
            )
            ours += [m_d, r_c]
            theirs += [r_d, m_c]
        half = self.interval(np.hstack(ours), np.hstack(theirs), sheets=2 * len(cells))
        return self.difference(method, "drop difference", cells, _doubled(half))

    def interval(self, ours: Floats, theirs: Floats, sheets: int = 1) -> PairedInterval:
        """Return the paired interval of scores (S, sheets * N)."""
        groups = self.answers.groups * sheets
        return paired_interval(ours, theirs, groups=groups, level=self.level)

    def difference(
        self, method: str, quantity: str, cells: tuple[Cell, ...], interval: PairedInterval
    ) -> AdapterDifference:
        """Add the p-value to an interval, and whether the predictions differ at all."""
        involved = set(cells)
        if quantity == "drop difference":
            involved |= {self.answers.clean_cell(method, cell) for cell in cells}
        identical = all(self.answers.agree((method, cell), (self.reference, cell)) for cell in involved)
        return AdapterDifference(
            method,
            self.reference,
            quantity,
            cells,
            interval,
            interval.p,
            interval.p,
            identical,
            self.answers.compared,
        )


def adapter_evidence(
    rows: pd.DataFrame, *, reference: str | None = None, level: float = 0.95
) -> AdapterEvidence:
    """Compute all numbers of several methods' runs on the same test texts.

    Args:
        rows: rows of one task and test set, with `seed` and `group`.
        reference: a method; None takes LoRA if it took part, else the first by name.
        level: level of the intervals, 0 to 1.

    Raises:
        Mistake: if columns or clean rows are missing, a run answered a text twice, runs were asked different texts or
            share no seed with the reference, the reference is unknown, all texts are in one group, or `level`
            is out of its range.
    """
    answers = read_adapter_scores(rows)
    methods = sorted(rows["model"].unique())
    chosen = reference if reference is not None else reference_of(methods)
    if chosen not in methods:
        raise Mistake(f"no run is of the method '{chosen}'; expected one of {', '.join(methods)}")
    compare = _Comparison(answers, chosen, level)
    rates = rates_of(rows)
    cells = sorted(
        rates, key=lambda c: (c.condition != CLEAN, c.mitigation, c.condition, rates[c], c.protected)
    )
    others = [name for name in methods if name != chosen]
    damaged = [cell for cell in cells if cell.condition != CLEAN]
    return AdapterEvidence(
        reference=chosen,
        seeds=tuple(sorted(int(seed) for seed in rows["seed"].unique())),
        examples=len(answers.groups),
        groups=len(set(answers.groups)),
        scores=tuple(
            compare.score(name, cell, rates[cell])
            for name in methods
            for cell in cells
            if (name, cell) in answers.scores
        ),
        accuracy=_corrected([compare.accuracy(name, cell) for name in others for cell in cells]),
        drop_difference=_corrected(
            [compare.drop_difference(name, (cell,)) for name in others for cell in damaged]
        ),
        overall=_corrected(
            [compare.drop_difference(name, cells) for name in others for cells in _levels(damaged)]
        ),
    )


def _levels(damaged: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Return the cells of each level, protection and mitigation."""
    levels: dict[tuple[str, bool, str], list[Cell]] = {}
    for cell in damaged:
        levels.setdefault((cell.level, cell.protected, cell.mitigation), []).append(cell)
    return [tuple(cells) for cells in levels.values()]


def _doubled(interval: PairedInterval) -> PairedInterval:
    return replace(
        interval,
        difference=2 * interval.difference,
        low=2 * interval.low,
        high=2 * interval.high,
        per_seed=tuple(2 * difference for difference in interval.per_seed),
        standard_error=2 * interval.standard_error,
    )


def _corrected(differences: Sequence[AdapterDifference]) -> tuple[AdapterDifference, ...]:
    """Return the differences with Holm's correction over all of them."""
    corrected = holm([difference.p for difference in differences])
    return tuple(replace(difference, p_holm=p) for difference, p in zip(differences, corrected, strict=True))
