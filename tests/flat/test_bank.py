"""The bank is standard normal, and its windows are independent up to chance."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from lowland.flat.bank import ALIGNMENT, MAX_WINDOW, SIZE, bank, window

CPU = torch.device("cpu")
BASE = bank(CPU, torch.float32).data_ptr()


def normals(outs: int, ins: int, seed: int) -> Tensor:
    """Return E (outs, ins) with its signs."""
    place = window((outs, ins), seed, CPU)
    return torch.cat(place.blocks) * place.signs


def offsets(outs: int, ins: int, seed: int) -> list[int]:
    """Return the offsets of the blocks in the bank."""
    return [(block.data_ptr() - BASE) // 4 for block in window((outs, ins), seed, CPU).blocks]


def bound(level: float, tests: float, size: float) -> float:
    """Return the bound on each of `tests` correlations of `size` pairs, at a joint level (Bonferroni)."""
    return float(stats.norm.isf(level / 2 / tests) / math.sqrt(size))


def test_the_bank_is_standard_normal() -> None:
    numbers = bank(CPU, torch.float32)[:SIZE].double()
    assert abs(numbers.mean().item()) < 1e-6
    assert numbers.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert stats.kstest(numbers[:: SIZE // 10_000].numpy(), "norm").pvalue > 1e-3
    assert torch.equal(bank(CPU, torch.float32)[SIZE:], bank(CPU, torch.float32)[:MAX_WINDOW])


def test_a_window_is_a_function_of_its_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first = normals(64, 64, 7)
    torch.manual_seed(99)
    assert torch.equal(normals(64, 64, 7), first)
    assert not torch.equal(normals(64, 64, 8), first)
    torch.random.set_rng_state(state)


def test_windows_are_views_at_aligned_places_over_the_whole_bank() -> None:
    places = [offset for seed in range(400) for offset in offsets(3, 5, seed)]
    assert all(0 <= offset < SIZE and offset % ALIGNMENT == 0 for offset in places)
    assert stats.kstest([offset / SIZE for offset in places], "uniform").pvalue > 1e-3
    signs = torch.cat([window((3, 5), seed, CPU).signs for seed in range(400)])
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 4 / math.sqrt(len(signs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits_the_bank_is_rounded_once(dtype: torch.dtype) -> None:
    wide, narrow = window((6, 10), 5, CPU), window((6, 10), 5, CPU, dtype)
    assert torch.equal(narrow.blocks[0], wide.blocks[0].to(dtype))
    assert torch.equal(narrow.signs, wide.signs)
    assert bank(CPU, dtype) is bank(CPU, dtype)


def test_a_transposed_weight_has_transposed_noise() -> None:
    (block,) = window((12, 10), 5, CPU, transposed=True).blocks
    assert block.shape == (12, 10)
    assert block.T.is_contiguous()
    assert torch.equal(block.T.flatten(), normals_without_signs(12, 10, 5))


def normals_without_signs(outs: int, ins: int, seed: int) -> Tensor:
    return torch.cat(window((outs, ins), seed, CPU).blocks).flatten()


@pytest.mark.parametrize("ins", [768, 1000, 4096])
def test_a_layer_larger_than_a_window_takes_several(ins: int) -> None:
    outs = (SIZE + MAX_WINDOW) // ins  # larger than the whole bank, too
    drawn = normals(outs, ins, 3)
    places = offsets(outs, ins, 3)
    assert drawn.shape == (outs, ins)
    assert len(places) >= 3
    assert len(set(places)) == len(places)
    assert drawn.mean().item() == pytest.approx(0, abs=5 / math.sqrt(drawn.numel()))
    assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(drawn.numel()))
    rows = drawn[:: outs // 40]
    among = torch.corrcoef(rows).fill_diagonal_(0)
    assert among.abs().max() < bound(1e-3, len(rows) * (len(rows) - 1) / 2, ins)


def test_over_steps_a_layer_as_large_as_the_bank_has_noise_of_its_own() -> None:
    first, second = normals(2048, 2048, 1), normals(2048, 2048, 2)
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(correlation.item()) < 5 / 2048


def average_variance(outs: int, ins: int, steps: int) -> float:
    """Return steps times the variance of an entry's mean over the steps, minus 1 (independence)."""
    total = torch.zeros(outs, ins)
    for seed in range(steps):
        total += normals(outs, ins, seed)
    return (total.double().pow(2).mean() / steps - 1).item()


def test_the_noise_averages_out_over_steps() -> None:
    assert abs(average_variance(128, 128, 200)) < 5 * math.sqrt(2 / 128**2)


def test_rows_wider_than_the_bank_are_refused() -> None:
    with pytest.raises(ValueError, match="too wide for the noise bank"):
        window((1, MAX_WINDOW + 1), 0, CPU)
    assert len(window((2, MAX_WINDOW), 0, CPU).blocks) == 2


@pytest.mark.slow
def test_no_correlation_among_all_entries_of_a_layer_over_steps() -> None:
    """Test entries, rows and successive steps of a 64 x 64 layer over 2,000 steps, at 0.01 (Bonferroni)."""
    steps = 2000
    eps = torch.stack([normals(64, 64, seed).flatten() for seed in range(steps)])  # (steps, 4096)
    z = (eps - eps.mean(0)) / eps.std(0, correction=0)
    among = (z.T @ z / steps).fill_diagonal_(0)
    assert among.abs().max() < bound(0.01, 4096 * 4095 / 2, steps)
    of_rows = torch.corrcoef(eps.view(steps, 64, 64).mean(2).T).fill_diagonal_(0)
    assert of_rows.abs().max() < bound(0.01, 64 * 63 / 2, steps)
    assert (z[:-1] * z[1:]).mean(0).abs().max() < bound(0.01, 4096, steps)
    chi = eps.pow(2).sum(0).double().numpy()
    assert 2 * min(stats.chi2(steps).sf(chi.max()), stats.chi2(steps).cdf(chi.min())) > 0.01 / 4096
    means = eps.mean(0).abs().max().item() * math.sqrt(steps)
    assert 2 * stats.norm.sf(means) > 0.01 / 4096


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1000, 2000])
def test_no_correlation_among_the_rows_of_a_wide_layer_over_steps(first: int) -> None:
    """Test all pairs of rows of a 512 x 512 layer over 200 steps; without random signs this fails."""
    steps = 200
    among = torch.zeros(512, 512)
    for seed in range(first, first + steps):
        drawn = normals(512, 512, seed)
        among += drawn @ drawn.T
    among = (among / (steps * 512)).fill_diagonal_(0)
    assert among.abs().max() < bound(0.01, 512 * 511 / 2, steps * 512)


@pytest.mark.slow
@pytest.mark.parametrize(("outs", "ins", "steps"), [(768, 3072, 200), (3072, 768, 200), (2048, 3072, 40)])
def test_the_noise_of_large_layers_averages_out_over_steps(outs: int, ins: int, steps: int) -> None:
    """Test layers with many entries; the last is larger than the bank."""
    assert abs(average_variance(outs, ins, steps)) < 8 * math.sqrt(2 / (outs * ins))
