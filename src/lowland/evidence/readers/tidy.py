"""Reader of runs for other tools: tidy tables, with one row for each run and score, or for each run and example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord, title_of
from lowland.ground.visible import visible

VALIDATION = "validation"
VERSIONS = ("python", "torch", "transformers")
"""Versions in a record's environment that a row of scores holds."""
SCORE_COLUMNS = (
    "task", "method", "seed", "split", "metric", "value", "trainable", "train_seconds", "test_seconds", "peak_bytes",
    "model", "dtype", "lowland", *VERSIONS, "key", "run",
)  # fmt: skip
"""Columns of `score_rows`."""


def score_rows(runs: Mapping[Path, RunRecord]) -> pd.DataFrame:
    """Return a row for each run, split and score, with the columns `SCORE_COLUMNS`; `run` is the folder's name.

    Args:
        runs: records of finished runs, by folder.
    """
    rows = [
        {**_about(folder, record), "split": split, "metric": metric, "value": value}
        for folder, record in runs.items()
        for split, scores in {**record.scores, VALIDATION: record.validation}.items()
        for metric, value in scores.items()
    ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def prediction_rows(runs: Mapping[Path, RunRecord]) -> pd.DataFrame:
    """Return a row for each run and test example: task, method, seed, run and key, then the columns of its predictions.

    Args:
        runs: records of finished runs, by folder.

    Raises:
        Mistake: if predictions cannot be read.
    """
    tables = []
    for folder, record in runs.items():
        table = read_predictions(folder)
        named = {name: _about(folder, record)[name] for name in ("task", "method", "seed", "run", "key")}
        own = pd.DataFrame({name: [value] * len(table) for name, value in named.items()}, index=table.index)
        tables.append(pd.concat([own, table[[name for name in table.columns if name not in named]]], axis=1))
    return pd.concat(tables, ignore_index=True)


def _about(folder: Path, record: RunRecord) -> dict[str, Any]:
    return {
        "task": visible(record.task),
        "method": visible(record.method),
        "seed": record.seed,
        "trainable": record.parameters.get("trainable"),
        "train_seconds": record.cost.get("train_seconds"),
        "test_seconds": record.cost.get("test_seconds"),
        "peak_bytes": record.cost.get("peak_bytes"),
        "model": visible(title_of(record.model)),
        "dtype": record.environment.get("dtype"),
        "lowland": record.code.get("lowland"),
        **{name: record.environment.get(name) for name in VERSIONS},
        "key": record.key,
        "run": visible(folder.name),
    }
