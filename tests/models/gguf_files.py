"""Tiny models of llama's and Gemma's shape, and GGUF files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

from tests.conftest import BAD, FILL, GOOD

WORDS = sorted({word for text in (*GOOD, *BAD, *FILL, "again") for word in text.split()})
TOKENS = [
    "<unk>",
    "BOS",
    "EOS",
    "<pad>",
    "<mask>",
    "▁",
    *sorted(set("".join(WORDS))),
    *(f"▁{word}" for word in WORDS),
]
SIZES = {
    "vocab_size": len(TOKENS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 3,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "dtype": torch.float32,
}
"""Rows of 32 weights, the block of Q8_0."""
ENDS = {"llama": ("<s>", "</s>"), "gemma3": ("<bos>", "<eos>")}
"""Tokens at the beginning and the end of a text."""


def tiny(architecture: str) -> Any:
    """A language model with random weights, in float32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if architecture == "llama":
            model: Any = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=False))
        else:
            options: Any = {"sliding_window": 32, "query_pre_attn_scalar": 256, "tie_word_embeddings": True}
            model = Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **options))
        for parameter in model.parameters():  # norms too, which begin as ones or zeros
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def write_gguf(model: Any, path: Path, file_type: str = "F32", *, without: str = "", **metadata: Any) -> Path:
    """Write a model as llama.cpp's converter does.

    Args:
        model: from `tiny`.
        path: the file.
        file_type: type of the matrices; vectors are in F32.
        without: name of a tensor to leave out.
        metadata: further entries, or others than the usual ones; `architecture` too.
    """
    gguf = pytest.importorskip("gguf")
    config = model.config
    family = "llama" if config.model_type == "llama" else "gemma3"
    writer = gguf.GGUFWriter(path, metadata.pop("architecture", family))
    prefix = "MOSTLY" if file_type != "F32" else "ALL"
    writer.add_file_type(gguf.LlamaFileType[f"{prefix}_{file_type}"])
    writer.add_name("The Original")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    if family == "gemma3":
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _add_tokenizer(writer, ENDS[family])
    for key, value in metadata.items():
        writer.add_uint16(key.replace("__", "."), value)
    kind = gguf.GGMLQuantizationType[file_type]
    for name, values in _tensors(model, family).items():
        if name == without:
            continue
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, ends: tuple[str, str]) -> None:
    special = {0: 2, 1: 3, 2: 3, 3: 3, 4: 3}  # unknown, and control
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*TOKENS[:1], *ends, *TOKENS[3:]])
    writer.add_token_scores([-float(number) for number in range(len(TOKENS))])
    writer.add_token_types([special.get(number, 1) for number in range(len(TOKENS))])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_add_bos_token(True)


def _tensors(model: Any, family: str) -> dict[str, np.ndarray]:
    import gguf

    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, family.upper()), model.config.num_hidden_layers)
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    tensors = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        new = names.get_name(name, try_suffixes=(".weight",))
        part = new.split(".")[-2]
        if family == "gemma3" and "norm" in name:
            values = values + 1  # llama.cpp multiplies by w, transformers by 1 + w
        if family == "llama" and part in heads:  # llama.cpp rotates neighbours, transformers the two halves
            values = values.reshape(heads[part], 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        tensors[new] = np.ascontiguousarray(values)
    return tensors
