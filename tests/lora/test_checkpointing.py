"""Both kinds of gradient checkpointing, on Hugging Face models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lowland import LoRAConfig, add_lora
from lowland.lora import lora_layers


@pytest.fixture
def llama() -> LlamaForCausalLM:
    """Return a Llama with 2 layers of width 16 and grouped heads."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, use_cache=False, **sizes))


def gradients(model: PreTrainedModel, tokens: Tensor) -> dict[str, Tensor]:
    """Return the gradients of all trainable parameters for one batch, with a fixed seed."""
    model.zero_grad()
    torch.manual_seed(7)
    labels = tokens if isinstance(model, LlamaForCausalLM) else tokens[:, 0] % 3
    model(input_ids=tokens, labels=labels).loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def calls_of(layer: nn.Module) -> list[int]:
    calls: list[int] = []
    layer.register_forward_hook(lambda *arguments: calls.append(1))
    return calls


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_are_those_without_checkpointing(
    name: str, dropout: float, reentrant: bool, tokens: Tensor, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    add_lora(model, LoRAConfig(r=2, dropout=dropout)).train()
    layers = [layer for _, layer in lora_layers(model)]
    for layer in layers:
        nn.init.normal_(layer.lora_B, std=0.5, generator=torch.Generator().manual_seed(5))
    expected = gradients(model, tokens)
    former = "gradient_checkpointing_enable"  # its name until transformers 6
    enable = getattr(model, "activation_checkpointing_enable", None) or getattr(model, former)
    enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    calls = calls_of(layers[0])
    actual = gradients(model, tokens)
    assert len(calls) == 2  # once more in the backward pass
    assert len(expected) == 2 * len(layers)
    for name in expected:
        assert expected[name].any()
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=1e-7)
