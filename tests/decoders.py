"""Tiny decoders with a tokenizer of letters, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

PAD, END, BEGIN, UNKNOWN = range(4)
LETTERS = ["\n", *map(chr, range(32, 127))]
VOCABULARY = 4 + len(LETTERS)
SHAPES = ("llama", "gemma", "gpt2")


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are letters."""
    specials = {"<pad>": PAD, "</s>": END, "<s>": BEGIN, "<unk>": UNKNOWN}
    numbers = {letter: 4 + number for number, letter in enumerate(LETTERS)}
    raw = Tokenizer(models.BPE(vocab={**specials, **numbers}, merges=[], unk_token="<unk>"))
    raw.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )


def decoder(shape: str, window: int = 64) -> Any:
    """A decoder of 2 layers, 32 wide, of one of `SHAPES`, with the same weights each time; Gemma's window slides."""
    ids = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": BEGIN, "vocab_size": VOCABULARY}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if shape == "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **ids)).eval()
        if shape == "gemma":
            config = Gemma3TextConfig(
                **sizes,
                **ids,
                num_key_value_heads=1,
                head_dim=8,
                max_position_embeddings=256,
                sliding_window=window,
            )
            return Gemma3ForCausalLM(config).eval()
        config = LlamaConfig(**sizes, **ids, num_key_value_heads=2, max_position_embeddings=256)
        return LlamaForCausalLM(config).eval()


def save_decoder(folder: Path, shape: str = "llama") -> Path:
    """Save a decoder and its tokenizer in a folder, like one from the hub."""
    decoder(shape).save_pretrained(folder)
    letter_tokenizer().save_pretrained(folder)
    return folder
