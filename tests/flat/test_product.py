"""The product with W + eps: its values, its gradients, and the tensors saved for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lowland.flat.product import eps_product, noisy_product
from tests.flat.test_noise import noise_for, numbers

CPU = torch.device("cpu")
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("heights", [(), (3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_that_with_the_explicit_sum(bias: bool, heights: tuple[int, ...]) -> None:
    base = nn.Linear(6, 8, bias=bias, dtype=torch.float64).requires_grad_(False)
    noise, x = noise_for(8, 6, heights=heights), numbers(2, 5, 6, dtype=torch.float64).requires_grad_()
    eps = noise.eps(torch.float64)
    for ours, theirs in (
        (noisy_product(x, base, noise), F.linear(x, base.weight + eps, base.bias)),
        (eps_product(x, noise), x @ eps.T),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        (mine,), (expected,) = (torch.autograd.grad(y.pow(3).sum(), x) for y in (ours, theirs))
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradgradcheck(lambda x: noisy_product(x, base, noise).pow(2), x)


def test_layers_of_equal_size_keep_their_own_weights() -> None:
    bases = [nn.Linear(6, 6).double().requires_grad_(False) for _ in range(3)]
    noise, x = noise_for(6, 6), numbers(5, 6, dtype=torch.float64).requires_grad_()
    eps, y, y2 = noise.eps(torch.float64), x, x
    for base in bases:
        y, y2 = noisy_product(y, base, noise), F.linear(y2, base.weight + eps, base.bias)
    (mine,), (expected,) = (torch.autograd.grad(output.pow(2).sum(), x) for output in (y, y2))
    torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


def test_nothing_as_large_as_a_weight_is_kept_for_the_backward_pass() -> None:
    base, noise, saved = nn.Linear(60, 80).requires_grad_(False), noise_for(80, 60), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
    ):
        noisy_product(numbers(3, 60).requires_grad_(), base, noise)
        eps_product(numbers(3, 60).requires_grad_(), noise)
    assert any(tensor.data_ptr() == base.weight.data_ptr() for tensor in saved)
    assert all(tensor.numel() < 80 * 60 or tensor.data_ptr() == base.weight.data_ptr() for tensor in saved)
