"""Reusable memory for a weight that is needed for one matrix product only: W + s·BA, or W + eps.

Fresh memory of that size causes a page fault every 4 KiB, which takes as long as filling it.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

_BUFFERS = threading.local()


def scratch(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialised tensor with the shape and strides of a weight, valid until the next call.

    Plain tensors on a CPU share one buffer per thread and data type, which grows to the size of the largest weight
    so far. While gradients are recorded, and for all other tensors, the result is a new tensor.

    Args:
        like: the weight.
        dtype: data type of the result; default: that of `like`.
    """
    dtype = dtype or like.dtype
    dense = like.is_contiguous() or like.T.is_contiguous()
    plain = type(like) in (Tensor, nn.Parameter) and like.device.type == "cpu" and dense
    if torch.is_grad_enabled() or not plain:
        return torch.empty_like(like, dtype=dtype)
    buffers: dict[str, Tensor] = _BUFFERS.__dict__
    key = str(dtype)
    if key not in buffers or buffers[key].numel() < like.numel():
        with torch.inference_mode(False):  # training cannot write to a buffer that was made in inference mode
            buffers[key] = torch.empty(like.numel(), dtype=dtype)
    return buffers[key].as_strided(like.shape, like.stride())
