"""What a model ran on and with."""

from __future__ import annotations

from typing import Any

import torch

from lowland.ground.provenance import machine

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "safetensors", "scikit-learn")


def environment(dtype: str) -> dict[str, Any]:
    """Versions, processor, cores, threads, device, and the number format it computed in, "fp32" or "bf16"."""
    return {
        **machine(*PACKAGES),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "dtype": dtype,
    }
