"""Scores of cases: whether a run's predictions meet the expectations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def answers_to_cases(cases: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with a run's answers, and whether they pass.

    Args:
        cases: n cases, as `cases_of` returns them.
        answers: the run's answer to each different text: `text`, `predicted`, and `p_<label>` for each label.

    Returns:
        The cases with the columns `predicted_original` ("" without an original), `predicted`, `p_original` and `p`
        (probabilities of the case's label, or for an invariance of the label of the original; NaN without an
        original), and `passed`.
    """
    by_text = answers.set_index("text")
    predicted = by_text["predicted"].reindex(cases["text"]).to_numpy()
    has_original = cases["original"].ne("").to_numpy()
    originals = cases["original"].where(has_original, cases["text"])
    before = by_text["predicted"].reindex(originals).to_numpy()
    labels = np.where(cases["label"].ne("").to_numpy(), cases["label"].to_numpy(), before)
    p, p_original = (_probabilities(by_text, texts, labels) for texts in (cases["text"], originals))
    return cases.assign(
        predicted_original=np.where(has_original, before, ""),
        predicted=predicted,
        p_original=np.where(has_original, p_original, np.nan),
        p=p,
        passed=_passed(cases, predicted, before, p - p_original),
    )


def _probabilities(by_text: pd.DataFrame, texts: pd.Series, labels: npt.NDArray[np.object_]) -> Floats:
    """Return the probability (n,) of each text's label."""
    names = list(dict.fromkeys(labels))
    table = by_text[[f"p_{label}" for label in names]].reindex(texts).to_numpy(np.float64)  # (n, labels)
    return np.asarray(table[np.arange(len(texts)), [names.index(label) for label in labels]])


def _passed(
    cases: pd.DataFrame,
    predicted: npt.NDArray[np.object_],
    before: npt.NDArray[np.object_],
    change: Floats,
) -> npt.NDArray[np.bool_]:
    """Return whether each case passes: the right label, the same label, or a probability that moves as it must."""
    must, tolerance = cases["must"].to_numpy(), cases["tolerance"].to_numpy(np.float64)
    same = cases["label"].eq("").to_numpy()
    right = predicted == cases["label"].to_numpy()
    kinds = [must == "not fall", must == "not rise", same]
    return np.asarray(
        np.select(kinds, [change >= -tolerance, change <= tolerance, predicted == before], right), dtype=bool
    )
