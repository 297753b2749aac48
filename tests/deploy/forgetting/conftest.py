"""Runs of a small study of the tiny encoder, trained once for all tests here."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import BAD, FILL, GOOD
from tests.small_study import small_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, list[Path]]:
    """The runs of each method, in the order of `SEEDS`."""
    methods = [{"full": {"lr": 0.01}}, "lora", "rslora", "pissa", "dora", "bag-of-words"]
    return small_study(tmp_path_factory.mktemp("forgetting"), tiny_model, methods)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Texts of another task: whose news is it?"""
    rows = [
        (f"{filler} {verb} again {'again ' * n}".strip(), filler)
        for filler in FILL
        for verb in (*GOOD, *BAD)
        for n in range(3)
    ]
    path = tmp_path / "other.csv"
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(path, index=False)
    return path
