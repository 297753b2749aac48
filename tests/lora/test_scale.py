"""A scaled adapter adds f·s·BA; the model is afterwards what it was, and a scaled file is the scaled model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from lowland import LoRAConfig, add_lora, load_adapter, merge_lora, remove_lora, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora import copy_scaled, lora_layers, scaled_lora

CONFIG = LoRAConfig(r=4, alpha=12, rank_pattern={"value": 3}, alpha_pattern={"query": 5})


def adapted(model: nn.Module, config: LoRAConfig = CONFIG) -> nn.Module:
    add_lora(model, config)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.1, generator=torch.Generator().manual_seed(5))
    return model


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_the_output_is_that_of_w_plus_the_scaled_product(
    bert: nn.Module, tokens: torch.Tensor, factor: float
) -> None:
    model = adapted(bert)
    weights = {name: layer.weight + factor * layer.delta() for name, layer in lora_layers(model)}
    with scaled_lora(model, factor):
        logits = model(tokens).logits
    for name, layer in list(lora_layers(model)):
        layer.base.weight = nn.Parameter(weights[name])
    torch.testing.assert_close(remove_lora(model)(tokens).logits, logits, rtol=0, atol=1e-5)


def test_the_model_is_afterwards_what_it_was_to_the_bit(gpt2: nn.Module, tokens: torch.Tensor) -> None:
    model = adapted(gpt2, LoRAConfig(r=3, alpha=7))
    before, weights = model(tokens).logits, {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="have to specify"), scaled_lora(model, 0.3):
        model()
    with scaled_lora(model, 0.3):
        assert not torch.equal(model(tokens).logits, before)
    assert torch.equal(model(tokens).logits, before)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_factor_0_is_the_base(bert: nn.Module, tokens: torch.Tensor) -> None:
    base = bert(tokens).logits
    with scaled_lora(adapted(bert), 0.0):
        torch.testing.assert_close(bert(tokens).logits, base, rtol=0, atol=1e-6)


def test_what_cannot_be_scaled_is_refused(bert: nn.Module) -> None:
    with pytest.raises(Mistake, match="no LoRA layers"), scaled_lora(bert, 0.5):
        pass
    model = adapted(bert)
    with pytest.raises(Mistake, match="factor is nan; it must be finite"), scaled_lora(model, math.nan):
        pass
    merge_lora(model)
    with pytest.raises(Mistake, match="merged into the weights"), scaled_lora(model, 0.5):
        pass


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.7])
def test_a_scaled_file_is_the_scaled_model_here_and_in_peft(
    bert: nn.Module, tokens: torch.Tensor, tmp_path: Path, factor: float, rslora: bool
) -> None:
    bert.save_pretrained(tmp_path / "base")
    fresh = type(bert).from_pretrained
    model = adapted(bert, CONFIG.replace(rslora=rslora, modules_to_save=("classifier",)))
    save_adapter(model, tmp_path / "whole", base_model=str(tmp_path / "base"))
    copy_scaled(tmp_path / "whole", tmp_path / "scaled", factor)
    with scaled_lora(model, factor):
        logits = model(tokens).logits
    ours = load_adapter(fresh(tmp_path / "base"), tmp_path / "scaled").eval()
    torch.testing.assert_close(ours(tokens).logits, logits, rtol=0, atol=1e-6)
    theirs = PeftModel.from_pretrained(fresh(tmp_path / "base"), str(tmp_path / "scaled")).eval()
    torch.testing.assert_close(theirs(tokens).logits, logits, rtol=0, atol=1e-5)
    files = [tmp_path / folder / "adapter_model.safetensors" for folder in ("whole", "scaled")]
    assert files[0].read_bytes() == files[1].read_bytes()
    config = json.loads((tmp_path / "scaled" / "adapter_config.json").read_text())
    assert (config["lora_alpha"], config["alpha_pattern"]) == (12 * factor, {"query": 5 * factor})
