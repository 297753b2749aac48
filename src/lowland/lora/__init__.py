"""LoRA (Hu et al., 2021, arXiv 2106.09685): what is learned.

Read `linear.py` first (the layer; its arithmetic is in `fused.py`, and `embedding.py` is its like for embeddings), then
`config.py`, `targets.py` and `inject.py` (into a model), `merge.py` (into the weight), `peft_config.py` and
`checkpoint.py` (to disk and back), `plus.py` (how fast B learns). `bases.py` says how a layer's own weight is read.
"""

from lowland.lora.checkpoint import load_adapter, save_adapter
from lowland.lora.config import LoRAConfig
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.inject import (
    ParameterCount,
    add_lora,
    count_parameters,
    lora_layers,
    remove_lora,
)
from lowland.lora.layer import LoRALayer
from lowland.lora.linear import LoRALinear
from lowland.lora.merge import merge_lora, unmerge_lora
from lowland.lora.plus import lora_plus_groups
from lowland.lora.targets import find_head

__all__ = [
    "LoRAConfig",
    "LoRAEmbedding",
    "LoRALayer",
    "LoRALinear",
    "ParameterCount",
    "add_lora",
    "count_parameters",
    "find_head",
    "load_adapter",
    "lora_layers",
    "lora_plus_groups",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "unmerge_lora",
]
