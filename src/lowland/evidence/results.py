"""Results of any evaluation: a score for each example, and maybe for several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.ground.visible import visible

NO_SEED = ""
"""Seed of results that name none."""
WHOLE = r"^(-?\d+)\.0$"
"""A whole number as pandas writes it in a column with decimal points."""
LARGEST = 1e100
"""Largest size of a score: sums of squares of larger ones overflow."""
COLUMNS = ("example", "seed", "group", "score", "text")


@dataclass(frozen=True)
class Results:
    """Scores of one method, one model or one prompt.

    Attributes:
        name: what is scored, for sentences.
        metric: name of the score.
        rows: a row for each score, with the columns `example` (text), `seed` (text, `NO_SEED` where there is none),
            `group` (text), `score` (finite number, higher is better) and `text` (shown with flips; may be empty).
            Several rows of an example and a seed are repeats.
        source: file or folder that they were read from, in words.
        data: what the examples' names refer to, such as the SHA-256 of the data; "" if they speak for themselves.
    """

    name: str
    metric: str
    rows: pd.DataFrame
    source: str
    data: str = ""

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds, in order; empty if the results name none."""
        seeds = [seed for seed in dict.fromkeys(self.rows["seed"]) if seed != NO_SEED]
        return tuple(sorted(seeds, key=lambda seed: (not seed.lstrip("-").isdigit(), _number(seed), seed)))


def _number(seed: str) -> int:
    return int(seed) if seed.lstrip("-").isdigit() else 0


def as_results(table: pd.DataFrame, name: str, metric: str, source: str, data: str = "") -> Results:
    """Check a table with some of the `COLUMNS`, and return its results.

    Args:
        table: with `example` and `score`, and maybe `seed`, `group` and `text`.
        name: what is scored.
        metric: name of the score.
        source: where the table is from, in words.
        data: what the examples' names refer to.

    Raises:
        Mistake: if there is no row, a score is not a finite number, or an example or a seed is missing.
    """
    if table.empty:
        raise Mistake(f"{source} holds no scores; expected a row for each example")
    rows = pd.DataFrame({"example": _texts(table["example"], "example", source)})
    rows["seed"] = _texts(table["seed"], "seed", source) if "seed" in table else NO_SEED
    rows["group"] = _texts(table["group"], "group", source) if "group" in table else rows["example"]
    rows["score"] = _scores(table["score"], source)
    rows["text"] = table["text"].fillna("").astype(str).to_numpy() if "text" in table else ""
    groups = rows.groupby("example", sort=False)["group"].nunique()
    if (groups > 1).any():
        raise Mistake(
            f"{source} puts example {groups.idxmax()!r} into several groups; expected one for each example"
        )
    return Results(visible(name), metric, rows, source, data)


def _texts(column: pd.Series, what: str, source: str) -> pd.Series:
    """Return the values as texts; a whole number has no decimal point."""
    if missing := int(column.isna().sum()):
        raise Mistake(
            f"{source} lacks {what} in {plural(missing, 'row')} of {len(column)}; give it in each row"
        )
    return column.astype(str).str.replace(WHOLE, r"\1", regex=True).reset_index(drop=True)


def _scores(column: pd.Series, source: str) -> pd.Series:
    """Return the scores as numbers: true and false count 1 and 0."""
    column = column.reset_index(drop=True)
    if column.dtype == object or pd.api.types.is_string_dtype(column):
        words = {"true": 1.0, "false": 0.0}
        column = column.map(lambda value: words.get(str(value).strip().lower(), value))
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    unfit = ~(numbers.abs() <= LARGEST)
    if unfit.any():
        row, count = int(np.flatnonzero(unfit)[0]), int(unfit.sum())
        raise Mistake(
            f"{source}: the score in row {row + 1} is {visible(str(column[row]))!r}, and"
            f" {plural(count, 'score')} of {len(column)} {'is' if count == 1 else 'are'} no finite number; write"
            " numbers such as 0.5, or leave such examples out of all results"
        )
    return numbers


def with_different_names(results: Sequence[Results]) -> list[Results]:
    """Return results whose names differ: equal ones are told apart by their source, or by their number."""
    names = [each.name for each in results]
    renamed = []
    for number, each in enumerate(results, start=1):
        name = each.name
        if names.count(name) > 1:
            others = [other.source for other in results if other.name == name]
            place = Path(each.source).name
            name = f"{name} ({place if [Path(other).name for other in others].count(place) == 1 else number})"
        renamed.append(replace(each, name=name))
    return renamed


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
        unpaired: examples that only one of both has, or has not for each seed: number of them in the one and in the
            reference.
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
    if bool(ours.seeds) != bool(reference.seeds):
        with_seeds, without = (ours, reference) if ours.seeds else (reference, ours)
        raise Mistake(
            f"{with_seeds.name} has seeds ({', '.join(with_seeds.seeds[:5])}), and {without.name} has none; give both a"
            " column seed, or neither"
        )
    seeds = tuple(seed for seed in reference.seeds if seed in ours.seeds)
    if ours.seeds and not seeds:
        one, other = (", ".join(each.seeds[:5]) for each in (ours, reference))
        raise Mistake(
            f"{ours.name} has seeds {one}, and {reference.name} has {other}: none pairs; run both with the same seeds"
        )
    tables = [_table(each, seeds or (NO_SEED,)) for each in (ours, reference)]
    if not partial and len(seeds) < max(len(ours.seeds), len(reference.seeds)) / 2:
        raise Mistake(
            f"less than half of the seeds of {both} pair ({', '.join(seeds)}); run both with the same seeds, or add"
            " --partial to compare those that pair"
        )
    examples = tables[1].columns.intersection(tables[0].columns, sort=False)
    counts = [each.rows["example"].nunique() for each in (ours, reference)]
    share = len(examples) / max(counts)
    if len(examples) == max(counts) == 1:
        raise Mistake(f"{both} have one example; a comparison needs two or more")
    if len(examples) < 2 or (share < LEAST_SHARE and not partial):
        raise Mistake(_too_few(ours, reference, len(examples), counts))
    about = reference.rows.drop_duplicates("example").set_index("example").loc[examples]
    of_ours = ours.rows.drop_duplicates("example").set_index("example").loc[examples]
    groups = [each["group"].to_numpy() for each in (about, of_ours) if (each["group"] != each.index).any()]
    if len(groups) == 2 and not (groups[0] == groups[1]).all():
        raise Mistake(f"{both} put the same examples into different groups; give both the same column group")
    if groups and len(set(groups[0])) == 1:
        raise Mistake(
            f"all examples of {both} are in one group, which says nothing of others; give two groups or more"
        )
    texts = about["text"].where(about["text"].astype(str) != "", of_ours["text"])
    repeats = [each.rows.groupby(["example", "seed"], sort=False).size().max() for each in (ours, reference)]
    scores, scores_reference = (table[examples].to_numpy() for table in tables)
    same = np.isclose(scores, scores_reference, rtol=1e-12, atol=0.0)  # but for rounding
    return Pairing(
        examples=tuple(examples),
        seeds=seeds,
        groups=tuple(groups[0] if groups else examples),
        scores=np.where(same, scores_reference, scores),
        scores_reference=scores_reference,
        texts=tuple(texts.astype(str)),
        unpaired=(counts[0] - len(examples), counts[1] - len(examples)),
        unpaired_seeds=tuple(sorted(set(ours.seeds) ^ set(reference.seeds))),
        repeats=int(max(repeats)),
    )


def _table(results: Results, seeds: Sequence[str]) -> pd.DataFrame:
    """Return mean scores over repeats, seeds by examples, of the examples that have a score for each seed."""
    rows = results.rows[results.rows["seed"].isin(seeds)]
    table = rows.pivot_table(index="seed", columns="example", values="score", aggfunc="mean", sort=False)
    return table.reindex(index=list(seeds), columns=rows["example"].unique()).dropna(axis="columns")


def _too_few(ours: Results, reference: Results, paired: int, counts: Sequence[int]) -> str:
    missing = [
        next(
            (name for name in dict.fromkeys(one.rows["example"]) if name not in set(other.rows["example"])),
            "",
        )
        for one, other in ((ours, reference), (reference, ours))
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
