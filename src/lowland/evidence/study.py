"""The scores of a study's runs: by method over seeds, and in pairs against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.evidence.core.pairs import PairedComparison, compare_pairs
from lowland.ground.records import RunRecord, read_predictions, read_record

SCORES = ("accuracy", "weighted_f1", "macro_f1")


@dataclass(frozen=True)
class Spread:
    """A mean and a standard deviation over seeds (n - 1 in the denominator; NaN with one seed)."""

    mean: float
    sd: float


@dataclass(frozen=True)
class MethodScores:
    """One method's runs, taken together.

    Attributes:
        method: its name.
        seeds: of its finished runs.
        scores: by the names in `SCORES`, in [0, 1].
        trainable: parameters that are trained.
        share: of all parameters.
        seconds: of training, one run.
        peak_bytes: peak memory in training, one run.
    """

    method: str
    seeds: tuple[int, ...]
    scores: dict[str, Spread]
    trainable: int
    share: float
    seconds: Spread
    peak_bytes: Spread


def finished(folders: Sequence[Path]) -> dict[Path, RunRecord]:
    """The records of those runs that did not fail, by folder."""
    records = {folder: read_record(folder) for folder in folders}
    return {folder: one for folder, one in records.items() if one.status == "finished"}


def by_method(records: Sequence[RunRecord], split: str = "test") -> list[MethodScores]:
    """Scores of each method over its seeds on one test set, in the order of the records."""
    methods = dict.fromkeys(record.method for record in records)
    return [_together([one for one in records if one.method == name], split) for name in methods]


def against(
    runs: dict[Path, RunRecord], reference: str, *, metric: str = "accuracy", split: str = "test"
) -> list[PairedComparison]:
    """Each method against the reference, paired by seed and test example; the predictions say who is of one group.

    Seeds that only one of the two has finished are left out; a method that shares none with the reference is, too,
    and so are all on a test set of a single group: nothing can be told from it.
    """
    tables = {(record.method, record.seed): _answers(folder, split) for folder, record in runs.items()}
    methods = dict.fromkeys(method for method, _ in tables)
    found = []
    for method in methods:
        seeds = tuple(seed for name, seed in tables if name == method and (reference, seed) in tables)
        if method == reference or not seeds:
            continue
        ours, theirs = ([tables[name, seed] for seed in seeds] for name in (method, reference))
        if ours[0]["group"].nunique() < 2:
            continue
        labels = _shared([table["label"] for table in (*ours, *theirs)])
        names = sorted(set(labels) | {one for t in (*ours, *theirs) for one in t["predicted"]})
        number = {name: index for index, name in enumerate(names)}
        found.append(
            compare_pairs(
                labels.map(number).to_numpy(),
                np.stack([table["predicted"].map(number).to_numpy() for table in ours]),
                np.stack([table["predicted"].map(number).to_numpy() for table in theirs]),
                method=method,
                reference=reference,
                metric=metric,
                groups=ours[0]["group"],
                seeds=seeds,
            )
        )
    return found


def reference_of(methods: Sequence[str]) -> str:
    """What the others are held against: LoRA where it took part, else the first method."""
    return "lora" if "lora" in methods else methods[0]


def _together(records: Sequence[RunRecord], split: str) -> MethodScores:
    first = records[0]
    return MethodScores(
        method=first.method,
        seeds=tuple(one.seed for one in records),
        scores={name: _spread([one.scores[split][name] for one in records]) for name in SCORES},
        trainable=int(first.parameters["trainable"]),
        share=float(first.parameters["share"]),
        seconds=_spread([one.cost["train_seconds"] for one in records]),
        peak_bytes=_spread([one.cost["peak_bytes"] for one in records]),
    )


def _spread(values: Sequence[float]) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Spread(float(np.mean(values)), sd)


def _answers(folder: Path, split: str) -> pd.DataFrame:
    table = read_predictions(folder)
    return table[table["split"] == split].set_index("example").sort_index()


def _shared(labels: Sequence[pd.Series]) -> pd.Series:
    """The true labels, which all runs must have been tested on."""
    if not all(one.equals(labels[0]) for one in labels):
        raise ValueError("the runs were tested on different examples; compare runs of one study")
    return labels[0]
