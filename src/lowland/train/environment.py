"""Environment of a run: versions, hardware, number format."""

from __future__ import annotations

from typing import Any

import torch

from lowland.ground.provenance import machine
from lowland.train.processes import process_count

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "safetensors", "scikit-learn")


def environment(dtype: str) -> dict[str, Any]:
    """Return the entry for a record: versions, processor, cores, threads, device and number format.

    Args:
        dtype: the number format that the run computes in, "fp32" or "bf16".
    """
    return {
        **machine(*PACKAGES),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "dtype": dtype,
        **({"processes": process_count()} if process_count() > 1 else {}),
    }
