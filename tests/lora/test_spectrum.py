"""The spectrum of s·BA from its factors is that of the product, which is never formed."""

from __future__ import annotations

import math

import peft
import pytest
import torch
from torch import nn
from transformers import BertForSequenceClassification, GPT2LMHeadModel

from lowland.lora import LoRAConfig, add_lora, lora_layers
from lowland.lora.spectrum import Factors, adapter_factors, effective_rank, spectra

SHAPES = (
    (7, 5, 3),
    (5, 7, 3),
    (4, 4, 1),
    (3, 9, 6),
    (9, 3, 6),
    (40, 30, 8),
)  # (out, in, r), r above a side twice


def factors(out: int, ins: int, r: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Factors:
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(r, ins, generator=draw, dtype=torch.float64).to(dtype)
    b = torch.randn(out, r, generator=draw, dtype=torch.float64).to(dtype)
    return Factors(a, b, 1.7, nn.Identity())


def by_the_product(layer: Factors) -> torch.Tensor:
    return torch.linalg.svdvals(layer.scaling * layer.b.double() @ layer.a.double())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_spectrum_of_the_product(shape: tuple[int, int, int]) -> None:
    layer = factors(*shape)
    result = spectra({"layer": layer})["layer"]
    values = by_the_product(layer)
    k = min(shape)
    torch.testing.assert_close(
        torch.tensor(result.singular_values, dtype=torch.float64), values[:k], rtol=1e-9, atol=0
    )
    assert bool((values[k:] < 1e-12).all())
    assert result.norm_a == pytest.approx(layer.a.norm().item(), rel=1e-12)
    assert result.norm_b == pytest.approx(layer.b.norm().item(), rel=1e-12)
    assert result.norm_ba == pytest.approx((layer.b @ layer.a).norm().item(), rel=1e-12)
    p = values[:k] / values[:k].sum()
    assert result.effective_rank == pytest.approx(math.exp(-(p * p.log()).sum()), rel=1e-9)


def test_layers_of_several_shapes_keep_their_names_and_order() -> None:
    layers = {f"{number}": factors(*shape, seed=number) for number, shape in enumerate(SHAPES * 2)}
    result = spectra(layers)
    assert list(result) == list(layers)
    for name, layer in layers.items():
        assert result[name].singular_values[0] == pytest.approx(by_the_product(layer)[0].item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_precise_in_float32(dtype: torch.dtype) -> None:
    layer = factors(200, 300, 8, dtype=dtype)
    values = torch.tensor(spectra({"layer": layer})["layer"].singular_values).double()
    torch.testing.assert_close(values, by_the_product(layer)[:8], rtol=1e-5, atol=0)


def test_the_product_is_never_formed() -> None:
    side = 300_000  # the product would take 360 GB
    result = spectra({"layer": factors(side, side, 2, dtype=torch.float32)})["layer"]
    assert result.norm_ba == pytest.approx(side * math.sqrt(2), rel=0.02)


def test_the_effective_rank_of_known_spectra() -> None:
    assert effective_rank([3.0] * 5) == pytest.approx(5)
    assert effective_rank([2.0, 0.0, 0.0]) == pytest.approx(1)
    assert effective_rank([3.0, 1.0]) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )
    assert effective_rank([30.0, 10.0]) == pytest.approx(effective_rank([3.0, 1.0]))
    assert effective_rank([0.0, 0.0]) == 0


def test_a_start_at_zero_has_rank_zero() -> None:
    layer = Factors(torch.ones(3, 5), torch.zeros(7, 3), 2.0, nn.Identity())
    result = spectra({"layer": layer})["layer"]
    assert (result.norm_ba, result.effective_rank, result.singular_values) == (0, 0, (0, 0, 0))


def test_a_layer_that_is_not_finite_is_nan_and_the_others_are_not() -> None:
    good, bad = factors(7, 5, 3), factors(7, 5, 3, seed=1)
    bad.b[0, 0] = torch.nan
    result = spectra({"bad": bad, "good": good})
    assert math.isnan(result["bad"].effective_rank)
    assert all(map(math.isnan, result["bad"].singular_values))
    assert result["good"] == spectra({"good": good})["good"]


def test_it_finds_the_factors_of_lowland(gpt2: GPT2LMHeadModel) -> None:
    add_lora(gpt2, LoRAConfig(r=4, alpha=8))
    layers, result = dict(lora_layers(gpt2)), adapter_factors(gpt2)
    assert result.keys() == layers.keys()
    for name, layer in layers.items():
        assert result[name].a is layer.lora_A
        assert result[name].b is layer.lora_B
        assert (result[name].scaling, result[name].base) == (2.0, layer.base)


@pytest.mark.parametrize("dora", [False, True])
def test_it_finds_the_factors_of_peft(bert: BertForSequenceClassification, dora: bool) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["query", "dense"], use_dora=dora)
    model = peft.get_peft_model(bert, config)
    result = adapter_factors(model)
    assert len(result) == 2 * 4 + 1  # query and three named dense in each block, and the pooler
    for name, factor in result.items():
        layer = model.get_submodule(name)
        delta = layer.get_delta_weight("default")
        torch.testing.assert_close(factor.scaling * factor.b @ factor.a, delta)
        assert factor.base is layer.get_base_layer()


def test_other_methods_have_none(bert: BertForSequenceClassification) -> None:
    assert adapter_factors(bert) == {}
    assert spectra({}) == {}
    vera = peft.get_peft_model(bert, peft.VeraConfig(r=4, target_modules=["query"]))
    assert adapter_factors(vera) == {}
