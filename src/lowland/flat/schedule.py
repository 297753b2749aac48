"""Schedules of the noise's strength: sigma / rho as a function of the training's progress, from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

Schedule = Callable[[float], float]
ScheduleName = Literal["cosine", "linear", "constant"]


def cosine_ramp(progress: float) -> float:
    """Return ½ (1 − cos(pi · progress)): 0 at the start, 1 at the end (Li et al., 2025).

    Args:
        progress: t / T, optimizer steps (or tokens) done over all, in [0, 1].
    """
    return 0.5 * (1.0 - math.cos(math.pi * progress))


def linear_ramp(progress: float) -> float:
    """Return the progress itself: 0 at the start, 1 at the end."""
    return progress


def constant(progress: float) -> float:
    """Return 1 from the start to the end."""
    return 1.0


SCHEDULES: Mapping[ScheduleName, Schedule] = {
    "cosine": cosine_ramp,
    "linear": linear_ramp,
    "constant": constant,
}
"""Schedules by name."""
