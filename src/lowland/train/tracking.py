"""Tracking of one training by transformers' integrations: they begin with it, know what was asked, and end with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from filelock import FileLock
from transformers import Trainer, TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from lowland.ground.runtime import environment_with
from lowland.train.job import Job
from lowland.train.trackers import TRACKERS, Tracker, tracker_environment, tracker_folder


@contextmanager
def trackers_at_home(job: Job) -> Iterator[None]:
    """Let the job's trackers write into the folder beside the runs, in this block; build the Trainer in it."""
    if not job.trackers:
        yield
        return
    out = Path(job.out)
    folder = tracker_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(environment_with(**tracker_environment(job.trackers, out, job.name)))
        if "trackio" in job.trackers:  # it prints; what lowland prints is its result alone
            stack.enter_context(redirect_stdout(io.StringIO()))
        with FileLock(folder / ".lock"):
            for name in job.trackers:
                TRACKERS[name].prepare()
        yield


@contextmanager
def tracked(trainer: Trainer, job: Job) -> Iterator[None]:
    """Tell the trackers what was asked when the training begins, and end their runs with the block.

    Afterwards the Trainer has none of them any more, so that predictions are not logged.
    """
    running = _running(trainer, job)
    description = _Description(running, job)
    trainer.add_callback(description)
    failed = True
    try:
        yield
        failed = False
    finally:
        for tracker, callback in running:
            trainer.remove_callback(callback)
            tracker.close(callback, failed)
        trainer.remove_callback(description)


def _running(trainer: Trainer, job: Job) -> list[tuple[Tracker, TrainerCallback]]:
    """Return each tracker with transformers' callback for it."""
    kinds = get_reporting_integration_callbacks(list(job.trackers))
    callbacks = trainer.callback_handler.callbacks
    return [
        (TRACKERS[name], next(callback for callback in callbacks if type(callback) is kind))
        for name, kind in zip(job.trackers, kinds, strict=True)
    ]


class _Description(TrainerCallback):
    """Callback that adds what was asked to each tracker's run; transformers' callbacks come first, and begin them."""

    def __init__(self, running: list[tuple[Tracker, TrainerCallback]], job: Job) -> None:
        self.running, self.asked = running, job.asked()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add what was asked."""
        if state.is_world_process_zero:
            for tracker, callback in self.running:
                tracker.describe(callback, self.asked)
