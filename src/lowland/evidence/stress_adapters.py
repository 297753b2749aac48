"""Do fine-tuned methods hold up on damaged texts? Paired by seed and test example.

Rows are those of a stress test (`lowland.ground.records.ROW_COLUMNS`) with the columns `seed` and `group`; the
model is the method, the item a test example, the score whether its label was right.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from lowland.evidence.cells import CELL, Cell, cell_of, check_columns, rates_of
from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.metrics import Ints
from lowland.evidence.study import Spread, reference_of
from lowland.ground.mistakes import Mistake

CLEAN = "clean"


@dataclass(frozen=True)
class AdapterScore:
    """One method in one cell.

    Attributes:
        method: its name.
        cell: the corruption.
        rate: of damage, as a share of the characters.
        seeds: how many.
        accuracy: mean and standard deviation over seeds.
        drop: accuracy minus the clean one of the same seeds; None for the clean one itself.
    """

    method: str
    cell: Cell
    rate: float
    seeds: int
    accuracy: Spread
    drop: PairedInterval | None


@dataclass(frozen=True)
class AdapterDifference:
    """A method against the reference.

    Attributes:
        method: its name.
        reference: what it is held against.
        what: "accuracy", the difference in accuracy; or "holding up", the difference between what the two
            methods lose from clean to damaged: above 0 where the method loses less.
        cells: the corruptions it speaks of; all of a level where there are several.
        interval: of the difference, over seeds and examples.
        p: two-sided, by Student's t with the interval's standard error and degrees of freedom.
        p_holm: corrected over all differences of the same table.
    """

    method: str
    reference: str
    what: str
    cells: tuple[Cell, ...]
    interval: PairedInterval
    p: float
    p_holm: float


@dataclass(frozen=True)
class AdapterEvidence:
    """All that the rows of one set of runs show.

    Attributes:
        reference: the method that the others are held against.
        seeds: of all methods.
        examples: number of test texts.
        groups: into which they fall.
        scores: by method and cell, the clean first.
        accuracy: each method minus the reference, by cell.
        holding_up: the same for what is lost from clean to damaged.
        overall: `holding_up` over all corruptions of a level at once.
    """

    reference: str
    seeds: tuple[int, ...]
    examples: int
    groups: int
    scores: tuple[AdapterScore, ...]
    accuracy: tuple[AdapterDifference, ...]
    holding_up: tuple[AdapterDifference, ...]
    overall: tuple[AdapterDifference, ...]


@dataclass(frozen=True)
class _Answers:
    """right[method, cell]: a row an example, a column a seed; group: (N,) of the examples."""

    right: dict[tuple[str, Cell], pd.DataFrame]
    group: list[Hashable]
    resamples: int
    level: float


def adapter_evidence(
    rows: pd.DataFrame, *, reference: str | None = None, resamples: int = 1000, level: float = 0.95
) -> AdapterEvidence:
    """All numbers of the runs of several methods on the same test texts.

    Args:
        rows: of one task and test set; with `seed` and `group`.
        reference: a method; None takes LoRA where it took part, else the first by name.
        resamples: of the groups.
        level: of the intervals, 0 to 1.

    Raises:
        Mistake: columns that lack, no clean rows, an unknown reference, or runs on different texts.
    """
    answers = _answers(rows, resamples, level)
    methods = sorted(rows["model"].unique())
    against = reference if reference is not None else reference_of(methods)
    if against not in methods:
        raise Mistake(f"no run is of the method '{against}'; expected one of {', '.join(methods)}")
    rates = rates_of(rows)
    cells = sorted(
        rates, key=lambda c: (c.condition != CLEAN, c.mitigation, c.condition, rates[c], c.protected)
    )
    others = [name for name in methods if name != against]
    damaged = [cell for cell in cells if cell.condition != CLEAN]
    levels = [tuple(c for c in damaged if _level(c) == one) for one in dict.fromkeys(map(_level, damaged))]
    return AdapterEvidence(
        reference=against,
        seeds=tuple(sorted(int(one) for one in rows["seed"].unique())),
        examples=len(answers.group),
        groups=len(set(answers.group)),
        scores=tuple(
            _score(answers, name, cell, rates[cell])
            for name in methods
            for cell in cells
            if (name, cell) in answers.right
        ),
        accuracy=_corrected(
            [_difference(answers, name, against, (cell,)) for name in others for cell in cells]
        ),
        holding_up=_corrected(
            [_holding_up(answers, name, against, (c,)) for name in others for c in damaged]
        ),
        overall=_corrected([_holding_up(answers, name, against, some) for name in others for some in levels]),
    )


def _answers(rows: pd.DataFrame, resamples: int, level: float) -> _Answers:
    check_columns(rows)
    if missing := [name for name in ("seed", "group") if name not in rows.columns]:
        raise Mistake(f"the table of rows lacks the columns {', '.join(missing)}; rows of adapters have them")
    if not (rows["condition"] == CLEAN).any():
        raise Mistake("no row is of the condition 'clean'; ask the undamaged texts as well")
    if rows.duplicated(["model", "seed", *CELL, "item"]).any():
        raise Mistake("texts are answered twice by one run; hand over one task and test set at a time")
    texts = rows.drop_duplicates("item").sort_values("item").set_index("item")["group"]
    right = {}
    for (method, *key), block in rows.groupby(["model", *CELL]):
        table = block.pivot(index="item", columns="seed", values="score").reindex(texts.index)
        if table.isna().to_numpy().any():
            raise Mistake(f"{method} lacks answers under {key[0]} {key[1]}; its runs were asked other texts")
        right[str(method), cell_of(tuple(key))] = table
    return _Answers(right, texts.tolist(), resamples, level)


def _score(answers: _Answers, method: str, cell: Cell, rate: float) -> AdapterScore:
    by_seed = answers.right[method, cell].mean()
    sd = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
    drop = None
    if cell.condition != CLEAN:
        ours, clean = _pair(answers, (method, cell), (method, _clean(answers, method, cell)))
        drop = _interval(answers, ours, clean, 1)
    return AdapterScore(method, cell, rate, len(by_seed), Spread(float(by_seed.mean()), sd), drop)


def _difference(answers: _Answers, method: str, against: str, cells: tuple[Cell, ...]) -> AdapterDifference:
    ours, theirs = _pair(answers, (method, cells[0]), (against, cells[0]))
    return _told(method, against, "accuracy", cells, _interval(answers, ours, theirs, 1))


def _holding_up(answers: _Answers, method: str, against: str, cells: tuple[Cell, ...]) -> AdapterDifference:
    """Difference of differences, as a paired interval.

    With m and r right or not of method and reference, on a text damaged (d) and clean (c),
    ``(m_d - m_c) - (r_d - r_c) = (m_d + r_c) - (r_d + m_c)``: the gap of two stacked answer sheets, of
    twice the mean. All sheets of a text stay in its group, so that it is resampled whole.
    """
    ours, theirs = [], []
    for cell in cells:
        m_d, r_d = _pair(answers, (method, cell), (against, cell))
        m_c, r_c = _pair(
            answers, (method, _clean(answers, method, cell)), (against, _clean(answers, against, cell))
        )
        ours += [m_d, r_c]
        theirs += [r_d, m_c]
    once = _interval(answers, np.hstack(ours), np.hstack(theirs), 2 * len(cells))
    twice = replace(
        once,
        difference=2 * once.difference,
        low=2 * once.low,
        high=2 * once.high,
        per_seed=tuple(2 * one for one in once.per_seed),
        standard_error=2 * once.standard_error,
    )
    return _told(method, against, "holding up", cells, twice)


def _pair(answers: _Answers, one: tuple[str, Cell], other: tuple[str, Cell]) -> tuple[Ints, Ints]:
    """Right or not (S, N) of two runs a seed, over the seeds that both have."""
    if lacking := [name for name, cell in (one, other) if (name, cell) not in answers.right]:
        raise Mistake(
            f"{lacking[0]} was not asked under {one[1].condition} {one[1].level}; ask all methods alike"
        )
    ours, theirs = answers.right[one], answers.right[other]
    seeds = [seed for seed in ours.columns if seed in theirs.columns]
    if not seeds:
        raise Mistake(f"{one[0]} and {other[0]} share no seed; run both with the same seeds")
    return ours[seeds].to_numpy(np.int64).T, theirs[seeds].to_numpy(np.int64).T


def _interval(answers: _Answers, ours: Ints, theirs: Ints, copies: int) -> PairedInterval:
    return paired_interval(
        np.ones(ours.shape[1], dtype=np.int64),
        ours,
        theirs,
        groups=answers.group * copies,
        level=answers.level,
        resamples=answers.resamples,
    )


def _clean(answers: _Answers, method: str, cell: Cell) -> Cell:
    """The clean cell of the same mitigation; of the same protection where the clean texts say any."""
    same = [c for name, c in answers.right if name == method and c.condition == CLEAN]
    fits = [c for c in same if c.mitigation == cell.mitigation]
    if not fits:
        raise Mistake(f"{method} was not asked the clean texts with the mitigation '{cell.mitigation}'")
    return min(fits, key=lambda c: (c.protected != cell.protected, c.protected))


def _told(
    method: str, against: str, what: str, cells: tuple[Cell, ...], interval: PairedInterval
) -> AdapterDifference:
    error = interval.standard_error
    p = 2 * float(stats.t.sf(abs(interval.difference) / error, interval.df)) if error > 0 else 1.0
    return AdapterDifference(method, against, what, cells, interval, p, p)


def _corrected(found: Sequence[AdapterDifference]) -> tuple[AdapterDifference, ...]:
    return tuple(replace(one, p_holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True))


def _level(cell: Cell) -> tuple[str, bool, str]:
    return cell.level, cell.protected, cell.mitigation
