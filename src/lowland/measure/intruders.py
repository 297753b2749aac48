"""Intruder dimensions: leading singular vectors of a trained weight that resemble no singular vector of the base's.

Shuttleworth et al. (2024, arXiv 2410.21228): for each of the k leading left singular vectors u of W' = W + ΔW, the
similarity is max_j |cos(u, u_j)| over all left singular vectors u_j of W; u is an intruder if that is below epsilon.
The authors' code takes k = 10 and epsilon = 0.5, and so does PEFT's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEADING = 10
"""Number k of leading singular vectors of a trained weight, as in the authors' code."""
EPSILON = 0.5
"""Similarity below which a vector is an intruder, as in the authors' code."""
SMALL = 8
"""A matrix whose smaller side is at most k times this is decomposed whole."""


def left_vectors(weight: Tensor) -> Tensor:
    """Return all left singular vectors (out, min(out, in)) of a weight (out, in)."""
    vectors: Tensor = torch.linalg.svd(weight, full_matrices=False)[0]
    return vectors


def leading_left_vectors(weight: Tensor, k: int) -> Tensor:
    """Return the k leading left singular vectors (out, k) of a weight, the largest singular value first.

    A large matrix is decomposed by Lanczos iterations from a fixed start.
    """
    smaller = min(weight.shape)
    if smaller <= SMALL * k:
        return left_vectors(weight)[:, :k]
    from scipy.sparse.linalg import svds

    start = np.ones(smaller, dtype=np.float32)
    vectors, values, _ = svds(weight.float().numpy(), k=k, v0=start)
    order = np.argsort(-values, kind="stable")
    return torch.from_numpy(np.ascontiguousarray(vectors[:, order])).to(weight.dtype)


def similarities(of_base: Tensor, trained: Tensor, k: int = LEADING) -> Tensor:
    """Return max_j |cos(u, u_j)| (k,) of each leading left singular vector of a trained weight.

    Args:
        of_base: all left singular vectors (out, n) of the base's weight.
        trained: the trained weight (out, in).
        k: number of leading vectors; fewer if the matrix has fewer.
    """
    leading = leading_left_vectors(trained, min(k, *trained.shape))
    return (leading.T @ of_base).abs().amax(dim=1)
