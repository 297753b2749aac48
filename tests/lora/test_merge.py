"""Merging keeps a model's outputs, and unmerging restores its weights bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lowland import LoRAConfig, LoRALinear, add_lora, merge_lora, remove_lora, unmerge_lora
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers


@pytest.fixture(params=["bert", "gpt2"])
def adapted(request: pytest.FixtureRequest) -> nn.Module:
    model = add_lora(request.getfixturevalue(request.param), LoRAConfig(r=4))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.1, generator=torch.Generator().manual_seed(5))
    return model


def test_merging_keeps_the_outputs(adapted: nn.Module, tokens: torch.Tensor) -> None:
    base = [layer.base(torch.ones(layer.in_features)) for _, layer in lora_layers(adapted)]
    before = adapted(tokens).logits
    merge_lora(adapted)
    torch.testing.assert_close(adapted(tokens).logits, before, rtol=0, atol=1e-5)
    after = [layer.base(torch.ones(layer.in_features)) for _, layer in lora_layers(adapted)]
    assert not any(torch.equal(a, b) for a, b in zip(base, after, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unmerging_restores_every_bit(adapted: nn.Module, tokens: torch.Tensor, dtype: torch.dtype) -> None:
    adapted.to(dtype)
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    answer = adapted(tokens).logits
    unmerge_lora(merge_lora(adapted))
    assert all(torch.equal(before[name], tensor) for name, tensor in adapted.state_dict().items())
    assert torch.equal(adapted(tokens).logits, answer)


def test_merging_for_good_leaves_a_plain_model(adapted: nn.Module, tokens: torch.Tensor) -> None:
    plain = remove_lora(copy.deepcopy(adapted))
    before = adapted(tokens).logits
    merge_lora(adapted, keep=False)
    assert list(adapted.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(adapted(tokens).logits, before, rtol=0, atol=1e-5)


def test_in_bf16_the_sum_is_rounded_once() -> None:
    model = add_lora(nn.Sequential(nn.Linear(64, 64)), LoRAConfig(r=4)).to(torch.bfloat16)
    layer = next(layer for _, layer in lora_layers(model))
    nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(5))
    delta = layer.scaling * (layer.lora_B.float() @ layer.lora_A.float())
    expected = (layer.base.weight.float() + delta).to(torch.bfloat16)
    merge_lora(model)
    assert torch.equal(layer.base.weight, expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_merging_for_good_into_another_dtype_rounds_once(
    adapted: nn.Module, dtype: torch.dtype, precision: torch.dtype
) -> None:
    expected = {}
    for name, layer in lora_layers(adapted):
        a, b = layer.lora_A.detach().to(precision), layer.lora_B.detach().to(precision)
        expected[name] = (layer.weight.detach().to(precision) + layer.scaling * (b @ a)).to(dtype)
    transposed = {name: layer.transposed for name, layer in lora_layers(adapted)}
    buffers = {name: buffer.dtype for name, buffer in adapted.named_buffers()}
    merge_lora(adapted, keep=False, dtype=dtype, precision=precision)
    for name, weight in expected.items():
        stored = adapted.get_submodule(name).weight
        assert stored.is_contiguous()
        assert torch.equal(stored.T if transposed[name] else stored, weight)
    assert {parameter.dtype for parameter in adapted.parameters()} == {dtype}
    assert {name: buffer.dtype for name, buffer in adapted.named_buffers()} == buffers


def test_buffers_stay_wide_where_parameters_are_rounded() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    merge_lora(add_lora(model, LoRAConfig(r=2, targets=["0"])), keep=False, dtype=torch.bfloat16)
    assert model[1].weight.dtype == model[0].bias.dtype == torch.bfloat16
    assert model[1].running_mean.dtype == torch.float32


def test_float64_is_more_exact_than_float32() -> None:
    @torch.no_grad()
    def error(precision: torch.dtype) -> float:
        model = add_lora(nn.Sequential(nn.Linear(256, 256)), LoRAConfig(r=64))
        layer = next(layer for _, layer in lora_layers(model))
        nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(5))
        expected = layer.weight.double() + layer.delta(torch.float64)
        merge_lora(model, precision=precision)
        return float((layer.weight.double() - expected).norm())

    assert error(torch.float64) < 0.9 * error(torch.float32)


@pytest.mark.filterwarnings("ignore")  # bitsandbytes' own
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_is_replaced_by_a_plain_layer_and_restored(bits: int) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    kind, option = (
        (bitsandbytes.nn.Linear4bit, {})
        if bits == 4
        else (bitsandbytes.nn.Linear8bitLt, {"has_fp16_weights": False})
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = nn.Linear(64, 64)
        quantised = kind(64, 64, **option)
        quantised.load_state_dict(plain.state_dict())
        model = nn.Sequential(quantised.to("cpu"))
    add_lora(model, LoRAConfig(r=4))
    layer = next(layer for _, layer in lora_layers(model))
    base, before = layer.base, layer.base.weight.detach().clone()
    nn.init.normal_(layer.lora_B, std=0.1, generator=torch.Generator().manual_seed(5))
    expected = (layer.weight.float() + layer.delta()).to(layer.weight.dtype)
    x = torch.ones(2, 64)
    merge_lora(model)
    assert type(layer.base) is nn.Linear
    assert torch.equal(layer.base.weight, expected)
    assert layer.base.bias is base.bias
    assert model(x.to(expected.dtype)).shape == (2, 64)
    unmerge_lora(model)
    assert layer.base is base
    assert torch.equal(layer.base.weight, before)
    merge_lora(model, keep=False, dtype=torch.float32)
    assert type(model[0]) is nn.Linear
    torch.testing.assert_close(
        model(x), nn.functional.linear(x, expected.float(), plain.bias), atol=1e-2, rtol=0
    )


def test_an_embedding_is_merged_and_restored(tokens: torch.Tensor) -> None:
    embedding = nn.Embedding(64, 16)
    model = add_lora(nn.Sequential(embedding), LoRAConfig(r=4, targets=["0"]))
    layer = next(layer for _, layer in lora_layers(model))
    nn.init.normal_(layer.lora_A, generator=torch.Generator().manual_seed(5))
    before, apart = embedding.weight.detach().clone(), model(tokens)
    merge_lora(model)
    torch.testing.assert_close(model(tokens), apart)
    assert not torch.equal(embedding.weight, before)
    assert torch.equal(unmerge_lora(model)(tokens), apart)
    assert torch.equal(embedding.weight, before)


def test_calls_in_the_wrong_order_are_refused(adapted: nn.Module) -> None:
    with pytest.raises(Mistake, match="not merged; call merge_lora"):
        unmerge_lora(adapted)
    merge_lora(adapted)
    with pytest.raises(Mistake, match="merged already; call unmerge_lora"):
        merge_lora(adapted)
    with pytest.raises(Mistake, match="unmerge_lora"):
        remove_lora(adapted)
    remove_lora(unmerge_lora(adapted))
    with pytest.raises(Mistake, match="no LoRA layers"):
        merge_lora(adapted)
    with pytest.raises(Mistake, match="no LoRA layers"):
        unmerge_lora(adapted)


@pytest.mark.parametrize(
    ("merged", "call", "message"),
    [
        (True, merge_lora, "merged already; call unmerge_lora"),
        (True, lambda model: merge_lora(model, keep=False), "merged already; call unmerge_lora"),
        (True, remove_lora, "call unmerge_lora"),
        (False, unmerge_lora, "not merged; call merge_lora"),
        (False, lambda model: merge_lora(model, dtype=torch.bfloat16), "with keep=False"),
        (False, lambda model: merge_lora(model, keep=False, dtype="bf16"), "dtype is 'bf16'"),
        (False, lambda model: merge_lora(model, precision=torch.float16), "torch.float32 or torch.float64"),
        (
            False,
            lambda model: merge_lora(model, keep=False, dtype=torch.int8),
            "must be a floating-point type",
        ),
    ],
)
def test_a_refused_call_leaves_the_model_unchanged(
    adapted: nn.Module, tokens: torch.Tensor, merged: bool, call: Callable[..., object], message: str
) -> None:
    if merged:
        merge_lora(adapted)
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    answer = adapted(tokens).logits
    with pytest.raises(Mistake, match=message) as caught:
        call(adapted)
    assert len(caught.value.problems) == 1
    after = adapted.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert torch.equal(adapted(tokens).logits, answer)
    assert all(layer.merged is merged for _, layer in lora_layers(adapted))


def test_a_layer_is_merged_and_unmerged_by_itself() -> None:
    layer = LoRALinear(nn.Linear(6, 5), r=2, alpha=4)
    nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(5))
    weight, x = layer.base.weight, torch.ones(1, 6)
    expected = layer(x)
    with pytest.raises(Mistake, match="the layer is not merged; call merge"):
        layer.unmerge()
    layer.merge(precision=torch.float64)
    torch.testing.assert_close(layer(x), expected)
    with pytest.raises(Mistake, match="the layer is merged already; call unmerge"):
        layer.merge()
    layer.unmerge()
    assert layer.base.weight is weight
    assert torch.equal(layer(x), expected)
