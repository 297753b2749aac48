"""Tiny models and data for the examples; they need no network. Replace them by your own."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

GOOD, BAD = ("rises", "gains", "wins", "grows"), ("falls", "loses", "fails", "shrinks")
WHO = ("the firm", "its unit", "a bank", "the shop", "one plant", "my club")
TEXTS = [f"{who} {verb}" for verbs in (GOOD, BAD) for verb in verbs for who in WHO]
LABELS = [int(text.split()[-1] in GOOD) for text in TEXTS]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}


def language_model(name: str | None) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer: by folder or id, or a tiny Llama."""
    set_seed(0)
    if name:
        return AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    tokenizer = words()
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **SIZES)
    return LlamaForCausalLM(config), tokenizer


def classifier(name: str | None) -> tuple[Any, Any]:
    """Return a classifier with two classes and its tokenizer: by folder or id, or a tiny BERT."""
    set_seed(0)
    if name:
        model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2)
        return model, AutoTokenizer.from_pretrained(name)
    tokenizer = words()
    return BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **SIZES)), tokenizer


def words() -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows the words of the texts."""
    vocabulary = dict.fromkeys(["<pad>", "<unk>", "<eos>", *" ".join(TEXTS).split()])
    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    raw.pre_tokenizer = Whitespace()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **names)
