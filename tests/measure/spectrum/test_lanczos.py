"""Lanczos' algorithm against dense eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hessian_eigenthings import LambdaOperator
from hessian_eigenthings import lanczos as their_lanczos
from torch import Tensor

from lowland.measure.spectrum.lanczos import lanczos


def symmetric(values: list[float] | Tensor, seed: int = 0) -> Tensor:
    """A matrix with these eigenvalues and random eigenvectors, in float64."""
    values = torch.as_tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    vectors, _ = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    )
    return vectors @ torch.diag(values) @ vectors.T


def start(size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


LADDER = torch.cat([torch.tensor([50.0, 30.0, 10.0, -8.0]), torch.linspace(-1, 1, 96)])


def test_all_steps_give_all_eigenvalues() -> None:
    matrix = symmetric(np.linspace(-2, 5, 12).tolist())
    tridiagonal, basis = lanczos(matrix.mv, start(12), 40)
    assert basis.shape == (12, 12)
    np.testing.assert_allclose(tridiagonal.ritz.values, np.linspace(5, -2, 12), atol=1e-10)
    assert tridiagonal.ritz.residuals.max() < 1e-5


def test_few_steps_give_the_outer_eigenvalues() -> None:
    ritz = lanczos(symmetric(LADDER).mv, start(100), 15)[0].ritz
    np.testing.assert_allclose(ritz.values[:3], [50, 30, 10], rtol=1e-6)
    assert ritz.values[-1] == pytest.approx(-8, rel=1e-5)
    assert ritz.weights.sum() == pytest.approx(1)


def test_residuals_are_those_of_the_approximate_eigenvectors() -> None:
    matrix = symmetric(LADDER)
    tridiagonal, basis = lanczos(matrix.mv, start(100), 6)
    ritz, couplings = tridiagonal.ritz, tridiagonal.couplings[:-1]
    small = np.diag(tridiagonal.diagonal) + np.diag(couplings, 1) + np.diag(couplings, -1)
    np.testing.assert_allclose(small, (basis @ matrix @ basis.T).numpy(), atol=1e-10)
    values, vectors = np.linalg.eigh(small)
    for value, vector, residual, known in zip(
        values[::-1], vectors.T[::-1], ritz.residuals, ritz.values, strict=True
    ):
        long = torch.from_numpy(vector) @ basis
        assert value == pytest.approx(known)
        assert float((matrix @ long - value * long).norm()) == pytest.approx(residual, rel=1e-6)
        assert float((LADDER - value).abs().min()) <= residual * (1 + 1e-9)


def test_repeated_eigenvalues_are_all_found() -> None:
    ritz = lanczos(symmetric([3, 3, 3, 1, 0, 0, 0, 0]).mv, start(8), 8)[0].ritz
    np.testing.assert_allclose(ritz.values, [3, 3, 3, 1, 0, 0, 0, 0], atol=1e-9)


def test_zero_matrix_has_zeros() -> None:
    ritz = lanczos(torch.zeros_like, start(9), 4)[0].ritz
    assert ritz.values.tolist() == [0.0] * 4
    assert ritz.residuals.tolist() == [0.0] * 4


def test_run_outside_a_basis_sees_only_what_is_orthogonal_to_it() -> None:
    matrix = symmetric(LADDER)
    _, vectors = torch.linalg.eigh(matrix)
    largest = vectors[:, -2:].T.contiguous()
    tridiagonal, basis = lanczos(matrix.mv, start(100), 20, outside=largest)
    assert float((basis @ largest.T).abs().max()) < 1e-12
    assert tridiagonal.ritz.values[0] == pytest.approx(10)


def test_basis_stays_orthogonal_in_float32() -> None:
    matrix = symmetric(LADDER).float()
    _, basis = lanczos(matrix.mv, start(100).float(), 60)
    torch.testing.assert_close(basis @ basis.T, torch.eye(60), atol=1e-5, rtol=0)


def test_errors_are_true_for_long_vectors_in_float32() -> None:
    diagonal = torch.full((2_000_000,), 0.5)
    diagonal[:4] = torch.tensor([9.0, 7.0, 4.0, -3.0])

    def apply(vector: Tensor) -> Tensor:
        return diagonal * vector

    signs = torch.randint(0, 2, diagonal.shape, generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    tridiagonal, basis = lanczos(apply, signs + 10 * (diagonal != 0.5), 5)
    basis = basis.double()
    torch.testing.assert_close(basis @ basis.T, torch.eye(5, dtype=torch.float64), atol=2e-5, rtol=0)
    for row in basis[:-1]:
        assert float(row.norm()) == pytest.approx(1, abs=1e-6)
    assert abs(tridiagonal.ritz.values[0] - 9) <= tridiagonal.ritz.residuals[0]


def test_eigenvalues_are_those_of_hessian_eigenthings() -> None:
    matrix = symmetric(LADDER)
    operator = LambdaOperator(matrix.mv, 100, dtype=torch.float64)
    theirs = their_lanczos(operator, k=3, max_iter=30, which="LA", seed=0)
    ours = lanczos(matrix.mv, start(100), 20)[0].ritz
    np.testing.assert_allclose(ours.values[:3], np.sort(theirs.eigenvalues.numpy())[::-1], rtol=1e-4)
