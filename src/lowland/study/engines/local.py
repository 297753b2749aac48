"""Engine of this machine: runs, or trials of a search, side by side in worker processes that share the cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.study.engines.forks import may_have_workers
from lowland.study.engines.pool import Pool, Workers
from lowland.study.engines.worker import RunTask, TrialTask, nothing
from lowland.study.progress import StudyProgress, TrialsProgress, label_of
from lowland.study.run import record_death, run_one_after_another
from lowland.study.sweep import run_trials_in_turns
from lowland.study.trials import Trials
from lowland.train.job import Job

BASE_BYTES, BYTES_PER_WEIGHT_BYTE = 10**9, 10
"""Memory of a run: what the libraries take, and the multiple of the size of the model's weights in their files.
Measured: 1.9 GB for MiniLM (90 MB), 6.3 GB for Gemma 3 270M (540 MB)."""


def workers_for(jobs: Sequence[Job], asked: int | None = None, most: int | None = None) -> Workers:
    """Return the number of workers: one for each core, or fewer if memory is short; on a GPU one.

    Args:
        jobs: the jobs of the study.
        asked: the number that the user wants; None chooses.
        most: number of jobs that can run at a time; None for all.
    """
    cores = cores_here()
    if asked is not None:
        count = min(asked, len(jobs))
    elif torch.cuda.is_available() or not may_have_workers(len(jobs), asked):
        count = 1
    else:
        fitting = int(psutil.virtual_memory().available // max(map(needed_bytes, jobs)))
        count = max(1, min(len(jobs), cores, fitting))
    count = min(count, most or count)
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
        folders: dict[int, Path] = {}
        with StudyProgress(jobs, workers.count, progress) as study:
            waiting = iter(range(len(jobs)))

            def following() -> RunTask | None:
                number = next(waiting, None)
                if number is None:
                    return None
                study.began(number)
                label = label_of(jobs[number], number, len(jobs))
                return RunTask(number, jobs[number], fresh, label, progress.on_terminal)

            def ended(task: RunTask, folder: Path) -> None:
                folders[task.number] = folder
                study.ended(task.number, folder)

            def died(task: RunTask, cause: str) -> None:
                ended(task, record_death(task.job, cause, progress, task.label))

            Pool(workers, following, ended, died, study.take, self.prepare).run()
        return [folders[number] for number in range(len(jobs))]

    def run_trials(self, searched: Sequence[Trials], progress: Progress) -> None:
        """Run the trials of methods side by side. Those of one method run one after another: each depends on the last.

        Raises:
            Mistake: if a worker dies; the trials that have ended are kept.
        """
        missing = [max(0, trials.search.trials - len(trials.ended())) for trials in searched]
        jobs = [trials.job for trials, count in zip(searched, missing, strict=True) for _ in range(count)]
        workers = workers_for(jobs, self.asked, most=sum(map(bool, missing))) if jobs else Workers(1, 1)
        if workers.count == 1:
            run_trials_in_turns(searched, progress)
            return
        progress.say(f"{workers.count} trials at a time, each with {workers.threads} of the cores")
        idle = list(searched)
        with TrialsProgress([job.method.label for job in jobs], progress, workers.count) as counter:

            def following() -> TrialTask | None:
                numbers = {trials.label: len(trials.ended()) for trials in idle}
                trials = min(idle, key=lambda trials: numbers[trials.label], default=None)
                if trials is None or numbers[trials.label] >= trials.search.trials:
                    return None
                idle.remove(trials)
                counter.began(trials.label)
                return TrialTask(trials, trials.name(numbers[trials.label]), progress.on_terminal)

            def ended(task: TrialTask, _: None) -> None:
                trials = next(trials for trials in searched if trials.label == task.trials.label)
                idle.append(trials)
                counter.ended(trials.label, {each.label: each.best() for each in searched})

            def died(task: TrialTask, cause: str) -> None:
                raise Mistake(
                    f"{task.label}: {cause}; the other trials are kept, so repeat the command to go on"
                )

            Pool(workers, following, ended, died, counter.take, self.prepare).run()
