"""Worker processes that begin with the libraries imported: a server imports them once, and each worker is its fork.

To import torch, transformers and peft takes seconds of a core. A server that is started early imports them while the
parent reads data. Where a system cannot fork (Windows), each worker imports them itself.
"""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING

from lowland.ground.runtime import environment_with
from lowland.train.processes import process_count

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

FEWEST = 4
"""Number of runs from which there are workers by default."""
CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()
PASSIVE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""Environment in which workers import torch. By default its threads spin while they wait: with as many of them as
cores, they keep each other from working. A worker asks for more threads later, if it may have more."""


def may_have_workers(runs: int, asked: int | None) -> bool:
    """Return whether a study of so many runs may have worker processes, without a look at GPUs and memory.

    Args:
        runs: number of runs.
        asked: number of workers that the user wants; None chooses.
    """
    if asked is not None:
        return min(asked, runs) > 1
    return runs >= FEWEST and process_count() == 1  # else one run has several processes already


def start_server(imports: str = "lowland.study.run") -> None:
    """Start the server if it is not running, and return at once; it imports in the meantime.

    Args:
        imports: module that the server imports.
    """
    if CAN_FORK:
        from multiprocessing import forkserver, resource_tracker

        multiprocessing.get_context("forkserver").set_forkserver_preload([imports])
        resource_tracker.ensure_running()  # its own start would lift the block
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )  # Ctrl-C: the parent ends its workers
        try:
            with environment_with(**PASSIVE):
                forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def workers_context() -> ForkServerContext | SpawnContext:
    """Return the context whose processes are workers; start them `with environment_with(**PASSIVE)`."""
    if not CAN_FORK:
        return multiprocessing.get_context("spawn")
    start_server()
    return multiprocessing.get_context("forkserver")
