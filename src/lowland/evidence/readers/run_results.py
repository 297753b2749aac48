"""Reader of lowland's runs as results: one for each method, with its seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lowland.evidence.readers.lm_eval_results import choose
from lowland.evidence.readers.runs import MEAN_SCORE, TEST, finished
from lowland.evidence.readers.table_results import Columns
from lowland.evidence.results import Results, as_results
from lowland.evidence.study import reference_of
from lowland.ground.listing import entries_at, finished_runs
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions


def are_runs(path: Path) -> bool:
    """Return whether a folder is a run, or holds runs."""
    return path.is_dir() and (
        (path / "record.json").is_file() or any(path.glob("*/record.json")) or any(path.glob(".*.begun"))
    )


def read_runs(path: Path, metric: str | None, columns: Columns) -> list[Results]:
    """Read the finished training runs of a folder: scores of their test examples.

    Raises:
        Mistake: if there is none, or their examples' scores are not those of the metric.
    """
    entries = entries_at(path)
    if damaged := [entry for entry in entries if entry.state in ("damaged", "other version")]:
        raise Mistake(f"{damaged[0].folder}: {damaged[0].reason}; move it away to compare the other runs")
    runs = finished(list(finished_runs(entries)))
    if not runs:
        raise Mistake(f"{path} holds no finished training run")
    results = []
    methods = list(dict.fromkeys(record.method for record in runs.values()))
    reference = reference_of(methods)
    for method in sorted(methods, key=lambda name: name != reference):  # the reference comes first
        chosen = {folder: record for folder, record in runs.items() if record.method == method}
        if len({record.seed for record in chosen.values()}) < len(chosen):
            raise Mistake(
                f"{path} holds several runs of {method} with one seed, which differ in their settings or data; name"
                " the folders of the runs to compare"
            )
        data = {record.data.get("sha256") for record in chosen.values()}
        if len(data) > 1:
            raise Mistake(
                f"{path}: the runs of {method} were tested on different data; compare runs of one study"
            )
        tables = []
        for folder, record in chosen.items():
            table = read_predictions(folder)
            tables.append(table[table["split"] == TEST].assign(seed=record.seed))
        rows = pd.concat(tables)[["example", "seed", "group", "score", "text"]]
        means = [table["score"].mean() for table in tables]
        names = [
            name
            for name in next(iter(chosen.values())).scores[TEST]
            if all(
                abs(record.scores[TEST].get(name, float("nan")) - mean) < 1e-6
                for record, mean in zip(chosen.values(), means, strict=True)
            )
        ]
        title = choose(names[:1] or [MEAN_SCORE], metric, f"{path}, for each example,")
        results.append(as_results(rows, method, title, str(path), str(data.pop())))
    return results
