"""LoRA (Hu et al., 2021, arXiv 2106.09685): what is learned.

Read `linear.py` first (the layer), then `inject.py` (into a model), `merge.py` (into the weight), `checkpoint.py`
(to disk and back).
"""

from lowland.lora.checkpoint import load_adapter, save_adapter
from lowland.lora.inject import (
    LoRAConfig,
    ParameterCount,
    add_lora,
    count_parameters,
    find_head,
    lora_layers,
    remove_lora,
)
from lowland.lora.linear import LoRALinear
from lowland.lora.merge import merge_lora, unmerge_lora

__all__ = [
    "LoRAConfig",
    "LoRALinear",
    "ParameterCount",
    "add_lora",
    "count_parameters",
    "find_head",
    "load_adapter",
    "lora_layers",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "unmerge_lora",
]
