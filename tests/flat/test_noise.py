"""The noise of one layer: W + eps with one rounding, the norms of the rows, and token noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lowland.flat.bank import window
from lowland.flat.noise import LayerNoise, TokenNoise, merged_norms, row_norms

CPU = torch.device("cpu")
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def noise_for(
    outs: int, ins: int, dtype: torch.dtype = torch.float32, heights: tuple[int, ...] = ()
) -> LayerNoise:
    """Return noise of strength 0.1 for rows with norms 1, 2, 3, …, in blocks of these heights or in one."""
    narrow = dtype if dtype.itemsize == 2 else torch.float32
    place = window((outs, ins), 4, CPU, narrow)
    blocks = place.blocks[0].split(list(heights or (outs,)))
    return LayerNoise(0.1 * place.signs, blocks, lambda weight: torch.arange(1.0, outs + 1)[:, None])


@pytest.mark.parametrize("heights", [(), (3, 5), (1, 6, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_is_rounded_once(dtype: torch.dtype, heights: tuple[int, ...]) -> None:
    weight, noise = numbers(8, 6, dtype=dtype), noise_for(8, 6, dtype, heights)
    before = weight.clone()
    wide = torch.promote_types(dtype, torch.float64)
    exact = weight.to(wide) + noise.scale.to(wide) * torch.cat(noise.blocks).to(wide)
    total = noise.added_to(weight)
    assert total.dtype == dtype
    tolerance = {"rtol": 1e-7, "atol": 1e-7} if dtype.itemsize > 2 else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(total, exact.to(dtype), **tolerance)
    assert torch.equal(weight, before)
    assert not torch.equal(total, weight)


@pytest.mark.parametrize("heights", [(), (3, 5)])
def test_eps_is_the_noise_that_is_added(heights: tuple[int, ...]) -> None:
    weight, noise = numbers(8, 6, dtype=torch.float64), noise_for(8, 6, heights=heights)
    torch.testing.assert_close(noise.added_to(weight) - weight, noise.eps(torch.float64), rtol=0, atol=1e-12)
    signs = window((8, 6), 4, CPU).signs
    assert torch.equal(noise.scale.sign(), signs)
    torch.testing.assert_close(noise.scale.abs()[:, 0], 0.1 * torch.arange(1.0, 9))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_scale_has_the_width_of_the_weight(dtype: torch.dtype) -> None:
    noise = noise_for(8, 6, dtype)
    assert noise.scale.dtype == (dtype if dtype.itemsize == 2 else torch.float32)
    assert noise.blocks[0].dtype == noise.scale.dtype
    torch.testing.assert_close(
        noise.scale.abs().float()[:, 0], 0.1 * torch.arange(1.0, 9), rtol=2**-8, atol=0
    )


def test_the_norms_are_computed_once_a_step() -> None:
    calls, weight = [], numbers(8, 6)
    noise = LayerNoise(torch.ones(8, 1), (numbers(8, 6),), lambda w: calls.append(w) or torch.ones(8, 1))
    assert not calls
    noise.added_to(weight)
    noise.eps()
    assert len(calls) == 1
    assert calls[0] is weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_merged_norms_are_those_of_the_built_sum(dtype: torch.dtype) -> None:
    weight, a, b = numbers(40, 30, dtype=dtype), numbers(4, 30, seed=1), numbers(40, 4, seed=2)
    if dtype == torch.float64:
        a, b = a.double(), b.double()
    built = (weight.double() + 0.7 * b.double() @ a.double()).norm(dim=1, keepdim=True)
    norms = merged_norms(weight, a, b, 0.7)
    assert norms.dtype == torch.promote_types(dtype, torch.float32)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2**-8}[dtype]
    torch.testing.assert_close(norms.double(), built, rtol=tolerance, atol=0)


def test_a_row_that_merging_makes_zero_has_no_noise() -> None:
    weight = numbers(5, 3)
    norms = merged_norms(weight, torch.eye(3), -weight, 1.0)
    assert torch.equal(norms, torch.zeros(5, 1))
    assert row_norms(weight).min() > 0


def test_token_noise_has_the_variance_of_weight_noise() -> None:
    x, scale, draws = numbers(3, 6), torch.arange(1.0, 9)[:, None] * 0.1, 4000
    z = torch.stack([TokenNoise(scale, seed).for_input(x) for seed in range(draws)])  # (draws, 3, 8)
    expected = x.norm(dim=1)[:, None] * scale[:, 0]  # as of x epsᵀ
    assert ((z.std(0) / expected - 1).abs() < 5 / math.sqrt(2 * draws)).all()
    assert (z.mean(0).abs() < 5 * expected / math.sqrt(draws)).all()
    among = torch.corrcoef(z.flatten(1).T).fill_diagonal_(0)  # of tokens and outputs
    assert among.abs().max() < 5 / math.sqrt(draws)


def test_token_noise_is_a_function_of_its_seed_and_has_a_gradient() -> None:
    x, scale = numbers(3, 6, dtype=torch.float64).requires_grad_(), torch.ones(8, 1, dtype=torch.float64)
    state = torch.random.get_rng_state()
    z = TokenNoise(scale, 1).for_input(x)
    assert torch.equal(TokenNoise(scale, 1).for_input(x), z)
    assert not torch.equal(TokenNoise(scale, 2).for_input(x), z)
    assert torch.equal(torch.random.get_rng_state(), state)
    zeta = (z / x.norm(dim=1, keepdim=True)).detach()
    (gradient,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(
        gradient, zeta.sum(1, keepdim=True) * (x / x.norm(dim=1, keepdim=True)).detach()
    )
    nothing = torch.zeros(2, 6, requires_grad=True)
    TokenNoise(scale, 1).for_input(nothing).sum().backward()
    assert torch.equal(nothing.grad, torch.zeros(2, 6))
