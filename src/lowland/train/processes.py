"""Processes that train one run together, as torchrun and accelerate launch start them: data parallelism by DDP.

The first process leads: it decides, writes and prints. The others follow it from training to training.
"""

from __future__ import annotations

import os
from typing import TypeVar

Value = TypeVar("Value")


def process_count() -> int:
    """Return the number of processes; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process_rank() -> int:
    """Return the number of this process, from 0 on."""
    return int(os.environ.get("RANK", 0))


def is_first() -> bool:
    """Return whether this process leads."""
    return process_rank() == 0


def speaks_for_machine() -> bool:
    """Return whether this process is the first on its machine: mistakes that all its processes make, it names once."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def from_first(value: Value) -> Value:
    """Return the first process's value in all processes, each of which must call this.

    Args:
        value: a value that can be pickled; that of other processes is ignored.
    """
    if process_count() == 1:
        return value
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.cuda.is_available())  # the processes meet, if they have not yet
    values = [value]
    broadcast_object_list(values)
    return values[0]


def part_ways() -> None:
    """End the connection between the processes."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
