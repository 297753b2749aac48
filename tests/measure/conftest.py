"""Runs of a small study of the tiny encoder, trained once for all measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_study import small_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, list[Path]]:
    """The runs of each method, in the order of `SEEDS`."""
    methods = [{"full": {"lr": 0.01}}, "lora", "flat-lora", "dora", "bag-of-words"]
    return small_study(tmp_path_factory.mktemp("measured"), tiny_model, methods)
