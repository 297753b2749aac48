"""Engine of this machine: runs side by side in worker processes, which share the cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from lowland.ground.progress import Progress
from lowland.ground.runtime import environment_with
from lowland.study.engines.forks import PASSIVE, may_have_workers, workers_context
from lowland.study.engines.worker import Done, Raised, Task, nothing, work
from lowland.study.messages import Moved, Said
from lowland.study.progress import StudyProgress, label_of
from lowland.study.run import record_death, run_one_after_another
from lowland.train.job import Job

BASE_BYTES, BYTES_PER_WEIGHT_BYTE = 10**9, 10
"""Memory of a run: what the libraries take, and the multiple of the size of the model's weights in their files.
Measured: 1.9 GB for MiniLM (90 MB), 6.3 GB for Gemma 3 270M (540 MB)."""


@dataclass(frozen=True)
class Workers:
    """Number of runs at a time, and of threads for each."""

    count: int
    threads: int


def workers_for(jobs: Sequence[Job], asked: int | None = None) -> Workers:
    """Return the number of workers: one for each core, or fewer if memory is short; on a GPU one.

    Args:
        jobs: the jobs of the study.
        asked: the number that the user wants; None chooses.
    """
    cores = cores_here()
    if asked is not None:
        count = min(asked, len(jobs))
    elif torch.cuda.is_available() or not may_have_workers(len(jobs), asked):
        count = 1
    else:
        fitting = int(psutil.virtual_memory().available // max(map(needed_bytes, jobs)))
        count = max(1, min(len(jobs), cores, fitting))
    return Workers(count, max(1, cores // count))


def cores_here() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def needed_bytes(job: Job) -> int:
    """Return an estimate of the memory that a run takes."""
    files = [*job.source.folder.glob("*.safetensors"), *job.source.folder.glob("pytorch_model*.bin")]
    return BASE_BYTES + BYTES_PER_WEIGHT_BYTE * sum(path.stat().st_size for path in files)


@dataclass(frozen=True)
class LocalEngine:
    """Runs jobs in worker processes.

    A worker that dies costs its run, which is recorded as failed, and nothing else. With one worker, the jobs run in
    this process.

    Args:
        asked: number of workers; None chooses by cores, memory and number of jobs.
        prepare: function that each worker calls first; it must be importable.
    """

    asked: int | None = None
    prepare: Callable[[], None] = nothing

    def __call__(self, jobs: Sequence[Job], fresh: bool, progress: Progress) -> list[Path]:
        """Run jobs, and return the folders of their records in the jobs' order.

        Raises:
            Mistake: if a method does not fit the model.
            OSError: if a record cannot be written.
        """
        workers = workers_for(jobs, self.asked)
        if workers.count == 1:
            return run_one_after_another(jobs, fresh, progress)
        progress.say(f"{workers.count} runs at a time, each with {workers.threads} of the cores")
        with StudyProgress(jobs, workers.count, progress) as study:
            return _Pool(jobs, fresh, study, workers, self.prepare).run()


@dataclass
class _Worker:
    """Worker process, with the number of the job that it runs."""

    process: BaseProcess
    connection: Connection
    number: int | None = None


@dataclass
class _Pool:
    """Worker processes, and what is still to be run."""

    jobs: Sequence[Job]
    fresh: bool
    study: StudyProgress
    workers: Workers
    prepare: Callable[[], None]
    waiting: list[int] = field(default_factory=list)
    folders: dict[int, Path] = field(default_factory=dict)
    living: list[_Worker] = field(default_factory=list)

    def run(self) -> list[Path]:
        """Run all jobs."""
        self.waiting = list(range(len(self.jobs)))
        try:
            for _ in range(self.workers.count):
                self._start()
            while len(self.folders) < len(self.jobs):
                by_handle: dict[Any, _Worker] = {worker.connection: worker for worker in self.living}
                by_handle |= {worker.process.sentinel: worker for worker in self.living}
                for worker in {
                    id(by_handle[ready]): by_handle[ready] for ready in wait(list(by_handle))
                }.values():
                    self._listen(worker)
        finally:
            for worker in self.living:
                worker.process.terminate()
            for worker in self.living:
                worker.process.join()
        return [self.folders[number] for number in range(len(self.jobs))]

    def _start(self) -> None:
        """Start a worker, and give it a job."""
        if not self.waiting:
            return
        context = workers_context()
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.workers.threads, self.prepare), daemon=True)
        with environment_with(**PASSIVE):
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self.living.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Give a worker the next job; end it if there is none."""
        worker.number = self.waiting.pop(0) if self.waiting else None
        if worker.number is None:
            worker.connection.send(None)
            return
        job = self.jobs[worker.number]
        label = label_of(job, worker.number, len(self.jobs))
        self.study.began(worker.number)
        worker.connection.send(Task(job, self.fresh, label, self.study.progress.on_terminal))

    def _listen(self, worker: _Worker) -> None:
        """Take all messages of a worker; see what became of it if there can be no more."""
        try:
            while worker.connection.poll():
                self._take(worker, worker.connection.recv())
        except (EOFError, OSError):
            self._bury(worker)
            return
        if not worker.process.is_alive() and not worker.connection.poll():
            self._bury(worker)

    def _take(self, worker: _Worker, message: Said | Moved | Done | Raised) -> None:
        if isinstance(message, Raised):
            raise message.error
        if isinstance(message, Said | Moved):
            self.study.take(message)
            return
        assert worker.number is not None
        number = worker.number
        self.folders[number] = message.folder
        self._give(worker)
        self.study.ended(number, message.folder)

    def _bury(self, worker: _Worker) -> None:
        """Record the run of a worker that died, and start another worker."""
        self.living.remove(worker)
        worker.process.join()
        if worker.number is None or worker.number in self.folders:
            return
        job = self.jobs[worker.number]
        label = label_of(job, worker.number, len(self.jobs))
        folder = record_death(job, _cause(worker.process.exitcode), self.study.progress, label)
        self.folders[worker.number] = folder
        self._start()
        self.study.ended(worker.number, folder)


def _cause(code: int | None) -> str:
    """Return why a worker died, for the record of its run."""
    if code == -9:
        return (
            "its process was killed (signal 9), as Linux does when memory runs out; fewer --workers may help"
        )
    return f"its process ended with exit code {code}"
