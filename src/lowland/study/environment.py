"""What a run ran on and with: a result without it cannot be judged."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import lowland

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "safetensors", "scikit-learn")


def environment(dtype: str) -> dict[str, Any]:
    """Versions, processor, cores, threads, device, and the number format of the training, "fp32" or "bf16"."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "dtype": dtype,
    }


def code() -> dict[str, str]:
    """Lowland's version, and SHA-256 of its source files."""
    digest = hashlib.sha256()
    root = Path(lowland.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return {"lowland": lowland.__version__, "source_sha256": digest.hexdigest()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
