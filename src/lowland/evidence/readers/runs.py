"""Reader of runs: finished records, and scores of two methods paired by seed and test example."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.evidence.core.metrics import Floats
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record, renewal
from lowland.ground.records import RunRecord

MEAN_SCORE = "mean score"
"""Name of the compared score if the records name none that is the mean of the examples' scores."""

TEST = "test"
"""Test set that every run has."""

ScoredRun = tuple[RunRecord, pd.DataFrame]
"""A record, and its `group` and `score` for each test example."""


@dataclass(frozen=True)
class PairedScores:
    """Scores of a method and a reference on the same test examples, for the seeds that both have.

    Attributes:
        method: label of the method.
        reference: label of the reference.
        metric: name of the recorded score that is the mean of the examples' scores, or `MEAN_SCORE`.
        seeds: the S seeds.
        scores: (S, N) the method's scores.
        scores_reference: (S, N) the reference's scores.
        groups: (N,) the groups of the examples.
    """

    method: str
    reference: str
    metric: str
    seeds: tuple[int, ...]
    scores: Floats
    scores_reference: Floats
    groups: tuple[Hashable, ...]


def finished(folders: Sequence[Path]) -> dict[Path, RunRecord]:
    """Return the records of the runs that finished, by folder.

    Raises:
        Mistake: if a record cannot be read, or lacks what a report shows.
    """
    records = {folder: read_record(folder) for folder in folders}
    records = {folder: record for folder, record in records.items() if record.status == "finished"}
    for folder, record in records.items():
        if missing := _missing(record):
            raise Mistake(
                f"{folder / 'record.json'} is damaged: it lacks {', '.join(missing)}; {renewal(folder)}"
            )
    return records


def _missing(record: RunRecord) -> list[str]:
    """Return the entries that a finished run has, and this record lacks."""
    sizes, name = record.data.get("sizes"), record.model.get("name")
    scores = {split: list(values) for split, values in record.scores.items()}
    missing = {
        "data.sizes": not isinstance(sizes, dict) or not isinstance(sizes.get(TEST), int),
        "model.name": not isinstance(name, str),
        f"scores.{TEST}": not scores.get(TEST),
        **{f"parameters.{key}": key not in record.parameters for key in ("trainable", "share")},
        **{f"cost.{key}": key not in record.cost for key in ("train_seconds", "peak_bytes")},
        **{
            f"baseline.{method}.{split}": bool(scores.get(split)) and scores[split][0] not in values
            for method, by_split in record.baseline.items()
            for split, values in by_split.items()
        },
    }
    return [entry for entry, is_missing in missing.items() if is_missing]


def pair_scores(runs: Mapping[Path, RunRecord], reference: str, split: str) -> list[PairedScores]:
    """Pair the scores of each method with those of the reference, by seed and test example.

    Seeds that only one of the two has are left out. A method that shares no seed with the reference is left out, too.

    Args:
        runs: records of finished runs, by folder.
        reference: label of the reference method.
        split: name of the test set.

    Raises:
        Mistake: if the runs of a pair have different data or test examples.
    """
    tables = {
        (record.method, record.seed): (record, _read_scores(folder, split)) for folder, record in runs.items()
    }
    pairs = []
    for method in dict.fromkeys(method for method, _ in tables):
        seeds = tuple(seed for name, seed in tables if name == method and (reference, seed) in tables)
        if method != reference and seeds:
            ours = [tables[method, seed] for seed in seeds]
            theirs = [tables[reference, seed] for seed in seeds]
            pairs.append(_pair(ours, theirs, seeds, split))
    return pairs


def _pair(
    ours: Sequence[ScoredRun], theirs: Sequence[ScoredRun], seeds: tuple[int, ...], split: str
) -> PairedScores:
    _check_same_examples([*ours, *theirs])
    return PairedScores(
        method=ours[0][0].method,
        reference=theirs[0][0].method,
        metric=_name_score([*ours, *theirs], split),
        seeds=seeds,
        scores=np.stack([table["score"].to_numpy(np.float64) for _, table in ours]),
        scores_reference=np.stack([table["score"].to_numpy(np.float64) for _, table in theirs]),
        groups=tuple(ours[0][1]["group"]),
    )


def _read_scores(folder: Path, split: str) -> pd.DataFrame:
    """Return group and score of each example of a test set, in the order of the examples' numbers."""
    table = read_predictions(folder)
    return table[table["split"] == split].set_index("example").sort_index()[["group", "score"]]


def _check_same_examples(runs: Sequence[ScoredRun]) -> None:
    """Raise Mistake unless all runs have the same data, and the same test examples in the same groups."""
    first_record, first_table = runs[0]
    for record, table in runs[1:]:
        same_data = record.data.get("sha256") == first_record.data.get("sha256")
        if not same_data or not table["group"].equals(first_table["group"]):
            raise Mistake(
                f"the runs of {first_record.method}, seed {first_record.seed}, and {record.method}, seed"
                f" {record.seed}, were tested on different examples; compare runs of one study"
            )


def _name_score(runs: Sequence[ScoredRun], split: str) -> str:
    """Return the first recorded score that equals the mean of the examples' scores in every run."""
    for name in runs[0][0].scores.get(split, {}):
        recorded = [record.scores.get(split, {}).get(name, np.nan) for record, _ in runs]
        if np.allclose(recorded, [table["score"].mean() for _, table in runs], rtol=1e-6, atol=1e-9):
            return name
    return MEAN_SCORE
