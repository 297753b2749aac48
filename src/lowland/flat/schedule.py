"""How strong the noise is as training goes on: sigma / rho as a function of the progress, from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


def cosine_ramp(progress: float) -> float:
    """½ (1 − cos(pi · progress)): from 0 at the start to 1 at the end (Li et al., 2025).

    Args:
        progress: t / T, optimizer steps (or tokens) done over all, in [0, 1].
    """
    return 0.5 * (1.0 - math.cos(math.pi * progress))


def linear_ramp(progress: float) -> float:
    """From 0 at the start to 1 at the end, in a line."""
    return progress


def constant(progress: float) -> float:
    """1 from the start to the end."""
    return 1.0


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "cosine": cosine_ramp,
    "linear": linear_ramp,
    "constant": constant,
}
"""By name."""
