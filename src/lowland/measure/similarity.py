"""Similarity of two models' representations of the same inputs: linear CKA, and the mean cosine.

Linear CKA (Kornblith et al., 2019) is HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) with linear kernels XXᵀ and YYᵀ. HSIC is
estimated without bias (Song et al., 2012), since the usual estimate is far above 0 for unrelated representations with
more features than inputs.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def linear_cka(first: Array, second: Array) -> float:
    """Return the linear CKA of two representations.

    It is 1 if one is the other rotated, scaled or shifted, about 0 if they are unrelated, and NaN
    if a representation is the same for all inputs.

    Args:
        first: (n, features) of n inputs; n is at least 4.
        second: (n, other features) of the same inputs.
    """
    k, m = _kernel(first), _kernel(second)
    own = hsic(k, k) * hsic(m, m)
    return hsic(k, m) / math.sqrt(own) if own > 0 else math.nan


def hsic(k: Array, m: Array) -> float:
    """Return the unbiased estimate of HSIC of two kernels (n, n) whose diagonals are zero (Song et al., 2012, eq. 5).

    (tr(KL) + 1ᵀK1 · 1ᵀL1 / ((n - 1)(n - 2)) - 2/(n - 2) · 1ᵀKL1) / (n (n - 3))
    """
    n = len(k)
    total = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = 2 / (n - 2) * (k.sum(0) @ m.sum(0))
    return float(((k * m).sum() + total - cross) / (n * (n - 3)))


def mean_cosine(first: Array, second: Array) -> float:
    """Return the mean over inputs of the cosine of two representations (n, features)."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean((first * second).sum(1) / norms))


def _kernel(states: Array) -> Array:
    """Return the kernel XXᵀ (n, n) of centred, scaled states, with zeros in its diagonal."""
    centred = states - states.mean(0)
    size = np.linalg.norm(centred)
    scaled = centred / size if size > 0 else centred
    kernel: Array = scaled @ scaled.T
    np.fill_diagonal(kernel, 0.0)
    return kernel
