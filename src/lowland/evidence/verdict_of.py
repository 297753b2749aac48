"""Verdict on arrays and tables: `lowland.verdict`."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.evidence.readers.table_results import Columns, results_of
from lowland.evidence.results import Results, as_results
from lowland.evidence.verdict import Verdict, compare_results
from lowland.ground.mistakes import Mistake


def verdict(
    reference: npt.ArrayLike | pd.DataFrame,
    result: npt.ArrayLike | pd.DataFrame,
    *,
    names: tuple[str, str] = ("the first", "the second"),
    metric: str = "score",
    seeds: Sequence[Any] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    margin: float | None = None,
    detect: float | None = None,
    partial: bool = False,
) -> Verdict:
    """Say whether a result is better than a reference, and how sure that is.

    Args:
        reference: (N,) a score for each example, such as 1 for a right answer and 0 for a wrong one; (S, N) the same
            for S seeds; or a table with the columns `example` (or `text`) and `score`, and maybe `seed` and `group`.
        result: the same for the other; arrays are paired by place, tables by example and seed.
        names: what the two are called.
        metric: name of the score; higher is better.
        seeds: (S,) seeds of the rows of arrays; default: 0 to S - 1 if the arrays have two dimensions.
        groups: (N,) group of each example, for arrays: examples that are alike are no independent evidence.
        level: level of the interval, 0 to 1.
        margin: largest loss that counts as none: says whether the result is non-inferior. In points if all scores are
            between 0 and 1, else in the score's unit.
        detect: difference, in the same unit, for which to say how many examples or seeds it takes to see it.
        partial: for tables, compare the examples that pair, even if they are less than 90 % of all.

    Returns:
        The verdict; `print` shows it as a sentence.

    Raises:
        Mistake: if the two cannot be paired, or a score is not a finite number.

    Examples:
        >>> right = [1, 1, 0, 1, 0, 1, 1, 0]
        >>> lowland.verdict([0, 1, 0, 1, 0, 1, 0, 0], right, names=("LoRA", "Flat-LoRA")).outcome
        'undecided'
    """
    if len(names) != 2:
        raise Mistake(f"names has {len(names)} entries; expected two, one for each result")
    if (
        isinstance(reference, pd.Series)
        and isinstance(result, pd.Series)
        and not reference.index.equals(result.index)
    ):
        raise Mistake(
            "the two series have different indexes, and arrays are paired by place; align them, or give tables with a"
            " column example"
        )
    pair = [
        _as_results(values, name, metric, seeds, groups)
        for values, name in zip((reference, result), names, strict=True)
    ]
    if isinstance(reference, pd.DataFrame) != isinstance(result, pd.DataFrame):
        raise Mistake("one of both is a table, and the other is not; give two tables or two arrays")
    shapes = [np.shape(each) for each in (reference, result)]
    if not isinstance(reference, pd.DataFrame) and seeds is None and shapes[0][:-1] != shapes[1][:-1]:
        raise Mistake(
            f"{names[0]} has shape {shapes[0]} and {names[1]} has {shapes[1]}; expected the same seeds in both"
        )
    sizes = [each.rows["example"].nunique() for each in pair]
    if not isinstance(reference, pd.DataFrame) and sizes[0] != sizes[1]:
        raise Mistake(
            f"{names[0]} has {sizes[0]} scores and {names[1]} has {sizes[1]}; arrays are paired by place, so give one"
            " score for each example in both"
        )
    return compare_results(pair, level=level, margin=margin, detect=detect, partial=partial)[0]


def _as_results(
    values: npt.ArrayLike | pd.DataFrame,
    name: str,
    metric: str,
    seeds: Sequence[Any] | None,
    groups: Sequence[Hashable] | None,
) -> Results:
    if isinstance(values, pd.DataFrame):
        if seeds is not None or groups is not None:
            raise Mistake("seeds and groups are for arrays; in a table they are columns")
        found = results_of(values, name, Columns(), name, metric if metric in values else None)
        if len(found) > 1:
            raise Mistake(f"{name} has {len(found)} methods; give the rows of one")
        return Results(name, metric, found[0].rows, name)
    return _of_array(values, name, metric, seeds, groups)


def _of_array(
    values: npt.ArrayLike,
    name: str,
    metric: str,
    seeds: Sequence[Any] | None,
    groups: Sequence[Hashable] | None,
) -> Results:
    if isinstance(values, str | os.PathLike):
        raise Mistake(f"{name} is a path; lowland verdict on the command line reads files")
    scores = np.asarray(values)
    if np.iscomplexobj(scores):
        raise Mistake(f"{name} holds complex numbers; expected real ones")
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise Mistake(f"{name} has shape {scores.shape}; expected (N,), or (S, N) for S seeds")
    rows = np.atleast_2d(scores)
    count, examples = rows.shape
    if seeds is not None and len(seeds) != count:
        raise Mistake(f"seeds has {len(seeds)} entries; expected {count}, one for each row of {name}")
    if groups is not None and len(groups) != examples:
        raise Mistake(f"groups has {len(groups)} entries; expected {examples}, one for each example")
    table = pd.DataFrame({"example": np.tile(np.arange(examples), count), "score": rows.ravel()})
    if scores.ndim == 2 or seeds is not None:
        table["seed"] = np.repeat(np.asarray(range(count) if seeds is None else list(seeds)), examples)
    if groups is not None:
        table["group"] = np.tile(np.asarray(list(map(str, groups)), dtype=object), count)
    return as_results(table, name, metric, name)
