"""Named randomness: independent streams from (seed, name).

Every random choice belongs to a named stream, for instance "head" (initialisation of the head), "adapter"
(initialisation of A), "order" (order of the training data), "dropout", "noise" (Flat-LoRA), "neftune", "split" and
"corruption" (stress tests). A stream depends on its seed and its name alone. So two methods with the same seed see the
same batches in the same order with the same dropout masks. (Dropout on the adapters' input draws from the stream
"dropout", too: with it, a method with adapters has other masks than a method without.)
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np


def stream_seed(seed: int, *name: str | int) -> int:
    """Return the seed of the stream `name`: a pure function of (seed, name).

    Args:
        seed: the seed of the run.
        name: the stream, with as many parts as needed, for instance `"noise", step, layer`.

    Returns:
        A whole number in [0, 2**63), from SHA-256: similar names give unrelated seeds. Parts are kept apart, so
        ("a", "bc") and ("ab", "c") differ, and so do 1 and "1".

    Examples:
        >>> torch.Generator().manual_seed(stream_seed(42, "adapter", "encoder.layer.0"))
    """
    parts = [part if isinstance(part, str) else int(part) for part in name]
    asked = repr((int(seed), *parts)).encode()
    return int.from_bytes(hashlib.sha256(asked).digest()[:8], "big") >> 1


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return a NumPy generator for the stream `name`; see `stream_seed`."""
    return np.random.default_rng(stream_seed(seed, *name))


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global generators when the block ends: Python's, NumPy's, and torch's if torch is loaded.

    Of torch's, the CPU's generator and that of the current CUDA device are restored.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        if (torch := sys.modules.get("torch")) is not None:
            devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
            stack.enter_context(torch.random.fork_rng(devices))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
