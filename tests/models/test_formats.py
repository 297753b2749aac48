"""Attention in bf16: products of matrices on a CPU; files and configs do not show it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertModel, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from lowland.models.formats import attend_eagerly


def test_attention_is_computed_by_products_on_a_cpu(tiny_model: Path, tmp_path: Path) -> None:
    model = BertModel.from_pretrained(tiny_model).eval()
    assert model.config._attn_implementation == "sdpa"
    tokens = torch.randint(5, 20, (3, 7))
    mask = torch.ones_like(tokens)
    mask[1, 4:] = 0
    before = model(tokens, attention_mask=mask).last_hidden_state
    assert attend_eagerly(model) is model
    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(model(tokens, attention_mask=mask).last_hidden_state, before)
    model.save_pretrained(tmp_path / "saved")
    assert AutoModel.from_pretrained(tmp_path / "saved").config._attn_implementation == "sdpa"


def test_on_a_gpu_attention_stays(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert attend_eagerly(BertModel.from_pretrained(tiny_model)).config._attn_implementation == "sdpa"


def test_what_a_user_chose_stays(tiny_model: Path) -> None:
    model = BertModel.from_pretrained(tiny_model, attn_implementation="flex_attention")
    assert attend_eagerly(model).config._attn_implementation == "flex_attention"


def test_decoders_and_encoder_decoders(gpt2: GPT2LMHeadModel) -> None:
    sizes = {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 2,
        "vocab_size": 64,
        "decoder_start_token_id": 0,
    }
    for model in (gpt2, T5ForConditionalGeneration(T5Config(**sizes)).eval()):
        tokens = torch.randint(5, 60, (2, 6))
        inputs = {"input_ids": tokens} | (
            {"labels": tokens} if isinstance(model, T5ForConditionalGeneration) else {}
        )
        before = model(**inputs).logits
        torch.testing.assert_close(attend_eagerly(model)(**inputs).logits, before)
