"""Settings of the process: environment variables for a while, and an allocator that keeps freed memory.

A training step frees and requests the same large blocks over and over. By default glibc returns each block to the
system, and gets it again page by page, filled with zeros. With the blocks kept, a step of BERT-base on two cores took
0.8 to 0.9 of the time, and the process held about 7 % more memory (`benchmarks/step_time.py --allocator default keep`
measures it).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
NEVER = -1
LARGEST = (2**31 - 1, 2**25)
"""Size in bytes up to which blocks are kept: the largest value of `mallopt`, and that of older versions of glibc."""


@contextmanager
def environment_with(**changes: str) -> Iterator[None]:
    """Set environment variables for a block; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def keep_large_blocks() -> bool:
    """Make glibc keep freed memory for this process, by `mallopt(3)`.

    The command line calls it when it starts to train; in a program of your own, call it before the first step. It does
    nothing with another C library, or if the environment configures the allocator (`MALLOC_…`, `GLIBC_TUNABLES`,
    another allocator in `LD_PRELOAD`).

    Returns:
        Whether it took effect.
    """
    chosen = any(
        name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD") for name in os.environ
    )
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    if not any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST):
        return False
    return bool(libc.mallopt(M_TRIM_THRESHOLD, NEVER))
