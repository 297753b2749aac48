"""Lanczos' algorithm: a small tridiagonal matrix that shares the outer eigenvalues of a large symmetric one.

`scipy.sparse.linalg.eigsh` finds the same eigenvalues, but keeps its basis to itself. With the basis at hand, trace and
density need no further products for the directions that are known already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

Floats = npt.NDArray[np.float64]

PIECE = 2**13
"""Number of entries of a vector that are summed in its own precision."""
ROUNDING = 1e-6
"""Share of the largest value that is rounding error of products in float32."""


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues of a matrix, from the largest to the smallest.

    Attributes:
        values: (m,) theta.
        residuals: (m,) ‖A·y - theta·y‖ of the approximate eigenvector y, not below rounding error: an eigenvalue of A
            lies within this distance.
        weights: (m,) squared share of y in the start vector; they sum to 1.
    """

    values: Floats
    residuals: Floats
    weights: Floats


@dataclass(frozen=True)
class Tridiagonal:
    """Tridiagonal matrix T = Q·A·Qᵀ of a symmetric matrix A.

    Attributes:
        diagonal: (m,) diagonal of T.
        couplings: (m,) entries of T beside the diagonal; the last one couples to the direction that would come next.
    """

    diagonal: Floats
    couplings: Floats

    @property
    def ritz(self) -> Ritz:
        """Eigenvalues of T."""
        rising, vectors = eigh_tridiagonal(self.diagonal, self.couplings[:-1])
        values, vectors = np.array(rising[::-1], dtype=np.float64), vectors[:, ::-1]
        residuals = np.maximum(self.couplings[-1] * np.abs(vectors[-1]), ROUNDING * np.abs(values).max())
        return Ritz(values, residuals, vectors[0] ** 2)


def lanczos(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int, outside: Tensor | None = None
) -> tuple[Tridiagonal, Tensor]:
    """Run Lanczos' algorithm with full reorthogonalisation.

    In step j, ``w = A·q_j``, ``alpha_j = q_jᵀ·w``; w is made orthogonal to all q so far, twice; ``beta_j = ‖w‖`` and
    ``q_(j+1) = w / beta_j``. If nothing is left of w, the q so far span a space that A does not lead out of, and the
    next q is a random direction, with ``beta_j = 0``.

    Source: G. H. Golub, C. F. Van Loan, "Matrix Computations", 2013, section 10.1.

    Args:
        product: multiplies a vector (n,) by A, once in each step.
        start: (n,) vector to begin with.
        steps: number of steps m; at most as many are done as there are directions.
        outside: (k, n) orthonormal rows; all is done in what is orthogonal to them.

    Returns:
        T, and the basis Q (m, n) with orthonormal rows.
    """
    size = start.numel()
    outside = start.new_empty(0, size) if outside is None else outside
    steps = min(steps, size - len(outside))
    basis = start.new_empty(steps, size)
    diagonal, couplings = np.zeros(steps), np.zeros(steps)
    following = _unit(start, outside)
    for j in range(steps):
        basis[j] = following
        image = product(basis[j])
        diagonal[j] = float(inner(basis[j : j + 1], image))
        following = _orthogonal(image, outside, basis[: j + 1])
        couplings[j] = _length(following)
        if couplings[j] > ROUNDING * max(np.abs(diagonal).max(), couplings.max()):
            following /= couplings[j]
            continue
        couplings[j] = 0.0
        if j + 1 < steps:
            generator = torch.Generator().manual_seed(j)
            other = torch.randn(size, generator=generator, dtype=torch.float32).to(start)
            following = _unit(other, outside, basis[: j + 1])
    return Tridiagonal(diagonal, couplings), basis


def inner(rows: Tensor, vector: Tensor) -> Tensor:
    """Return the inner products (k,) of rows (k, n) with a vector (n,) in float64.

    They are summed in float32 over short pieces only: over ten million entries, a basis would lose its orthogonality.
    """
    pieces = zip(rows.split(PIECE, dim=1), vector.split(PIECE), strict=True)
    return torch.stack([(part @ piece).double() for part, piece in pieces]).sum(0)


def _unit(vector: Tensor, *bases: Tensor) -> Tensor:
    rest = _orthogonal(vector.clone(), *bases)
    return rest.div_(_length(rest))


def _length(vector: Tensor) -> float:
    return math.sqrt(float(inner(vector[None], vector)))


def _orthogonal(vector: Tensor, *bases: Tensor) -> Tensor:
    """Take out of a vector, in place, what lies in the rows of the bases; twice, because of rounding."""
    for basis in (*bases, *bases):
        vector -= inner(basis, vector).to(vector.dtype) @ basis
    return vector
