"""Merged models answer as before, and come apart again bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lowland import LoRAConfig, add_lora, merge_lora, remove_lora, unmerge_lora
from lowland.lora import lora_layers
from lowland.mistakes import Mistake


@pytest.fixture(params=["bert", "gpt2"])
def adapted(request: pytest.FixtureRequest) -> nn.Module:
    model = add_lora(request.getfixturevalue(request.param), LoRAConfig(r=4))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.1, generator=torch.Generator().manual_seed(5))
    return model


def test_merging_changes_no_answer(adapted: nn.Module, tokens: torch.Tensor) -> None:
    base = [layer.base(torch.ones(layer.in_features)) for _, layer in lora_layers(adapted)]
    before = adapted(tokens).logits
    merge_lora(adapted)
    torch.testing.assert_close(adapted(tokens).logits, before, rtol=0, atol=1e-5)
    after = [layer.base(torch.ones(layer.in_features)) for _, layer in lora_layers(adapted)]
    assert not any(torch.equal(a, b) for a, b in zip(base, after, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unmerging_restores_every_bit(adapted: nn.Module, tokens: torch.Tensor, dtype: torch.dtype) -> None:
    adapted.to(dtype)
    before = {name: one.clone() for name, one in adapted.state_dict().items()}
    answer = adapted(tokens).logits
    unmerge_lora(merge_lora(adapted))
    assert all(torch.equal(before[name], one) for name, one in adapted.state_dict().items())
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
    wanted = (layer.base.weight.float() + delta).to(torch.bfloat16)
    merge_lora(model)
    assert torch.equal(layer.base.weight, wanted)


def test_what_makes_no_sense_is_refused(adapted: nn.Module) -> None:
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
