"""Tiny language models that write characters, built from configs; one tokenizer for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, END, BEGIN, UNKNOWN = range(4)
SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
CHARACTERS = [*map(chr, range(32, 127)), "\n"]
VOCABULARY = {name: number for number, name in enumerate([*SPECIAL.values(), *CHARACTERS])}
POSITIONS, WINDOW = 64, 4
"""Number of tokens that the models read, and Gemma 3's sliding window."""

NUMBERS = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": BEGIN}
SHARED = {"vocab_size": len(VOCABULARY), "max_position_embeddings": POSITIONS, **NUMBERS}
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ROTARY = {**SHARED, **WIDE, "num_key_value_heads": 2}
SIDES = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}

DECODERS = ("llama", "gemma3", "gpt2", "qwen2")
"""Decoders that keep packed examples apart."""
SHAPES = ("llama", "gemma3", "gpt2")
"""Decoders with rotary positions, with a sliding window, and with learned positions."""


def characters(*merges: tuple[str, str], around: str = "$A") -> PreTrainedTokenizerFast:
    """A tokenizer of characters, and of merged pairs of them.

    Args:
        *merges: pairs of characters that are one token.
        around: the text `$A` and the special tokens around it, as "<s> $A </s>".
    """
    vocabulary = {**VOCABULARY, **{a + b: len(VOCABULARY) + place for place, (a, b) in enumerate(merges)}}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), unk_token="<unk>"))
    raw.decoder = decoders.Fuse()
    raw.post_processor = TemplateProcessing(single=around, special_tokens=[("<s>", BEGIN), ("</s>", END)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, **SPECIAL)


def language_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """A model with random weights, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _build(family, changes).eval()


def long_decoder(family: str, window: int = 64) -> Any:
    """A decoder that reads 512 tokens; Gemma 3's window slides over as many as given."""
    changes = {
        "gpt2": {"n_positions": 512},
        "gemma3": {"max_position_embeddings": 512, "sliding_window": window},
    }
    return language_model(family, **changes.get(family, {"max_position_embeddings": 512}))


def _build(family: str, changes: dict[str, Any]) -> Any:
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**{**ROTARY, **changes}))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**{**ROTARY, **changes}))
    if family == "gemma3":
        layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
        return Gemma3ForCausalLM(Gemma3TextConfig(**{**ROTARY, "head_dim": 8, **layers, **changes}))
    if family == "gpt2":
        sizes = {
            "vocab_size": len(VOCABULARY),
            "n_positions": POSITIONS,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
        }
        return GPT2LMHeadModel(GPT2Config(**{**sizes, **NUMBERS, **changes}))
    if family == "opt":
        sizes = {"ffn_dim": 64, "word_embed_proj_dim": 32, "hidden_size": 32, "num_hidden_layers": 2}
        return OPTForCausalLM(OPTConfig(**{**SHARED, **sizes, "num_attention_heads": 2, **changes}))
    if family == "bloom":
        sizes = {"vocab_size": len(VOCABULARY), "hidden_size": 32, "n_layer": 2, "n_head": 2}
        return BloomForCausalLM(BloomConfig(**{**sizes, **NUMBERS, **changes}))
    if family == "bert":
        return BertForMaskedLM(BertConfig(**{**SHARED, **WIDE, **changes}))
    start = {"decoder_start_token_id": PAD}
    if family == "bart":
        sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "forced_eos_token_id": None}
        return BartForConditionalGeneration(BartConfig(**{**SHARED, **SIDES, **sizes, **start, **changes}))
    assert family == "t5"
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4}
    values = {"vocab_size": len(VOCABULARY), **NUMBERS, **sizes, **start, "dropout_rate": 0.0}
    return T5ForConditionalGeneration(T5Config(**{**values, **changes}))


def save(model: Any, folder: Path, tokenizer: Any = None) -> Path:
    """Save a model with a tokenizer, as a folder from the hub."""
    model.save_pretrained(folder)
    (tokenizer or characters()).save_pretrained(folder)
    return folder
