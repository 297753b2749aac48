"""What workers of the tests do before their first job: runs of some seeds end in other ways."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from lowland.ground.mistakes import Mistake


def _fail() -> None:
    raise RuntimeError("it fails")


def _refuse() -> None:
    raise Mistake("it does not fit", "nor does anything else")


ENDS: dict[int, Callable[[], None]] = {
    2: lambda: os.kill(os.getpid(), signal.SIGKILL),  # as where memory runs out
    4: _fail,
    9: _refuse,
}
"""How a run ends, by its seed; runs of other seeds end well."""


def end_by_seed() -> None:
    """Let runs end by `ENDS`."""
    from lowland.study import run

    real = run.fit

    def fit(job: Any, *rest: Any) -> Any:
        ENDS.get(job.seed, lambda: None)()
        return real(job, *rest)

    run.fit = fit


def checkpoint_at_every_step() -> None:
    """Let runs leave a checkpoint at every logged step."""
    from lowland.train import checkpoints

    checkpoints.EVERY_SECONDS = 0.0


def kill_first_trial_of_full() -> None:
    """End the process that makes the first trial of `full`."""
    from lowland.study import trials

    real = trials.fit

    def fit(job: Any, *rest: Any) -> Any:
        if job.method.label == "full" and job.settings.lr == job.method.method.defaults["lr"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(job, *rest)

    trials.fit = fit
