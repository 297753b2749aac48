"""Figures of adapters are those of the formed product; intruders, overlap and CKA are what their definitions say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from lowland.ground.mistakes import Mistake
from lowland.lora.spectrum import LowRank, directions_for, svd
from lowland.measure.adapter_files import read_adapter
from lowland.measure.adapters import layer_figures, update_spectra
from lowland.measure.intruders import SMALL, leading_left_vectors, left_vectors, similarities
from lowland.measure.overlap import overlap, random_overlap
from lowland.measure.rounding import lost_share, spacing
from lowland.measure.similarity import hsic, linear_cka, mean_cosine
from lowland.measure.tuned import Dense
from tests.deploy.merge.test_merging import base_folder, peft_adapter


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_rank(out: int = 9, ins: int = 7, r: int = 3, scaling: float = 1.7, seed: int = 0) -> LowRank:
    return LowRank(drawn(r, ins, seed=seed), drawn(out, r, seed=seed + 1), scaling)


def orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


@pytest.mark.parametrize("shape", [(9, 7, 3), (4, 9, 4), (3, 8, 5), (8, 3, 5)])
def test_the_decomposition_of_factors_is_that_of_the_product(shape: tuple[int, int, int]) -> None:
    update = low_rank(*shape)
    left, values, right = update.svd()
    torch.testing.assert_close(left * values @ right.T, update.scaling * update.b @ update.a)
    torch.testing.assert_close(values, torch.linalg.svdvals(update.matrix())[: len(values)])
    assert len(values) == min(shape)
    torch.testing.assert_close(left.T @ left, torch.eye(len(values), dtype=torch.float64))


def test_directions_of_an_update_of_lower_rank_than_r_are_left_out() -> None:
    update = low_rank(r=3)
    update.b[:, 1:] = 0
    assert len(update.svd().values) == 1
    update.b[:] = 0
    assert update.svd().left.shape == (9, 0)


def test_directions_for_a_share_of_the_energy() -> None:
    values = [3.0, 2.0, 1.0]  # energies 9, 4 and 1 of 14
    assert [directions_for(values, share) for share in (0.6, 9 / 14, 0.9, 13 / 14, 0.99)] == [1, 1, 2, 2, 3]
    assert directions_for([0.0, 0.0], 0.9) == 0
    assert directions_for([1e-30], 0.99) == 1


def test_figures_of_a_layer_are_those_of_the_formed_product() -> None:
    update, weight = low_rank(), drawn(9, 7, seed=5)
    spectrum = update_spectra({"layer": update})["layer"]
    figures = layer_figures(update, spectrum, weight, left_vectors(weight), k=5, epsilon=0.9)
    product = update.scaling * update.b @ update.a
    assert figures.norm_update == pytest.approx(product.norm().item())
    assert figures.relative_update == pytest.approx((product.norm() / weight.norm()).item())
    assert figures.norm_ba == pytest.approx((product.norm() / 1.7).item())
    tuned, before = (np.linalg.svd(matrix.numpy())[0] for matrix in (weight + product, weight))
    cosines = np.abs(tuned[:, :5].T @ before[:, :7]).max(1)
    assert figures.intruders == (cosines < 0.9).sum()
    assert figures.least_similarity == pytest.approx(cosines.min())
    assert figures.rank == 3
    assert figures.rank_utilisation == figures.directions_99 / 3
    dense = Dense(product)
    same = layer_figures(
        dense, update_spectra({"layer": dense})["layer"], weight, left_vectors(weight), 5, 0.9
    )
    assert (same.intruders, same.directions_90) == (figures.intruders, figures.directions_90)
    assert same.effective_rank == pytest.approx(figures.effective_rank)
    assert same.norm_a is None
    assert same.rank is None


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (200, 90)])
def test_intruders_are_those_of_the_dense_definition(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    trained = weight + 3 * low_rank(*shape, r=2, seed=3).matrix()
    base_u = np.linalg.svd(weight.numpy())[0][:, : min(shape)]
    tuned_u = np.linalg.svd(trained.numpy())[0]
    expected = np.abs(tuned_u[:, :5].T @ base_u).max(1)
    np.testing.assert_allclose(similarities(left_vectors(weight), trained, 5), expected, atol=1e-4)


def test_an_update_outside_the_base_is_an_intruder_and_a_scaled_base_has_none() -> None:
    weight = torch.diag(torch.arange(1.0, 7.0).flip(0))
    of_base = left_vectors(weight)
    assert similarities(of_base, 2 * weight, 3).min() > 0.999
    mixed = torch.full((6, 6), 10.0)  # its left vector has a cosine of 1/sqrt(6) with each axis
    cosines = similarities(of_base, weight + mixed, 3)
    assert cosines[0] < 0.5 < cosines[1:].max()
    assert len(similarities(of_base, weight, 10)) == 6  # there are no more vectors


def test_leading_vectors_of_a_large_matrix_are_those_of_a_whole_decomposition() -> None:
    weight = drawn(120, 100).float()
    assert min(weight.shape) > SMALL * 4
    exact = left_vectors(weight)[:, :4]
    fast = leading_left_vectors(weight, 4)
    torch.testing.assert_close((exact.T @ fast).abs(), torch.eye(4), atol=1e-3, rtol=0)
    assert torch.equal(fast, leading_left_vectors(weight, 4))


def test_overlap_is_one_for_the_same_space_zero_for_an_orthogonal_one_and_known_at_random() -> None:
    space = torch.linalg.qr(drawn(50, 8))[0]
    turned = space[:, :3] @ torch.linalg.qr(drawn(3, 3, seed=2))[0]
    assert overlap(space[:, :3], turned) == pytest.approx(1)
    assert overlap(space[:, :3], space[:, 3:8]) == pytest.approx(0)
    assert overlap(space[:, :2], space) == pytest.approx(1)  # the smaller is inside
    values = [
        overlap(torch.linalg.qr(drawn(50, 3, seed=s))[0], torch.linalg.qr(drawn(50, 5, seed=900 + s))[0])
        for s in range(200)
    ]
    expected = random_overlap(space[:, :3], space[:, :5])
    assert expected == 5 / 50
    assert np.mean(values) == pytest.approx(expected, rel=0.1)


def test_cka_ignores_rotation_scale_and_shift_and_sees_unrelated_states() -> None:
    draw = np.random.default_rng(0)
    states = draw.normal(size=(60, 100))
    turned = 3 * states @ orthogonal(100, 1) + 5
    assert linear_cka(states, turned) == pytest.approx(1)
    other = draw.normal(size=(60, 100))
    assert abs(linear_cka(states, other)) < 0.1  # the biased estimate is about 0.6
    stretched = states * np.linspace(0.1, 10, 100)
    assert 0.1 < linear_cka(states, stretched) < 0.9
    assert math.isnan(linear_cka(states, np.ones((60, 3))))


def test_hsic_is_the_mean_over_quadruples() -> None:
    """U-statistic of Song et al., 2012, over all ordered quadruples of different inputs."""
    draw = np.random.default_rng(1)
    k, m = (x @ x.T for x in (draw.normal(size=(6, 3)), draw.normal(size=(6, 2))))
    for kernel in (k, m):
        np.fill_diagonal(kernel, 0)
    from itertools import permutations

    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(6), 4)]
    assert hsic(k, m) == pytest.approx(np.mean(terms))


def test_mean_cosine() -> None:
    states = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert mean_cosine(states, 5 * states) == pytest.approx(1)
    assert mean_cosine(states, np.array([[0.0, 1.0], [0.0, 1.0]])) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_spacing_is_the_distance_to_the_next_number(dtype: torch.dtype) -> None:
    values = drawn(200).to(dtype)
    following = torch.nextafter(values.abs(), torch.tensor(torch.inf, dtype=dtype)).double()
    torch.testing.assert_close(spacing(values.float(), dtype).double(), following - values.abs().double())


def test_entries_below_half_a_step_change_nothing_when_they_are_merged() -> None:
    weight = drawn(40, 40).to(torch.bfloat16).float()
    update = 0.004 * drawn(40, 40, seed=1).float()
    unchanged = (weight + update).to(torch.bfloat16).float() == weight
    assert lost_share(weight, update, torch.bfloat16) == pytest.approx(
        unchanged.double().mean().item(), abs=0.01
    )
    assert 0.1 < lost_share(weight, update, torch.bfloat16) < 0.9


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"rank_pattern": {"c_proj": 2}, "lora_alpha": 3}]
)
def test_factors_in_a_file_are_those_that_peft_loads(tmp_path: Path, tiny_model: Path, options: dict) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    model = peft_adapter("CAUSAL_LM", base, tmp_path / "adapter", **options)
    assert isinstance(model, PeftModel)
    file = read_adapter(tmp_path / "adapter")
    assert file.adds_product
    assert len(file.factors) == 8
    for name, factors in file.factors.items():
        layer = model.get_base_model().get_submodule(name)
        delta = layer.get_delta_weight("default")  # (in, out), as Conv1D stores it
        torch.testing.assert_close(factors.matrix(), delta.T)


def test_factors_of_an_embedding_are_those_of_peft(tmp_path: Path, tiny_model: Path) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    model = peft_adapter("CAUSAL_LM", base, tmp_path / "adapter", target_modules=["wpe"])
    (name, factors), *_ = read_adapter(tmp_path / "adapter").factors.items()
    delta = model.get_base_model().get_submodule(name).get_delta_weight("default")  # (places, features)
    torch.testing.assert_close(factors.matrix(), delta.T)


def test_a_folder_without_weights_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="holds no adapter_config"):
        read_adapter(tmp_path)


def test_values_that_are_zero_but_for_rounding_are_no_directions() -> None:
    matrix = torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 4))
    assert len(svd(matrix).values) == 1
