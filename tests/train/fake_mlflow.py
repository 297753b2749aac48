"""Stand-in for the package mlflow: as much of it as transformers' callback and lowland call. It notes every call."""

from __future__ import annotations

import os
from typing import Any

__version__ = "3.0.0"

calls: list[tuple[str, Any]] = []
_running: list[str] = []


class utils:
    """Limits, as MLflow has them."""

    class validation:
        """Limits of parameters."""

        MAX_PARAM_VAL_LENGTH = 6000
        MAX_PARAMS_TAGS_PER_BATCH = 100


class MlflowClient:
    """Client of the store."""

    def search_experiments(self, max_results: int) -> list[Any]:
        """Make the store."""
        calls.append(("store", os.environ["MLFLOW_TRACKING_URI"]))
        return []


def is_tracking_uri_set() -> bool:
    """The environment sets it."""
    return True


def get_tracking_uri() -> str:
    """Return the store's address."""
    return os.environ["MLFLOW_TRACKING_URI"]


class _Run:
    class info:
        run_id = "1"


def active_run() -> _Run | None:
    """Return the run that is open."""
    return _Run() if _running else None


def start_run(run_name: str, nested: bool) -> None:
    """Begin a run."""
    _running.append(run_name)
    calls.append(("start", run_name))


def log_params(params: dict[str, Any], synchronous: bool = True) -> None:
    """Log parameters."""
    assert _running
    calls.append(("params", params))


def log_metrics(metrics: dict[str, float], step: int, synchronous: bool = True) -> None:
    """Log metrics."""
    assert _running
    calls.append(("metrics", {**metrics, "step": step}))


def end_run(status: str = "FINISHED") -> None:
    """End the run."""
    _running.pop()
    calls.append(("end", status))
