"""How strong the noise is as training goes on."""

from __future__ import annotations

import math


def cosine_ramp(progress: float) -> float:
    """½ (1 − cos(pi · progress)): from 0 at the start to 1 at the end (Li et al., 2025).

    Args:
        progress: t / T, optimizer steps done over all, in [0, 1].
    """
    return 0.5 * (1.0 - math.cos(math.pi * progress))
