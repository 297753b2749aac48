"""Study of the tiny encoder that tests of its runs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowland.ground.record_files import read_record
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.conftest import table_of

SEEDS = (1, 2)
SMALL = {"epochs": 2, "batch_size": 4, "rank": 3, "lr": 0.01, "dtype": "fp32"}


def small_study(root: Path, model: Path, methods: Sequence[Any]) -> dict[str, list[Path]]:
    """Train methods on a small table; return the runs of each, in the order of `SEEDS`."""
    table_of(6).to_csv(root / "texts.csv", index=False)
    fields = {"task": "classification", "data": str(root / "texts.csv"), "model": str(model)}
    runs = run_study(
        Recipe(**fields, **SMALL, seeds=list(SEEDS), methods=list(methods), out=str(root / "runs"))
    )
    by_method: dict[str, list[Path]] = {}
    for run in runs:
        record = read_record(run)
        assert record.status == "finished", record.failure
        by_method.setdefault(record.method, []).append(run)
    return by_method
