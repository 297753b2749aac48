"""EFMLoRA's perturbation against the paper's equations with full matrices and torch's pseudo-inverse."""

import pytest
import torch

from lowland.train.rivals.efm import perturbation_of_b


def reference(a, b, grad_a, grad_b, s, rho):
    """Equations 12, 13 and 15, with the gradient of W formed."""
    grad_w = 0.5 * (grad_b @ torch.linalg.pinv(a.T) / s + torch.linalg.pinv(b.T) @ grad_a / s)  # (out, in)
    return rho * grad_w / grad_w.norm() @ torch.linalg.pinv(a) / s


@pytest.mark.parametrize("start", ["trained", "zeros", "dependent rows"])
def test_the_factored_form_is_that_of_full_matrices(start):
    torch.manual_seed(1)
    s, rho = 2.0, 0.05
    a, b = torch.randn(3, 7, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    if start == "zeros":  # LoRA's start
        b = torch.zeros_like(b)
    if start == "dependent rows":
        b[:, 2] = b[:, 0] - b[:, 1]
    gradient = torch.randn(5, 7, dtype=torch.float64)
    grad_a, grad_b = s * b.T @ gradient, s * gradient @ a.T
    ours = perturbation_of_b(a, b, grad_a, grad_b, s, rho)
    torch.testing.assert_close(ours, reference(a, b, grad_a, grad_b, s, rho))


def test_without_a_gradient_there_is_no_perturbation():
    a, b = torch.randn(2, 4), torch.zeros(3, 2)
    assert not perturbation_of_b(a, b, torch.zeros_like(a), torch.zeros_like(b), 1.0, 0.1).any()


def test_a_full_rank_a_carries_the_whole_perturbation():
    """If A is square, s E_B A is SAM's perturbation of W itself: its norm is ρ, and it points along the gradient."""
    torch.manual_seed(2)
    a, gradient = torch.randn(4, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    b = torch.zeros(6, 4, dtype=torch.float64)
    perturbation = 2.0 * perturbation_of_b(a, b, torch.zeros_like(a), 2.0 * gradient @ a.T, 2.0, 0.1) @ a
    torch.testing.assert_close(perturbation, 0.1 * gradient / gradient.norm())
