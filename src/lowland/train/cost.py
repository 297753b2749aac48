"""Cost of a run: seconds and peak memory."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
import time
from pathlib import Path
from typing import Self

import torch


class Meter:
    """Context manager that measures time and peak memory of its block.

    Attributes:
        seconds: wall-clock time of the block.
        peak_bytes: peak memory during the block. With CUDA, what torch allocated on the GPU. Without it, the resident
            set size of the whole process, the program and its libraries included: the kernel's high-water mark, which
            is reset at the start of the block. Some containers forbid the reset; the peak is then that since the start
            of the process. 0 without CUDA on systems other than Linux, which do not report it.

    Examples:
        >>> with Meter() as meter:
        ...     trainer.train()
        >>> meter.seconds, meter.peak_bytes
    """

    seconds = 0.0
    peak_bytes = 0

    def __enter__(self) -> Self:
        gc.collect()
        _trim()
        _reset_peak()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.peak_bytes = peak_memory()


def _trim() -> None:
    """Return memory that earlier runs freed to the system, so that it is not counted."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
        except OSError:
            return  # some containers do not allow it: the peak is then that since the start of the process


def peak_memory() -> int:
    """Return the peak memory in bytes since it was last reset; see `Meter`."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
