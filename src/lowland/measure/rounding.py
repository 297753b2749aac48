"""Loss of small entries of an update that is merged into weights of few bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spacing(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the distance of neighbouring numbers of a data type at each entry of a weight: one ulp."""
    limits = torch.finfo(dtype)
    exponents = torch.frexp(weight)[1] - 1  # 2^e <= |w| < 2^(e + 1)
    lowest = round(math.log2(limits.smallest_normal))
    return torch.exp2(exponents.clamp(min=lowest).to(weight.dtype)) * limits.eps


def lost_share(weight: Tensor, update: Tensor, dtype: torch.dtype) -> float:
    """Return the share of an update's entries that are below half an ulp of the weight's.

    If the weight is a number of the data type already, such an entry changes nothing when it is merged.

    Args:
        weight: W.
        update: s·BA, of the same shape.
        dtype: data type of the merged weight.
    """
    return float((update.abs() < spacing(weight, dtype) / 2).double().mean())
