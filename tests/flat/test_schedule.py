"""The schedules and their names."""

from __future__ import annotations

import math

import pytest

from lowland.flat import constant, cosine_ramp, linear_ramp
from lowland.flat.schedule import SCHEDULES


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_the_ramps_are_their_formulas(progress: float) -> None:
    assert cosine_ramp(progress) == pytest.approx(math.sin(math.pi * progress / 2) ** 2, abs=1e-12)
    assert linear_ramp(progress) == progress
    assert constant(progress) == 1


def test_they_start_and_end_where_they_say() -> None:
    assert (cosine_ramp(0), linear_ramp(0), constant(0)) == (0, 0, 1)
    assert (cosine_ramp(1), linear_ramp(1), constant(1)) == pytest.approx((1, 1, 1))


def test_each_has_its_name() -> None:
    assert {"cosine": cosine_ramp, "linear": linear_ramp, "constant": constant} == SCHEDULES
