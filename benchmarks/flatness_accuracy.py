"""Do flatter runs score higher, at the same training loss? (docs/results/flat-protocol.md, question 8)

    lowland measure sharpness runs/mrpc --splits train --out mrpc-rises.parquet
    lowland study export runs/mrpc --predictions --out mrpc-scores.parquet
    python benchmarks/flatness_accuracy.py --rises mrpc-rises.parquet --scores mrpc-scores.parquet --out flatness.json

Files of several tasks stand in the same order behind both options. Each measure of sharpness is correlated with the
test score over the runs of a task: by ranks, with the rank of the training loss taken out (partial Spearman
correlation). Below 0, flatter runs score higher. Then once more with the methods' means taken out: over the runs of
one method. Tasks are pooled by Fisher's z, with the weights n - 3 - (variables that were taken out). p comes from
permutations of the scores' residuals within each task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, rankdata

from lowland.ground.rng import stream

PERMUTATIONS = 10_000
MEASURE = ["space", "measure", "strength"]
Floats = npt.NDArray[np.float64]


def runs_of(rises: pd.DataFrame, scores: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """Return for each measure a table of runs with the columns `rise`, `loss`, `score` and `method`.

    Args:
        rises: table of `lowland measure sharpness`; its rows of the split `train` are used.
        scores: table of `lowland study export --predictions`; its rows of the split `test` are used.
    """
    run = ["method", "seed"]
    score = scores[scores["split"] == "test"].groupby(run)["score"].mean()
    train = rises[rises["split"] == "train"]
    return {
        key: own.groupby(run)[["rise", "loss"]].mean().join(score, how="inner").reset_index()
        for key, own in train.groupby(MEASURE, sort=False)
    }


def residuals(runs: pd.DataFrame, *, within_methods: bool) -> tuple[Floats, Floats, int]:
    """Return the ranks of rise and score without what the rank of the loss explains, and the number of variables.

    Args:
        runs: the runs of a task.
        within_methods: whether to take out the methods' means, too.
    """
    columns = [np.ones(len(runs)), rankdata(runs["loss"])]
    if within_methods:
        columns += list(pd.get_dummies(runs["method"], drop_first=True, dtype=float).to_numpy().T)
    taken_out = np.stack(columns, axis=1)
    ranks = np.stack([rankdata(runs["rise"]), rankdata(runs["score"])], axis=1)
    left = ranks - taken_out @ np.linalg.lstsq(taken_out, ranks, rcond=None)[0]
    return left[:, 0], left[:, 1], taken_out.shape[1] - 1


def correlation(tasks: Sequence[pd.DataFrame], *, within_methods: bool) -> dict[str, float | int]:
    """Return the pooled partial correlation with a 95 % interval and p.

    Raises:
        ValueError: if no task has enough runs.
    """
    parts = [residuals(runs, within_methods=within_methods) for runs in tasks]
    parts = [
        (x, y, taken_out) for x, y, taken_out in parts if len(x) - 3 - taken_out > 0 and x.std() and y.std()
    ]
    if not parts:
        raise ValueError("no task has enough runs that differ")
    weights = np.array([len(x) - 3 - taken_out for x, _, taken_out in parts], float)

    def pooled(shuffled: Sequence[Floats]) -> float:
        r = [np.corrcoef(x, y)[0, 1] for (x, _, _), y in zip(parts, shuffled, strict=True)]
        return float(weights @ np.arctanh(np.clip(r, -0.999999, 0.999999)) / weights.sum())

    z, rng = pooled([y for _, y, _ in parts]), stream(0, "flatness and accuracy")
    null = [pooled([rng.permutation(y) for _, y, _ in parts]) for _ in range(PERMUTATIONS)]
    half = norm.ppf(0.975) / np.sqrt(weights.sum())
    return {
        "r": float(np.tanh(z)),
        "low": float(np.tanh(z - half)),
        "high": float(np.tanh(z + half)),
        "p": (1 + int(np.sum(np.abs(null) >= abs(z) - 1e-12))) / (1 + PERMUTATIONS),
        "tasks": len(parts),
        "runs": sum(len(x) for x, _, _ in parts),
    }


def main() -> None:
    """Correlate, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rises", type=Path, nargs="+", required=True)
    parser.add_argument("--scores", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    tasks = [
        runs_of(pd.read_parquet(rises), pd.read_parquet(scores))
        for rises, scores in zip(asked.rises, asked.scores, strict=True)
    ]
    rows = []
    for key in tasks[0]:
        runs = [task[key] for task in tasks if key in task]
        for within in (False, True):
            figures = correlation(runs, within_methods=within)
            rows.append({**dict(zip(MEASURE, key, strict=True)), "within_methods": within, **figures})
    asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
