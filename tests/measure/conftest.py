"""Runs of a small study of the tiny encoder, trained once for all measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.ground.record_files import read_record
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.conftest import table_of

SEEDS = (1, 2)
SMALL = {"epochs": 2, "batch_size": 4, "rank": 3, "lr": 0.01, "dtype": "fp32"}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, list[Path]]:
    """The runs of each method, in the order of `SEEDS`."""
    root = tmp_path_factory.mktemp("measured")
    table_of(6).to_csv(root / "texts.csv", index=False)
    methods = [{"full": {"lr": 0.01}}, "lora", "flat-lora", "dora", "bag-of-words"]
    fields = {"task": "classification", "data": str(root / "texts.csv"), "model": str(tiny_model)}
    runs = run_study(Recipe(**fields, **SMALL, seeds=list(SEEDS), methods=methods, out=str(root / "runs")))
    by_method: dict[str, list[Path]] = {}
    for run in runs:
        record = read_record(run)
        assert record.status == "finished", record.failure
        by_method.setdefault(record.method, []).append(run)
    return by_method
