"""Report of fluency ratings: means by condition, and the agreement of people and a judge model."""

from __future__ import annotations

import pandas as pd

from lowland.evidence.core.by_item import Estimate
from lowland.evidence.core.kappa import Agreement, weighted_kappa
from lowland.evidence.ratings import mean_ratings
from lowland.report.blocks import Block, Paragraph, Table
from lowland.report.markdown import render
from lowland.report.wording import cell_name


def ratings_markdown(rated: pd.DataFrame, first: str = "fluency", second: str = "judge") -> str:
    """Return the report of ratings as Markdown; arguments are those of `ratings_blocks`."""
    return render(ratings_blocks(rated, first, second))


def ratings_blocks(rated: pd.DataFrame, first: str = "fluency", second: str = "judge") -> list[Block]:
    """Build mean ratings by condition, and the agreement of two raters on the replies that both rated.

    Args:
        rated: rows of one eval and model, as `merge_back` returns them.
        first: column of a person's ratings.
        second: column of another rater's; a missing column is left out.
    """
    raters = [name for name in (first, second) if name in rated.columns and rated[name].notna().any()]
    if not raters:
        return [Paragraph("No reply was rated.")]
    means = {name: mean_ratings(rated, name) for name in raters}
    cells = dict.fromkeys(cell for name in raters for cell in means[name])
    rows = tuple(
        (
            cell_name(cell),
            *[_mean(means[name][cell]) if cell in means[name] else "not rated" for name in raters],
        )
        for cell in cells
    )
    counts = ", ".join(f"{name} {int(rated[name].notna().sum())}" for name in raters)
    heading = f"Mean ratings, 1 to 5, with 95 % intervals over items; replies rated: {counts}"
    blocks: list[Block] = [Paragraph(heading), Table(("", *raters), rows)]
    if len(raters) == 2:
        blocks.append(Paragraph(_agreement(rated, first, second)))
    return blocks


def agreement_sentence(agreement: Agreement, first: str, second: str) -> str:
    """Return a sentence with the agreement of two raters, in figures only."""
    return (
        f"Agreement of {first} and {second}: weighted kappa {agreement.kappa:.2f} ({100 * agreement.level:g} %"
        f" interval {agreement.low:.2f} to {agreement.high:.2f}), {agreement.ratings} replies to"
        f" {agreement.items} items; the same rating for {agreement.same:.0%}, {second} minus {first}"
        f" {agreement.shift:+.2f} on average."
    )


def _agreement(rated: pd.DataFrame, first: str, second: str) -> str:
    both = rated[rated[first].notna() & rated[second].notna()]
    if both["item"].nunique() < 2:
        return (
            f"Fewer than two items have ratings by both {first} and {second}: no agreement can be computed."
        )
    agreement = weighted_kappa(both[first].to_numpy(), both[second].to_numpy(), both["item"])
    return agreement_sentence(agreement, first, second)


def _mean(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
