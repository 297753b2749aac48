"""Trace and density against dense matrices: exact where all is known, right on average, with honest errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lowland.measure.spectrum.estimates import Explored, explore
from tests.measure.spectrum.test_lanczos import LADDER, symmetric

MATRIX = symmetric(LADDER)


def explored(
    matrix: Tensor = MATRIX, *, seed: int = 0, steps: int = 8, probes: int = 4, short: int = 5
) -> Explored:
    like = torch.empty(len(matrix), dtype=matrix.dtype)
    return explore(matrix.mv, like, steps=steps, probes=probes, probe_steps=short, seed=seed)


def test_small_matrix_is_known_exactly() -> None:
    small = symmetric([4.0, 2.0, -1.0])
    known = explored(small, steps=10)
    assert known.probes == ()
    assert float(known.trace().value) == pytest.approx(5)
    assert float(known.trace().error) == 0
    grid = np.linspace(-3, 6, 2000)
    heights = known.density(grid).value
    peaks = grid[1:-1][(heights[1:-1] > heights[:-2]) & (heights[1:-1] > heights[2:])]
    np.testing.assert_allclose(peaks, [-1, 2, 4], atol=0.01)


def test_trace_is_right_on_average_and_its_error_says_how_far_it_is_off() -> None:
    traces = [explored(seed=seed, short=1).trace() for seed in range(200)]
    values, errors = np.array([float(t.value) for t in traces]), np.array([float(t.error) for t in traces])
    truth, spread = float(MATRIX.trace()), values.std(ddof=1)
    assert abs(values.mean() - truth) < 4 * spread / np.sqrt(200)
    assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.2)
    assert (
        spread < 8
    )  # sqrt(2) times the norm of what is beside the basis, over sqrt(4): Hutchinson alone has 43


def test_trace_counts_each_direction_once() -> None:
    identity = torch.eye(100, dtype=torch.float64)
    traces = [float(explored(identity, seed=seed, steps=30, short=1).trace().value) for seed in range(40)]
    assert np.mean(traces) == pytest.approx(100, abs=2)


def test_density_is_that_of_the_eigenvalues() -> None:
    known = explored(steps=10, probes=10, short=20)
    grid = known.grid()
    density = known.density(grid)
    step = grid[1] - grid[0]
    assert density.value.sum() * step == pytest.approx(1, abs=1e-6)
    assert (grid * density.value).sum() * step * 100 == pytest.approx(float(known.trace().value), abs=0.5)
    inside = (np.abs(grid) < 1.5) * step
    assert density.value @ inside == pytest.approx(0.96, abs=0.02)
    assert density.value @ ((grid > 45) * step) == pytest.approx(0.01, abs=1e-3)
    assert density.error.max() > 0


def test_same_seed_gives_the_same_numbers() -> None:
    first, again, other = explored(seed=1), explored(seed=1), explored(seed=2)
    assert float(first.trace().value) == float(again.trace().value) != float(other.trace().value)
    assert first.ritz.values.tolist() == again.ritz.values.tolist()


def test_products_are_as_many_as_announced() -> None:
    products = 0

    def product(vector: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return MATRIX @ vector

    explore(product, torch.empty(100, dtype=torch.float64), steps=7, probes=3, probe_steps=2, seed=0)
    assert products == 13


def test_matrix_of_zeros_has_a_grid_and_a_density() -> None:
    known = explored(torch.zeros(20, 20))
    grid = known.grid()
    assert known.density(grid).value.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)
    assert float(known.trace().value) == 0
