"""Progress of a study: runs done, running and failed, the best method so far, and the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Self

from lowland.ground.progress import Bar, Progress
from lowland.ground.record_files import read_record
from lowland.ground.records import RunRecord
from lowland.ground.time_left import TimeLeft
from lowland.study.messages import Began, Moved, Said

if TYPE_CHECKING:
    from lowland.train.job import Job


class TrainingBars:
    """A bar for each training in another process, from its first message to its last one."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._bars: dict[str, Bar] = {}

    def move(self, message: Moved) -> None:
        """Show how far a training is."""
        bar = self._bars.get(message.label)
        if bar is None:
            bar = self.progress.bar(message.total, unit=message.unit, label=message.label).__enter__()
            self._bars[message.label] = bar
        bar.note(message.text)
        bar.step(message.done - bar.done)
        if message.ended:
            self.end_of(message.label)

    def end_of(self, label: str) -> None:
        """Remove the bar with this label, if there is one."""
        if bar := self._bars.pop(label, None):
            bar.end()

    def end(self) -> None:
        """Remove all bars."""
        for label in list(self._bars):
            self.end_of(label)


class StudyProgress:
    """Progress of a study's runs. Enter it as a context around the runs. A single run has no bar of runs.

    Args:
        jobs: the jobs of the study.
        workers: number of runs at a time.
        progress: where it is shown.
    """

    def __init__(self, jobs: Sequence[Job], workers: int, progress: Progress) -> None:
        self.jobs, self.progress = jobs, progress
        self.left = TimeLeft([job.method.label for job in jobs], workers)
        self.failed = 0
        self._began: dict[int, float] = {}
        self._scores: dict[str, list[float]] = {}
        self._bar = (progress if len(jobs) > 1 else Progress()).bar(len(jobs), unit="runs")
        self._trainings = TrainingBars(progress)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._trainings.end()
        self._bar.end()

    def take(self, message: Said | Began | Moved) -> None:
        """Show what a run says."""
        match message:
            case Said():
                message.show(self.progress)
            case Began():
                self.began(message.number)
            case Moved():
                self._trainings.move(message)
                self._bar.note(self.summary())

    def began(self, number: int) -> None:
        """Note that the job with this number runs now."""
        self._began[number] = time.perf_counter()
        self._bar.note(self.summary())

    def stopped(self, number: int) -> None:
        """Note that a job runs no longer: it has ended, or waits to be run again."""
        self._began.pop(number, None)
        self._trainings.end_of(label_of(self.jobs[number], number, len(self.jobs)))

    def ended(self, number: int, folder: Path) -> None:
        """Note that a job has ended.

        Args:
            number: number of the job.
            folder: folder of its record.
        """
        record, label = read_record(folder), self.jobs[number].method.label
        seconds = time.perf_counter() - self._began.get(number, time.perf_counter())
        self.stopped(number)
        if record.failure is not None:
            self.failed += 1
        elif record.validation:
            score = self.jobs[number].task.scores[0]
            self._scores.setdefault(label, []).append(record.validation[score])
        was_run = record.failure is None and seconds >= record.cost["train_seconds"]  # else found
        self.left.ended(label, seconds if was_run else None)
        self._bar.note(self.summary())
        self._bar.step()

    def summary(self) -> str:
        """Return in words what runs, what failed, the best method on validation data, and the time left."""
        now = time.perf_counter()
        parts = [
            f"{count} {state}"
            for count, state in ((len(self._began), "running"), (self.failed, "failed"))
            if count
        ]
        if self._scores:
            means = {label: fmean(scores) for label, scores in self._scores.items()}
            best = max(means, key=means.__getitem__)
            name = self.jobs[0].task.scores[0].replace("_", " ")
            parts.append(f"best so far: {best}, validation {name} {means[best]:.3f}")
        if self.left.waiting and (
            left := self.left.sentence(sum(now - began for began in self._began.values()))
        ):
            parts.append(left)
        return "; ".join(parts)


class TrialsProgress:
    """Progress of a sweep's trials. Enter it as a context around the trials.

    Args:
        labels: label of the method of each trial.
        progress: where it is shown.
        workers: number of trials at a time, of different methods.
    """

    def __init__(self, labels: Sequence[str], progress: Progress, workers: int = 1) -> None:
        self.left, self.progress = TimeLeft(labels, workers), progress
        self._bar, self._trainings = progress.bar(len(labels), unit="trials"), TrainingBars(progress)
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._trainings.end()
        self._bar.end()

    def take(self, message: Said | Moved) -> None:
        """Show what a trial in another process says."""
        if isinstance(message, Moved):
            self._trainings.move(message)
        else:
            message.show(self.progress)

    def began(self, label: str) -> None:
        """Note that a trial of the method with this label runs now."""
        self._began[label] = time.perf_counter()

    def ended(self, label: str, best: Mapping[str, float | None], was_run: bool = True) -> None:
        """Note that a trial has ended.

        Args:
            label: label of its method.
            best: best validation score so far, for each label.
            was_run: whether it was trained here, and not found.
        """
        seconds = time.perf_counter() - self._began.pop(label)
        self.left.ended(label, seconds if was_run else None)
        scores = ", ".join(f"{name} {score:.3f}" for name, score in best.items() if score is not None)
        parts = [f"best so far on validation data: {scores}"] if scores else []
        if self.left.waiting and (left := self.left.sentence()):
            parts.append(left)
        self._bar.note("; ".join(parts))
        self._bar.step()


def label_of(job: Job, number: int, count: int) -> str:
    """Return what reports of a study call a run: the job with this number, from 0 on, of `count`.

    A job that is one of a share has its number in the whole study.
    """
    place, of = job.place or (number + 1, count)
    return f"[{place}/{of}] {job.method.label}, seed {job.seed}"


def outcome_of(record: RunRecord) -> str:
    """Return a finished run's primary score in words."""
    name, value = next(iter(record.scores["test"].items()))
    return f"{name.replace('_', ' ')} {value:.3f} on {record.data['sizes']['test']} test examples"
