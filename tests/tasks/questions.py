"""Questions about contexts that a tiny model can learn, and that model: the answer is the name in the context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

NAMES = ("Anna", "Ben", "Carla", "Dev")
PLACES = ("bank", "firm", "unit", "mill", "port", "farm")
WORDS = ("who", "runs", "the", "is", "led", "by", "now", "and", "then", "old", ".", "?")


def tiny_tokenizer(**changes: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, which puts pairs together as BERT's does."""
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    words = [*special.values(), *NAMES, *PLACES, *WORDS]
    raw = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = Whitespace()
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, model_max_length=64, model_input_names=names, **{**special, **changes}
    )


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a tiny BERT and its tokenizer, as a model of the hub, and return the folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def question_rows(titles: int = 8, each: int = 12) -> list[dict[str, Any]]:
    """Questions with answers as the hub's tables hold them; a third has no answer. Some contexts need two windows."""
    rows = []
    for number in range(titles * each):
        place, name = PLACES[number % len(PLACES)], NAMES[number % len(NAMES)]
        before = "the old mill is old . " * (number % 5)
        leader = "the farm" if number % 3 == 2 else name
        context = f"{before}the {place} is led by {leader} now ." + " then ." * (number // 6)
        answers = [] if number % 3 == 2 else [name]
        rows.append(
            {
                "id": f"q{number}",
                "title": f"title {number // each}",
                "question": f"who runs the {place} ?",
                "context": context,
                "answers": {"text": answers, "answer_start": [context.index(text) for text in answers]},
            }
        )
    return rows


def as_squad(rows: list[dict[str, Any]], version: str = "v2.0") -> dict[str, Any]:
    """The same questions in SQuAD's form, a paragraph for each."""
    articles: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        pairs = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        question = {"id": row["id"], "question": row["question"], "answers": pairs}
        if version == "v2.0":
            question["is_impossible"] = not texts
        articles.setdefault(row["title"], []).append({"context": row["context"], "qas": [question]})
    data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles.items()]
    return {"version": version, "data": data}


def write_squad(path: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Write questions in SQuAD's form, and return the path."""
    content = as_squad(question_rows() if rows is None else rows, **changes)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
