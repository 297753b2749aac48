"""The public names of `lowland.flat`, and what can be imported without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lowland import flat

WITHOUT_TORCH = """
import sys
from lowland import flat
from lowland.flat import FlatConfig
from lowland.flat.config import RHO, Rho
from lowland.flat.schedule import SCHEDULES
assert FlatConfig().rho == RHO
assert "torch" not in sys.modules
"""


def test_the_options_need_no_torch() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH], check=True)


def test_every_public_name_can_be_loaded() -> None:
    assert {"FlatConfig", "FlatLoRA", "Noise", "arm", "auto_rho"} <= set(flat.__all__)
    assert all(callable(getattr(flat, name)) for name in flat.__all__)
    with pytest.raises(AttributeError):
        flat.unknown  # noqa: B018


def test_a_submodule_that_is_imported_first_hides_no_public_name() -> None:
    code = (
        "import lowland.flat.arming, lowland.flat.auto; from lowland import flat; assert callable(flat.arm)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
