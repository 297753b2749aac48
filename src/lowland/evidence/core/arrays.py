"""Checks of the arrays that comparisons take: scores, predictions and groups."""

from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.metrics import Floats, Ints
from lowland.ground.mistakes import Mistake

ROUNDING = 1e-6
"""Largest rounding error of a score between 0 and 1 that was computed in 32 bits."""


def check_level(level: float) -> None:
    """Raise Mistake unless the level of an interval is between 0 and 1, both exclusive."""
    if not 0 < level < 1:
        raise Mistake(f"level is {level}; expected a number between 0 and 1, such as 0.95")


def check_scores(scores: npt.ArrayLike, scores_reference: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return both score arrays (S, N) in float64.

    Raises:
        Mistake: if the shapes do not fit, or a score is not a finite number.
    """
    ours, theirs = (
        _as_floats(name, values)
        for name, values in (("scores", scores), ("scores_reference", scores_reference))
    )
    if ours.ndim != 2 or ours.shape[0] == 0 or ours.shape[1] < 2:
        raise Mistake(
            f"scores has shape {ours.shape}; expected (S, N) with S of 1 or more and N of 2 or more: "
            "one row per seed, one column per example"
        )
    if theirs.ndim != 2 or theirs.shape[1] != ours.shape[1]:
        raise Mistake(f"scores_reference has shape {theirs.shape}; expected {ours.shape}, that of scores")
    _check_seeds("scores", ours, theirs)
    return ours, theirs


def check_predictions(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, predicted_reference: npt.ArrayLike
) -> tuple[Ints, Ints, Ints]:
    """Return labels (N,) and both predictions (S, N) as integers.

    Raises:
        Mistake: if the shapes do not fit, or a class is not a whole number.
    """
    truth = _as_ints("labels", labels)
    ours = _as_ints("predicted", predicted)
    theirs = _as_ints("predicted_reference", predicted_reference)
    if truth.ndim != 1 or truth.size < 2:
        raise Mistake(f"labels has shape {truth.shape}; expected (N,) with N of 2 or more")
    for name, array in (("predicted", ours), ("predicted_reference", theirs)):
        if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != truth.size:
            raise Mistake(
                f"{name} has shape {array.shape}; expected (S, {truth.size}) with S of 1 or more: "
                "one row per seed, one column per label"
            )
    _check_seeds("predicted", ours, theirs)
    return truth, ours, theirs


def check_groups(groups: Iterable[Hashable] | None, examples: int) -> Ints:
    """Number the groups from 0 in order of appearance.

    Args:
        groups: (N,) labels; None gives each example a group of its own.
        examples: N.

    Returns:
        (N,) the number of each example's group.

    Raises:
        Mistake: if there are not N labels, a label is missing or not hashable, or there is only one group.
    """
    if groups is None:
        return np.arange(examples)
    labels = list(groups)
    if len(labels) != examples:
        raise Mistake(f"groups has {len(labels)} labels; expected {examples}, one for each example")
    if unfit := [type(label).__name__ for label in labels if not isinstance(label, Hashable)]:
        raise Mistake(f"groups holds one {unfit[0]} for each example; expected (N,) hashable labels")
    if missing := sum(map(_is_missing, labels)):
        raise Mistake(f"groups lacks {missing} of {examples} labels; give each example a group")
    numbers: dict[Hashable, int] = {}
    member = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    if len(numbers) < 2:
        raise Mistake(
            f"groups puts all {examples} examples into one group, {labels[0]!r}; expected 2 groups or more: "
            "one group says nothing about other groups"
        )
    return member


def count_groups(member: Ints) -> int:
    """Return G, the number of groups, from the numbers that :func:`check_groups` returns."""
    return int(member.max()) + 1


def are_shares(*scores: Floats) -> bool:
    """Return whether all scores are in [0, 1], but for rounding."""
    return all(bool(((array >= -ROUNDING) & (array <= 1 + ROUNDING)).all()) for array in scores)


def are_binary(*scores: Floats) -> bool:
    """Return whether all scores are 0 or 1."""
    return all(bool(((array == 0) | (array == 1)).all()) for array in scores)


def _check_seeds(name: str, ours: npt.NDArray[np.generic], theirs: npt.NDArray[np.generic]) -> None:
    if ours.shape != theirs.shape:
        raise Mistake(
            f"{name} has {len(ours)} seeds and {name}_reference has {len(theirs)}; "
            "expected the same seeds in the same order"
        )


def _is_missing(label: Hashable) -> bool:
    """Return whether a label is None, or does not equal itself: NaN, NaT, pandas' NA."""
    same = label == label
    return label is None or not (isinstance(same, bool | np.bool_) and same)


def _as_ints(name: str, values: npt.ArrayLike) -> Ints:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iub":
        raise Mistake(f"{name} holds {array.dtype}; expected whole numbers (class indices)")
    return array.astype(np.int64)


def _as_floats(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iubf":
        raise Mistake(f"{name} holds {array.dtype}; expected numbers")
    floats = array.astype(np.float64)
    if not np.isfinite(floats).all():
        raise Mistake(f"{name} holds NaN or infinity; expected finite numbers")
    return floats
