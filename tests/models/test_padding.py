"""A text's answer does not depend on what else is in its batch, or a remark says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    FNetConfig,
    FNetForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
)

from lowland.models.load import load_classifier, load_tokenizer
from lowland.models.padding import LARGEST_CHANGE, settle_padding

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


def model_of(model_class: type, config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = model_class(config)
    return model


def change_by_padding(model: Any, tokenizer: Any) -> float:
    short, long = "the firm gains", "the firm gains again again again again again"
    with torch.no_grad():
        alone = model(**tokenizer(short, return_tensors="pt")).logits[0]
        padded = model(**tokenizer([short, long], return_tensors="pt", padding=True)).logits[0]
    return float((alone - padded).abs().max() / alone.abs().max())


def llama(pad: int) -> PreTrainedModel:
    config = LlamaConfig(vocab_size=64, pad_token_id=pad, num_key_value_heads=2, **SMALL)
    return model_of(LlamaForSequenceClassification, config).eval()


def gpt2() -> PreTrainedModel:
    config = GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=40, pad_token_id=0)
    return model_of(GPT2ForSequenceClassification, config).eval()


def test_the_model_pads_as_its_tokenizer_does(tokenizer: Any) -> None:
    model = llama(pad=7)
    assert change_by_padding(model, tokenizer) > LARGEST_CHANGE  # it reads a padding position
    assert settle_padding(model, tokenizer) is None
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert change_by_padding(model, tokenizer) < LARGEST_CHANGE


def test_a_side_on_which_padding_changes_answers_is_replaced(tokenizer: Any) -> None:
    tokenizer.padding_side = "left"  # shifts the absolute positions of GPT-2
    model = gpt2()
    assert change_by_padding(model, tokenizer) > LARGEST_CHANGE
    assert settle_padding(model, tokenizer) is None
    assert tokenizer.padding_side == "right"
    assert change_by_padding(model, tokenizer) < LARGEST_CHANGE


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_on_which_padding_does_not_matter_is_kept(tokenizer: Any, side: str) -> None:
    tokenizer.padding_side = side
    assert settle_padding(llama(pad=0), tokenizer) is None
    assert tokenizer.padding_side == side


def test_a_model_that_reads_its_padding_on_either_side_is_remarked_on(tokenizer: Any) -> None:
    config = FNetConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, intermediate_size=32, max_position_embeddings=40
    )
    model = model_of(FNetForSequenceClassification, config)  # its Fourier transform mixes all positions
    tokenizer.padding_side, tokenizer.model_input_names = "left", ["input_ids"]
    remark = settle_padding(model, tokenizer)
    assert remark is not None
    assert "a text's logits depend on its padding in a FNetForSequenceClassification" in remark
    assert tokenizer.padding_side == "left"
    assert model.training  # as it was


def test_a_loaded_classifier_is_settled(tokenizer: Any, tmp_path: Path) -> None:
    llama(pad=7).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_classifier(tmp_path, ["bad", "good"], load_tokenizer(tmp_path))
    assert loaded.model.config.pad_token_id == tokenizer.pad_token_id
    assert change_by_padding(loaded.model.eval(), tokenizer) < LARGEST_CHANGE


def test_nothing_is_drawn_from_the_global_generator(tokenizer: Any) -> None:
    model, before = llama(pad=0).train(), torch.get_rng_state()
    settle_padding(model, tokenizer)
    assert torch.equal(torch.get_rng_state(), before)
