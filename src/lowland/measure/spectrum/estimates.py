"""Trace and spectral density of a matrix, from one long Lanczos run and several short ones orthogonal to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowland.ground.rng import stream_seed
from lowland.measure.spectrum.lanczos import Floats, Ritz, Tridiagonal, inner, lanczos

POINTS = 1000
"""Number of points of a density's grid."""
WIDTH = 1 / 250
"""Width (standard deviation) of the density's bumps, as a share of the range of eigenvalues."""


@dataclass(frozen=True)
class Estimate:
    """Number, or numbers, with the standard errors over the probes (0 if nothing was left to probe)."""

    value: Floats
    error: Floats


@dataclass(frozen=True)
class Probe:
    """Random vector v with entries of ±1, in what is orthogonal to a basis Q.

    Attributes:
        square: ‖v - QᵀQ·v‖².
        tridiagonal: T of the Lanczos run from that part of v.
    """

    square: float
    tridiagonal: Tridiagonal


@dataclass(frozen=True)
class Explored:
    """Lanczos runs of a symmetric matrix (n, n): all that is known of it.

    Attributes:
        size: n.
        main: T of the long Lanczos run, whose basis is Q (m, n).
        probes: the short ones, orthogonal to Q.
    """

    size: int
    main: Tridiagonal
    probes: tuple[Probe, ...]

    @property
    def ritz(self) -> Ritz:
        """Eigenvalues as the long run has them."""
        return self.main.ritz

    def trace(self) -> Estimate:
        """Estimate the trace by Hutch++: exact in Q, and by Hutchinson's estimate beside it.

        ``tr A ≈ tr QAQᵀ + mean over v of vᵀ(I - QᵀQ)·A·(I - QᵀQ)v``, which is right on average. In Hutch++ Q is a basis
        of A·S with random S; here it is the basis of the Lanczos run, which holds more of A for as many products.

        Sources: R. A. Meyer et al., "Hutch++: Optimal Stochastic Trace Estimation", 2021, algorithm 1; T. Chen, E.
        Hallman, "Krylov-Aware Stochastic Trace Estimation", 2023.
        """
        beside = [probe.square * probe.tridiagonal.diagonal[0] for probe in self.probes]
        return _over_probes(self.main.diagonal.sum(), np.array(beside))

    def density(self, grid: Floats) -> Estimate:
        """Estimate the share of eigenvalues at each point of a grid, smoothed; it integrates to 1.

        Stochastic Lanczos quadrature: the eigenvalues of the short runs' T stand for those beside Q, each with its
        weight; the m of the long run count as one each. Coupling of Q to what is beside it is left out.

        Source: B. Ghorbani, S. Krishnan, Y. Xiao, "An Investigation into Neural Net Optimization via Hessian Eigenvalue
        Density", 2019, algorithm 1.
        """
        known, width = len(self.main.diagonal), WIDTH * (grid[-1] - grid[0])
        inner = _bumps(grid, self.ritz.values, np.ones(known), width) / self.size
        ritz = [probe.tridiagonal.ritz for probe in self.probes]
        outer = [_bumps(grid, each.values, each.weights, width) for each in ritz]
        return _over_probes(inner, np.array(outer) * (self.size - known) / self.size)

    def grid(self) -> Floats:
        """Return a grid (POINTS,) over all eigenvalues that were seen."""
        seen = np.concatenate([self.ritz.values, *(probe.tridiagonal.ritz.values for probe in self.probes)])
        low, high = float(seen.min()), float(seen.max())
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return np.linspace(low - margin, high + margin, POINTS)


def explore(
    product: Callable[[Tensor], Tensor], like: Tensor, *, steps: int, probes: int, probe_steps: int, seed: int
) -> Explored:
    """Run Lanczos' algorithm on a symmetric matrix, once for long, and shortly beside what it found.

    Args:
        product: multiplies a vector (n,) by the matrix.
        like: (n,) a tensor of the vectors' dtype and device.
        steps: steps of the long Lanczos run.
        probes: number of short runs.
        probe_steps: steps of each short run.
        seed: seed of all start vectors; equal sizes have equal ones.
    """
    main, basis = lanczos(product, _signs(like, seed, 0), steps)
    size, shorter = like.numel(), []
    for number in range(1, probes + 1) if size > len(basis) else ():
        vector = _signs(like, seed, number)
        inside = float(inner(basis, vector).square().sum())
        short, _ = lanczos(product, vector, probe_steps, outside=basis)
        shorter.append(Probe(size - inside, short))
    return Explored(size, main, tuple(shorter))


def _signs(like: Tensor, seed: int, number: int) -> Tensor:
    """Return the probe of a number: a vector of ±1."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "measure", "spectrum", number))
    return torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8).to(like).mul_(2).sub_(1)


def _bumps(grid: Floats, places: Floats, weights: Floats, width: float) -> Floats:
    """Return a sum of normal densities (points,) at some places, each with its weight."""
    apart = (grid[:, None] - places) / width
    return np.asarray(np.exp(-(apart**2) / 2) @ weights / (width * np.sqrt(2 * np.pi)))


def _over_probes(known: Floats, beside: Floats) -> Estimate:
    """Return known + mean of what the probes (probes, …) say, with the standard error of this mean."""
    if not len(beside):
        return Estimate(np.asarray(known), np.zeros_like(known))
    return Estimate(known + beside.mean(0), beside.std(0, ddof=1) / np.sqrt(len(beside)))
