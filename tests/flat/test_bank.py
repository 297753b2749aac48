"""The bank: standard normal, and windows that have nothing in common but chance."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from lowland.flat.bank import ALIGNMENT, LONGEST, SIZE, bank, window
from lowland.flat.noise import LayerNoise

CPU = torch.device("cpu")


def normals(outs: int, ins: int, seed: int) -> Tensor:
    """E (outs, ins) with its signs."""
    shape = torch.Size((outs, ins))
    place = window(shape, CPU, seed)
    return LayerNoise(place.signs, place).draw(torch.empty(shape))


def test_the_bank_is_standard_normal() -> None:
    numbers = bank(CPU)[:SIZE].double()
    assert abs(numbers.mean().item()) < 1e-6
    assert numbers.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert stats.kstest(numbers[:: SIZE // 10_000].numpy(), "norm").pvalue > 1e-3
    assert torch.equal(bank(CPU)[SIZE:], bank(CPU)[:LONGEST])


def test_a_window_is_a_function_of_its_seed_alone() -> None:
    state = torch.random.get_rng_state()
    assert torch.equal(normals(64, 64, 7), normals(64, 64, 7))
    assert not torch.equal(normals(64, 64, 7), normals(64, 64, 8))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert window(torch.Size((3, 5)), CPU, 1).offsets[0] % ALIGNMENT == 0


@pytest.mark.parametrize("ins", [768, 1000, 4096])
def test_a_layer_larger_than_a_window_takes_several(ins: int) -> None:
    outs = (SIZE + LONGEST) // ins  # larger than the whole bank, too
    drawn = normals(outs, ins, 3)
    assert len(window(drawn.shape, CPU, 3).offsets) >= 3
    assert drawn.mean().item() == pytest.approx(0, abs=5 / math.sqrt(drawn.numel()))
    assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(drawn.numel()))
    rows = drawn[:: outs // 40]
    among = torch.corrcoef(rows).fill_diagonal_(0)
    pairs = len(rows) * (len(rows) - 1) / 2
    assert among.abs().max() < stats.norm.isf(0.5e-3 / pairs) / math.sqrt(ins)


def test_over_steps_a_layer_as_large_as_the_bank_has_noise_of_its_own() -> None:
    first, second = normals(2048, 2048, 1), normals(2048, 2048, 2)
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(correlation.item()) < 5 / 2048


def test_rows_wider_than_the_bank_are_refused() -> None:
    with pytest.raises(ValueError, match="too wide for the noise bank"):
        window(torch.Size((1, LONGEST + 1)), CPU, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_sum_is_rounded_once(dtype: torch.dtype) -> None:
    weight = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    place = window(weight.shape, CPU, 4)
    noise = LayerNoise(place.signs * 0.1, place)
    wide = torch.promote_types(dtype, torch.float32)
    wanted = (weight.to(wide) + noise.draw(weight).to(wide)).to(dtype)
    torch.testing.assert_close(noise.added_to(weight), wanted, rtol=0, atol=1e-7)
    assert not torch.equal(noise.added_to(weight), weight)


@pytest.mark.slow
def test_no_correlation_among_all_entries_of_a_layer_over_steps() -> None:
    """A 64 x 64 layer over 2,000 steps: entries, rows and following steps, each at 0.01 after Bonferroni."""
    steps = 2000
    eps = torch.stack([normals(64, 64, seed).flatten() for seed in range(steps)])  # (steps, 4096)
    z = (eps - eps.mean(0)) / eps.std(0, correction=0)
    among = (z.T @ z / steps).fill_diagonal_(0)
    assert among.abs().max() < stats.norm.isf(0.5 * 0.01 / (4096 * 4095 / 2)) / math.sqrt(steps)
    rows = eps.view(steps, 64, 64).mean(2)
    of_rows = torch.corrcoef(rows.T).fill_diagonal_(0)
    assert of_rows.abs().max() < stats.norm.isf(0.5 * 0.01 / (64 * 63 / 2)) / math.sqrt(steps)
    later = (z[:-1] * z[1:]).mean(0)
    assert later.abs().max() < stats.norm.isf(0.5 * 0.01 / 4096) / math.sqrt(steps)
    chi = eps.pow(2).sum(0).double().numpy()
    assert 2 * min(stats.chi2(steps).sf(chi.max()), stats.chi2(steps).cdf(chi.min())) > 0.01 / 4096
