"""The number of tokens that a model reads is what its position table allows, whatever its architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModel, BertConfig, LlamaConfig, MPNetConfig, PreTrainedConfig

from lowland.models.positions import position_limits, token_limit

POSITIONS, PAD = 24, 1
SIZES = {
    "vocab_size": 64, "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "emb_dim": 32, "embedding_size": 32,
    "num_hidden_layers": 1, "n_layer": 1, "n_layers": 1, "num_layers": 1, "encoder_layers": 1, "decoder_layers": 1,
    "num_attention_heads": 2, "n_head": 2, "n_heads": 2, "num_heads": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "intermediate_size": 32, "hidden_dim": 32, "d_ff": 32, "dff": 32,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "ffn_dim": 32, "word_embed_proj_dim": 32,
    "max_position_embeddings": POSITIONS, "pad_token_id": PAD,
}  # fmt: skip
BEHIND_PADDING = (
    "Camembert", "Data2VecText", "Esm", "IBert", "Longformer", "MarkupLM", "MPNet", "Roberta", "RobertaPreLayerNorm",
    "XLMRoberta", "XLMRobertaXL", "Xmod",
)  # fmt: skip
FROM_ZERO = (
    "Albert", "Bert", "BigBird", "BioGpt", "CTRL", "DistilBert", "Electra", "Ernie", "Flaubert", "FNet", "GPT2",
    "GPTNeo", "MegatronBert", "Nystromformer", "OPT", "OpenAIGPT", "XLM",
)  # fmt: skip


def tiny_config(family: str) -> PreTrainedConfig:
    """A config of one small layer, under whatever names the family's config uses."""
    config = getattr(transformers, f"{family}Config")()
    for name, value in SIZES.items():
        if hasattr(config, name):
            setattr(config, name, value)
    if family == "GPTNeo":
        config.attention_types, config.attention_layers = [[["global"], 1]], ["global"]
    if family == "Longformer":
        config.attention_window = [4]
    if family == "Xmod":
        config.default_language, config.languages = "en_XX", ["en_XX"]
    return config


def reads(model: nn.Module, length: int) -> bool:
    ids = torch.randint(4, 60, (1, length))
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("family", [*BEHIND_PADDING, *FROM_ZERO])
def test_the_limit_is_the_longest_text_that_the_model_can_read(family: str) -> None:
    config = tiny_config(family)
    with torch.random.fork_rng():
        model = AutoModel.from_config(config).eval()
    limit = min(position_limits(config))
    assert limit == POSITIONS - (PAD + 1 if family in BEHIND_PADDING else 0)
    assert reads(model, limit)
    assert not reads(model, limit + 1)


class Tokenizer:
    def __init__(self, model_max_length: Any) -> None:
        self.model_max_length = model_max_length


def test_the_smallest_of_request_tokenizer_and_model_holds() -> None:
    config = MPNetConfig(max_position_embeddings=514, num_hidden_layers=1)
    assert token_limit(Tokenizer(10**30), config, 100) == 100
    assert token_limit(Tokenizer(64), config, 100) == 64
    assert token_limit(Tokenizer(10**30), config, 1000) == 512


@pytest.mark.parametrize("no_limit", [None, -1, 0])
def test_values_that_stand_for_no_limit_are_not_taken_for_one(no_limit: Any) -> None:
    config = LlamaConfig(num_hidden_layers=1)
    config.__dict__["max_position_embeddings"] = no_limit  # some configs check a type when it is set
    assert token_limit(Tokenizer(no_limit), config, 300) == 300


def test_a_model_that_transformers_cannot_build_has_the_limit_of_its_config() -> None:
    class Unknown(PreTrainedConfig):
        model_type = "not-in-transformers"

    config = Unknown()
    assert position_limits(config) == []
    config.max_position_embeddings = 7
    assert position_limits(config) == [7]
    assert position_limits(BertConfig(max_position_embeddings=9, num_hidden_layers=1)) == [9, 9]
