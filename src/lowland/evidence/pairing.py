"""Pairs of results: their scores on the examples and seeds that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.results import NO_SEED, Results
from lowland.ground.mistakes import Mistake
from lowland.ground.visible import visible


@dataclass(frozen=True)
class Pairing:
    """Scores of two results on the examples and seeds that both have.

    Attributes:
        examples: names of the N paired examples.
        seeds: the S paired seeds; empty if the results name none.
        groups: (N,) groups of the examples.
        scores: (S, N) scores of the one, repeats averaged; one row if there are no seeds.
        scores_reference: (S, N) scores of the reference.
        texts: (N,) texts of the examples.
        unpaired: number of examples of the one, and of the reference, that are left out.
        unpaired_seeds: seeds that only one of both has.
        repeats: largest number of rows of one example and seed.
    """

    examples: tuple[str, ...]
    seeds: tuple[str, ...]
    groups: tuple[str, ...]
    scores: np.ndarray
    scores_reference: np.ndarray
    texts: tuple[str, ...]
    unpaired: tuple[int, int]
    unpaired_seeds: tuple[str, ...]
    repeats: int


LEAST_SHARE = 0.9
"""Share of the examples that must pair, unless the user allows less."""


def pair(ours: Results, reference: Results, *, partial: bool = False) -> Pairing:
    """Pair the scores of two results by example, and by seed where they name seeds.

    Args:
        ours: the one.
        reference: the other.
        partial: compare however few examples pair.

    Raises:
        Mistake: if they were tested on different data, no seed pairs, or too few examples pair.
    """
    both = f"{ours.name} and {reference.name}"
    if ours.data != reference.data:
        raise Mistake(f"{both} were tested on different data; compare results on the same examples")
    seeds = _paired_seeds(ours, reference, partial)
    tables = [_table(each, seeds or (NO_SEED,)) for each in (ours, reference)]
    examples = tables[1].columns.intersection(tables[0].columns, sort=False)
    counts = [each.rows["example"].nunique() for each in (ours, reference)]
    share = len(examples) / max(counts)
    if len(examples) == max(counts) == 1:
        raise Mistake(f"{both} have one example; a comparison needs two or more")
    if len(examples) < 2 or (share < LEAST_SHARE and not partial):
        raise Mistake(_too_few(ours, reference, len(examples), counts))
    about = [
        each.rows.drop_duplicates("example").set_index("example").loc[examples] for each in (reference, ours)
    ]
    texts = about[0]["text"].where(about[0]["text"] != "", about[1]["text"])
    repeats = [each.rows.groupby(["example", "seed"], sort=False).size().max() for each in (ours, reference)]
    scores, scores_reference = (table[examples].to_numpy() for table in tables)
    same = np.isclose(scores, scores_reference, rtol=1e-12, atol=0.0)  # but for rounding
    return Pairing(
        examples=tuple(examples),
        seeds=seeds,
        groups=_groups(about, both),
        scores=np.where(same, scores_reference, scores),
        scores_reference=scores_reference,
        texts=tuple(texts),
        unpaired=(counts[0] - len(examples), counts[1] - len(examples)),
        unpaired_seeds=tuple(sorted(set(ours.seeds) ^ set(reference.seeds))),
        repeats=int(max(repeats)),
    )


def _paired_seeds(ours: Results, reference: Results, partial: bool) -> tuple[str, ...]:
    """Return the seeds that both have; none if neither names any."""
    both = f"{ours.name} and {reference.name}"
    if bool(ours.seeds) != bool(reference.seeds):
        with_seeds, without = (ours, reference) if ours.seeds else (reference, ours)
        raise Mistake(
            f"{with_seeds.name} has seeds ({', '.join(with_seeds.seeds[:5])}), and {without.name} has none; give both a"
            " column seed, or neither"
        )
    seeds = tuple(seed for seed in reference.seeds if seed in ours.seeds)
    if ours.seeds and not seeds:
        own, others = (", ".join(each.seeds[:5]) for each in (ours, reference))
        raise Mistake(
            f"{ours.name} has seeds {own}, and {reference.name} has {others}: none pairs; run both with the same seeds"
        )
    if not partial and len(seeds) < max(len(ours.seeds), len(reference.seeds)) / 2:
        raise Mistake(
            f"less than half of the seeds of {both} pair ({', '.join(seeds)}); run both with the same seeds, or add"
            " --partial to compare those that pair"
        )
    return seeds


def _groups(about: Sequence[pd.DataFrame], both: str) -> tuple[str, ...]:
    """Return the groups of the examples that both name, or that either names; else each example is its own."""
    groups = [each["group"].to_numpy() for each in about if (each["group"] != each.index).any()]
    if len(groups) == 2 and not (groups[0] == groups[1]).all():
        raise Mistake(f"{both} put the same examples into different groups; give both the same column group")
    if groups and len(set(groups[0])) == 1:
        raise Mistake(
            f"all examples of {both} are in one group, which says nothing of others; give two groups or more"
        )
    return tuple(groups[0] if groups else about[0].index)


def _table(results: Results, seeds: Sequence[str]) -> pd.DataFrame:
    """Return mean scores over repeats, seeds by examples, of the examples that have a score for each seed."""
    rows = results.rows[results.rows["seed"].isin(seeds)]
    table = rows.pivot_table(index="seed", columns="example", values="score", aggfunc="mean", sort=False)
    return table.reindex(index=list(seeds), columns=rows["example"].unique()).dropna(axis="columns")


def _too_few(ours: Results, reference: Results, paired: int, counts: Sequence[int]) -> str:
    missing = [
        next(
            (name for name in dict.fromkeys(each.rows["example"]) if name not in set(other.rows["example"])),
            "",
        )
        for each, other in ((ours, reference), (reference, ours))
    ]
    only = [
        f"only {each.name} has {visible(name)!r}"
        for each, name in zip((ours, reference), missing, strict=True)
        if name
    ]
    advice = "" if paired < 2 else ", or add --partial to compare those that pair"
    return (
        f"{paired} examples pair of {counts[0]:,} of {ours.name} and {counts[1]:,} of {reference.name}"
        f"{' (' + ', '.join(only) + ')' if only else ''}; compare results on the same examples{advice}"
    )
