"""Fluency ratings in words: by condition, and whether people and a judge model agree."""

from __future__ import annotations

import pandas as pd

from lowland.evidence.core.by_item import Estimate
from lowland.evidence.core.kappa import Agreement, weighted_kappa
from lowland.evidence.ratings import mean_ratings
from lowland.report.stress_tables import named
from lowland.report.study import table


def ratings_markdown(rated: pd.DataFrame, first: str = "fluency", second: str = "judge") -> str:
    """Mean ratings by condition, and the agreement of two raters on the replies that both rated.

    Args:
        rated: rows of one eval and model, as `merge_back` gives them.
        first: column of a person's ratings.
        second: column of another rater's; what is not there is not told.
    """
    raters = [name for name in (first, second) if name in rated.columns and rated[name].notna().any()]
    if not raters:
        return "No reply was rated."
    means = {name: mean_ratings(rated, name) for name in raters}
    cells = dict.fromkeys(cell for name in raters for cell in means[name])
    rows = [
        [named(cell), *[_mean(means[name][cell]) if cell in means[name] else "not rated" for name in raters]]
        for cell in cells
    ]
    counts = ", ".join(f"{name} {int(rated[name].notna().sum())}" for name in raters)
    parts = [
        f"Mean ratings, 1 to 5, with 95 % intervals over items; replies rated: {counts}",
        table(["", *raters], rows),
    ]
    if len(raters) == 2:
        parts.append(_agreement(rated, first, second))
    return "\n\n".join(parts)


def agreement_sentence(found: Agreement, first: str, second: str) -> str:
    """What the agreement of two raters is, and nothing of what it should be."""
    return (
        f"Agreement of {first} and {second}: weighted kappa {found.kappa:.2f} ({100 * found.level:g} % interval"
        f" {found.low:.2f} to {found.high:.2f}), {found.ratings} replies to {found.items} items;"
        f" the same rating for {found.same:.0%}, {second} minus {first} {found.shift:+.2f} on average."
    )


def _agreement(rated: pd.DataFrame, first: str, second: str) -> str:
    both = rated[rated[first].notna() & rated[second].notna()]
    if both["item"].nunique() < 2:
        return f"{first} and {second} rated fewer than two items both: their agreement cannot be told."
    found = weighted_kappa(both[first].to_numpy(), both[second].to_numpy(), both["item"])
    return agreement_sentence(found, first, second)


def _mean(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
