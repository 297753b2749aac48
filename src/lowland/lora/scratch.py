"""Memory for a weight that lives for one matrix product: W + s·BA, W + eps.

A fresh block of that size is a page fault every 4 KiB, which costs as much as filling it.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

_BUFFERS = threading.local()


def scratch(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor with the shape and strides of a weight, to be used before the next one is asked for.

    On CPUs, for plain tensors, and where nothing keeps it for derivatives; elsewhere a new one. The memory stays, as
    large as the largest weight so far; each thread has its own.
    """
    dtype = dtype or like.dtype
    dense = like.is_contiguous() or like.T.is_contiguous()
    plain = type(like) in (Tensor, nn.Parameter) and like.device.type == "cpu" and dense
    if torch.is_grad_enabled() or not plain:
        return torch.empty_like(like, dtype=dtype)
    buffers: dict[str, Tensor] = _BUFFERS.__dict__
    key = str(dtype)
    if key not in buffers or buffers[key].numel() < like.numel():
        with torch.inference_mode(False):  # else training could not write to it
            buffers[key] = torch.empty(like.numel(), dtype=dtype)
    return buffers[key].as_strided(like.shape, like.stride())
