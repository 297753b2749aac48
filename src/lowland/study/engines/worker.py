"""Worker process: takes jobs from a pipe, one after another, and sends back what they say and leave."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.runtime import keep_large_blocks
from lowland.study.messages import Relay
from lowland.train.job import Job


@dataclass(frozen=True)
class Task:
    """A job to run.

    Attributes:
        job: the job.
        fresh: whether a finished run is replaced.
        label: label of the run in reports.
        bars: whether its training can be shown as a bar.
    """

    job: Job
    fresh: bool
    label: str
    bars: bool


@dataclass(frozen=True)
class Done:
    """The folder that a job's record is in."""

    folder: Path


@dataclass(frozen=True)
class Raised:
    """An error that ends the study."""

    error: Exception


def nothing() -> None:
    """Prepare nothing."""


def work(connection: Connection, threads: int, prepare: Callable[[], None]) -> None:
    """Run jobs until there are no more.

    Args:
        connection: the worker's end of the pipe.
        threads: number of threads of torch.
        prepare: function to call first.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()
    import torch

    from lowland.study.run import run_job

    torch.set_num_threads(threads)
    keep_large_blocks()
    while (task := connection.recv()) is not None:
        progress = Relay(connection.send, task.bars)
        try:
            folder = run_job(task.job, fresh=task.fresh, progress=progress, label=task.label)
        except (Mistake, OSError) as error:
            connection.send(Raised(error))
            return
        connection.send(Done(folder))


def _end_with_parent() -> None:
    """End this process when its parent ends, however that ends."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
