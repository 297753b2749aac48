"""Tiny models of many architectures, and adapters that change their outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from lowland import LoRAConfig, add_lora
from lowland.lora import lora_layers
from tests.conftest import bert_config

BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SMALL = {"vocab_size": 64, "max_position_embeddings": 40, "pad_token_id": 1}
LLAMA = {**BERT, **SMALL, "num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3}
GPT2 = {"vocab_size": 64, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
T5 = {
    "vocab_size": 64,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "initializer_factor": 0.5,
}
DISTIL = {
    "vocab_size": 64,
    "max_position_embeddings": 40,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
}
BART = {
    "vocab_size": 64,
    "max_position_embeddings": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}

MODELS: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: hf.BertForSequenceClassification(bert_config(num_labels=3)),
    "bert for words": lambda: hf.BertForMaskedLM(bert_config()),
    "bert for tokens": lambda: hf.BertForTokenClassification(bert_config(num_labels=3)),
    "roberta": lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**BERT, **SMALL, num_labels=3)),
    "distilbert": lambda: hf.DistilBertForSequenceClassification(hf.DistilBertConfig(**DISTIL, num_labels=3)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2)),
    "gpt2 for texts": lambda: hf.GPT2ForSequenceClassification(
        hf.GPT2Config(**GPT2, num_labels=3, pad_token_id=1)
    ),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA)),
    "llama for texts": lambda: hf.LlamaForSequenceClassification(hf.LlamaConfig(**LLAMA, num_labels=3)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, decoder_start_token_id=0)),
    "t5 for texts": lambda: hf.T5ForSequenceClassification(
        hf.T5Config(**T5, decoder_start_token_id=0, eos_token_id=63, num_labels=3)
    ),
    "bart": lambda: hf.BartForConditionalGeneration(hf.BartConfig(**BART)),
}


@pytest.fixture
def build() -> Callable[[str], Any]:
    """Return a function that builds the tiny model of a name, in evaluation mode."""

    def build_model(name: str) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return MODELS[name]().eval()

    return build_model


def answers(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return the logits of any of the models."""
    inputs = {"input_ids": tokens}
    kind = getattr(model, "base_model", model)
    kind = getattr(kind, "model", kind)  # PEFT's
    if (
        "ForConditionalGeneration" in type(kind).__name__
        or "ForConditionalGeneration" in type(model).__name__
    ):
        inputs["decoder_input_ids"] = tokens[:, :4]
    if "T5ForSequence" in type(kind).__name__ or "T5ForSequence" in type(model).__name__:
        inputs["input_ids"] = torch.cat([tokens, torch.full((len(tokens), 1), 63)], dim=1)
    with torch.no_grad():
        return model(**inputs).logits


def fill_adapters(model: nn.Module) -> nn.Module:
    """Fill the trainable parameters of a model, adapted by lowland or PEFT, with random values."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.copy_(torch.empty(parameter.shape).normal_(std=0.1, generator=generator))
    return model


def learned(base: nn.Module, head: tuple[str, ...] = (), **options: Any) -> nn.Module:
    """Return a copy with random adapters, and a random head if one is named."""
    config = LoRAConfig(**{"r": 4, "alpha": 6, **options}, modules_to_save=head)
    model = fill_adapters(add_lora(copy.deepcopy(base), config, seed=9))
    assert any(True for _ in lora_layers(model))
    return model


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return everything that a refused call must leave unchanged."""
    return {
        "values": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "parameters": {
            name: (id(parameter), parameter.requires_grad) for name, parameter in model.named_parameters()
        },
        "modules": {
            name: (id(module), type(module), module.training) for name, module in model.named_modules()
        },
        "attributes": sorted(vars(model)),
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = state_of(model)
    values, now = before["values"], after["values"]
    assert list(values) == list(now)
    assert all(torch.equal(values[name], now[name]) for name in now)
    for part in ("parameters", "modules", "attributes"):
        assert before[part] == after[part]
