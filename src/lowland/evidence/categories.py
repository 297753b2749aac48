"""Accuracy by category: the kinds of examples on which methods do worse than on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import check_groups
from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.metrics import Floats, Ints
from lowland.evidence.readers.answers import Answers
from lowland.evidence.text_rules import TEXT_RULES

LEAST_GROUPS = 5
"""Least number of groups inside and outside a category for an interval of their difference."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CategoryScores:
    """Accuracy on the examples of one category.

    Attributes:
        name: name of the category.
        count: number of its examples.
        accuracy: mean over seeds, of each method.
        gap: accuracy on these examples minus that on all others, mean over methods, with its interval; None if there
            are fewer than `LEAST_GROUPS` groups of either, or the methods share no seed.
        p_holm: p-value of the gap with Holm's correction over all categories; NaN without a gap.
    """

    name: str
    count: int
    accuracy: Mapping[str, float]
    gap: PairedInterval | None
    p_holm: float

    @property
    def is_harder(self) -> bool:
        """Whether the methods do worse on this category than on other examples, by the corrected p-value."""
        return self.gap is not None and self.gap.difference < 0 and self.p_holm < 1 - self.gap.level


def recorded_categories(answers: Answers) -> dict[str, Mask]:
    """Return which examples are in each category of the data; empty if the data has fewer than two."""
    names = answers.examples["category"]
    known = sorted(set(names) - {""})
    return {name: (names == name).to_numpy() for name in known} if len(known) > 1 else {}


def rule_categories(answers: Answers) -> dict[str, Mask]:
    """Return for which texts each of the `TEXT_RULES` holds; empty if the texts are not known.

    A rule that holds for no text, or for all of them, is left out.
    """
    if not answers.has_texts:
        return {}
    masks = {
        name: np.array([rule.holds(text) for text in answers.examples["text"]])
        for name, rule in TEXT_RULES.items()
    }
    return {name: mask for name, mask in masks.items() if 0 < mask.sum() < len(mask)}


def category_scores(answers: Answers, categories: Mapping[str, Mask]) -> list[CategoryScores]:
    """Compute the accuracy of each method on each category, and how it differs from that on other examples.

    Args:
        answers: predictions of the runs.
        categories: (N,) whether each example is in the category, by name; categories may overlap.
    """
    together = _together(answers)
    member = check_groups(answers.examples["group"], len(answers.examples))
    scores = [
        CategoryScores(
            name=name,
            count=int(mask.sum()),
            accuracy={
                method: float(each.right[:, mask].mean()) if mask.any() else float("nan")
                for method, each in answers.methods.items()
            },
            gap=None if together is None else _gap(together, mask, member),
            p_holm=float("nan"),
        )
        for name, mask in categories.items()
    ]
    corrected = holm([float("nan") if each.gap is None else each.gap.p for each in scores])
    return [replace(each, p_holm=p) for each, p in zip(scores, corrected, strict=True)]


def _together(answers: Answers) -> Floats | None:
    """Return the mean over methods of right predictions (S, N), for the seeds that all share; None if none."""
    methods = list(answers.methods.values())
    shared = sorted(set(methods[0].seeds).intersection(*(each.seeds for each in methods)))
    if not shared:
        return None
    return np.asarray(
        np.mean([each.right[[each.seeds.index(seed) for seed in shared]] for each in methods], axis=0)
    )


def _gap(right: Floats, mask: Mask, member: Ints) -> PairedInterval | None:
    """Compute the mean inside a category minus that outside, with its interval by linearisation.

    The mean of ``d + (x - m_in) · in / p - (x - m_out) · out / (1 - p)`` over examples is the difference d of both
    means, and its variance over groups is that of d to first order (W. G. Cochran, "Sampling Techniques", 1977,
    chapter 6: ratio estimates).
    """
    if min(len(np.unique(member[mask])), len(np.unique(member[~mask]))) < LEAST_GROUPS:
        return None
    share = mask.mean()
    inside, outside = (right[:, part].mean(axis=1, keepdims=True) for part in (mask, ~mask))
    influence = np.where(mask, (right - inside) / share, -(right - outside) / (1 - share))
    values = influence + inside - outside
    return paired_interval(values, np.zeros_like(values), groups=member)
