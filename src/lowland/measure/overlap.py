"""Overlap of the subspaces that two trainings of one layer learned.

φ = ‖Uᵀ V‖²_F / min(i, j) in [0, 1] for orthonormal U (n, i) and V (n, j) is the mean squared cosine of the principal
angles (Hu et al., 2021, section 7.2). It is 1 if one subspace holds the other. For subspaces drawn at random, its mean
is max(i, j) / n.
"""

from __future__ import annotations

from torch import Tensor

DIRECTIONS = 4
"""Number of leading singular directions of an update that are compared."""


def overlap(first: Tensor, second: Tensor) -> float:
    """Return φ of two subspaces.

    Args:
        first: orthonormal columns (n, i).
        second: orthonormal columns (n, j).
    """
    return float((first.T @ second).square().sum()) / min(first.shape[1], second.shape[1])


def random_overlap(first: Tensor, second: Tensor) -> float:
    """Return the mean of φ for subspaces of these sizes that are drawn at random."""
    return max(first.shape[1], second.shape[1]) / len(first)
