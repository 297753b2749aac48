"""Fine-tune with low-rank adapters that come to rest on flat land, and prove whether it helped.

The names below are loaded when they are first used, so that `import lowland` and the evidence rooms need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lowland import flat
    from lowland.flat import FlatLoRA
    from lowland.lora import (
        LoRAConfig,
        LoRALinear,
        add_lora,
        count_parameters,
        load_adapter,
        merge_lora,
        remove_lora,
        save_adapter,
        unmerge_lora,
    )

_ROOMS = {
    "FlatLoRA": "lowland.flat",
    "LoRAConfig": "lowland.lora",
    "LoRALinear": "lowland.lora",
    "add_lora": "lowland.lora",
    "count_parameters": "lowland.lora",
    "load_adapter": "lowland.lora",
    "merge_lora": "lowland.lora",
    "remove_lora": "lowland.lora",
    "save_adapter": "lowland.lora",
    "unmerge_lora": "lowland.lora",
}

__all__ = [
    "FlatLoRA",
    "LoRAConfig",
    "LoRALinear",
    "__version__",
    "add_lora",
    "count_parameters",
    "flat",
    "load_adapter",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "unmerge_lora",
]


def __getattr__(name: str) -> Any:
    if name == "flat":
        return importlib.import_module("lowland.flat")
    if name in _ROOMS:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'lowland' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
