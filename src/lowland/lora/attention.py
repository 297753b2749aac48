"""Projections of a model's attention layers, by the names that architectures give them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import nn


class Projections(NamedTuple):
    """Names of the projections inside one kind of attention module.

    Attributes:
        queries_and_values: those of queries and values; a module with all of them is an attention layer of this kind.
        others: further projections, of which a module has some.
    """

    queries_and_values: tuple[str, ...]
    others: tuple[str, ...]


KINDS = (
    Projections(
        ("q_proj", "v_proj"), ("k_proj", "o_proj", "out_proj", "dense")
    ),  # Llama, Gemma, BART, ViT, Phi
    Projections(("query", "value"), ("key", "query_global", "key_global", "value_global", "dense")),  # BERT
    Projections(("query_proj", "value_proj"), ("key_proj",)),  # DeBERTa
    Projections(("q_lin", "v_lin"), ("k_lin", "out_lin")),  # DistilBERT
    Projections(("q", "v"), ("k", "o")),  # T5, MPNet
    Projections(("c_attn",), ("q_attn", "c_proj")),  # GPT-2: one layer for queries, keys and values
    Projections(("query_key_value",), ("dense",)),  # GPT-NeoX, Bloom
    Projections(("qkv_proj",), ("o_proj", "out_proj")),  # Phi-3, CodeGen
    Projections(("Wqkv",), ("Wo", "out_proj")),  # ModernBERT, MPT
    Projections(("to_q", "to_v"), ("to_k", "to_out.0")),  # diffusers
)
"""Kinds of attention modules. A model may have several, as those of text and images do."""


def attention_names(model: nn.Module, layers: Collection[str], *, all_of_them: bool) -> set[str]:
    """Return the names of the projections in a model's attention layers.

    Args:
        model: the model.
        layers: names of the linear layers to choose from.
        all_of_them: whether to return keys and outputs, too, or queries and values alone.
    """
    linear, names = set(layers), set[str]()
    for place, _ in model.named_modules():
        inside = f"{place}." if place else ""
        for kind in KINDS:
            standard = {f"{inside}{name}" for name in kind.queries_and_values}
            if not standard <= linear:
                continue
            names |= standard
            if all_of_them:
                names |= {f"{inside}{name}" for name in kind.others} & linear
                if inside.endswith("self."):  # BERT's output projection is beside this module
                    names |= {f"{inside.removesuffix('self.')}output.dense"} & linear
    return names
