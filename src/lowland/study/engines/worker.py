"""Worker process: takes tasks from a pipe, one after another, and sends back what they say and their outcomes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.runtime import keep_large_blocks
from lowland.study.messages import Relay
from lowland.train.job import Job

if TYPE_CHECKING:
    from lowland.study.trials import Trials


class Task(Protocol):
    """Task of a worker. It is pickled."""

    @property
    def label(self) -> str:
        """Name of the task in reports."""

    @property
    def bars(self) -> bool:
        """Whether a training can be shown as a bar."""

    def run(self, progress: Progress) -> object:
        """Run it, and return the outcome."""


@dataclass(frozen=True)
class RunTask:
    """A job to run; its outcome is the folder of its record.

    Attributes:
        number: number of the job in its study, from 0 on.
        job: the job.
        fresh: whether a finished run is replaced.
        label: label of the run in reports.
        bars: whether its training can be shown as a bar.
    """

    number: int
    job: Job
    fresh: bool
    label: str
    bars: bool

    def run(self, progress: Progress) -> Path:
        """Run the job."""
        from lowland.study.run import run_job

        return run_job(self.job, fresh=self.fresh, progress=progress, label=self.label)


@dataclass(frozen=True)
class TrialTask:
    """The next trial of a method; its outcome is in the storage.

    Attributes:
        trials: the trials of the method.
        label: name of the trial in reports.
        bars: whether its training can be shown as a bar.
    """

    trials: Trials
    label: str
    bars: bool

    def run(self, progress: Progress) -> None:
        """Train and keep the score."""
        self.trials.run_next(progress, self.label)


@dataclass(frozen=True)
class Done:
    """The outcome of a task."""

    outcome: Any


@dataclass(frozen=True)
class Raised:
    """An error that ends everything."""

    error: Exception


def nothing() -> None:
    """Prepare nothing."""


def work(connection: Connection, threads: int, prepare: Callable[[], None]) -> None:
    """Run tasks until there are no more.

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

    torch.set_num_threads(threads)
    keep_large_blocks()
    while (task := connection.recv()) is not None:
        try:
            outcome = task.run(Relay(connection.send, task.bars))
        except (Mistake, OSError) as error:
            connection.send(Raised(error))
            return
        connection.send(Done(outcome))


def _end_with_parent() -> None:
    """End this process when its parent ends, however that ends."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
