"""What the tests of images share: drawn images, and tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images import draw_folder, save_clip, save_vit


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder with 30 images of each shape."""
    return draw_folder(tmp_path / "shapes")


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("model") / "vit")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("model") / "clip")


@pytest.fixture
def lowland_run(lowland: Callable[..., tuple]) -> Callable[..., tuple]:
    """The command line; the name `lowland` is the package's in the tests."""
    return lowland
