"""Table of trackers: where each writes what a run logs, and how it is told what was asked.

Transformers' own callbacks do the logging (`TrainingArguments.report_to`); a row here keeps them on this machine and in
a folder beside the runs, unless the user's environment says otherwise. This module needs no torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lowland.ground.remote import is_url, shown

TrackerName = Literal["wandb", "tensorboard", "trackio", "mlflow"]
PROJECT = "lowland"
"""Name of the project that wandb and trackio put runs into."""
LONGEST = 500
"""Number of characters of a parameter that every version of MLflow takes."""

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Tracker:
    """A row of the table of trackers. Its name is that of its package, too.

    Attributes:
        environment: function of the trackers' folder and the run's name that returns environment variables; those that
            the user has set stay.
        describe: function that adds what was asked to the run that transformers' callback has begun.
        close: function that ends a run that is still open; `failed` says whether the training raised.
        prepare: function that is called before the first of them, by one process at a time.
    """

    environment: Callable[[Path, str], dict[str, str]]
    describe: Callable[[Any, Request], None]
    close: Callable[[Any, bool], None]
    prepare: Callable[[], None] = lambda: None


def tracker_folder(out: Path) -> Path:
    """Return the folder that trackers write into, beside the runs."""
    return out / "trackers"


def tracker_problems(names: Collection[TrackerName], out: str | Path) -> list[str]:
    """Return sentences on what keeps trackers from writing beside the runs: a URL, a missing package, another folder.

    Args:
        names: the trackers.
        out: folder or URL of the runs.
    """
    problems = []
    if names and is_url(out):
        problems.append(
            f"trackers write into a folder beside the runs, and out is {shown(str(out))}; name a folder, or leave"
            " trackers out"
        )
    if missing := [name for name in names if not _is_installed(name)]:
        problems.append(
            f"trackers needs packages that are not installed: {', '.join(missing)}; pip install 'lowland[trackers]'"
        )
    elif "trackio" in names and (place := _trackio_place()) not in (None, _wanted_place(Path(out))):
        problems.append(
            f"trackio writes into {place} since it was imported in this process, and cannot change that; start a new"
            " process, or set TRACKIO_DIR before trackio is imported"
        )
    return problems


def tracker_environment(names: Collection[TrackerName], out: Path, run: str) -> dict[str, str]:
    """Return the environment variables for the trackers of a run, without those that the user has set."""
    folder = tracker_folder(out).absolute()
    variables = {k: v for name in names for k, v in TRACKERS[name].environment(folder, run).items()}
    return {name: value for name, value in variables.items() if name not in os.environ}


def _is_installed(package: str) -> bool:
    """Return whether a package can be imported; a folder of that name in the working directory is none."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def _trackio_place() -> str | None:
    """Return the folder that trackio has chosen in this process; None if it is not imported."""
    utils = sys.modules.get("trackio.utils")
    return None if utils is None else str(getattr(utils, "TRACKIO_DIR", None))


def _wanted_place(out: Path) -> str:
    return os.environ.get("TRACKIO_DIR") or str(tracker_folder(out).absolute() / "trackio")


def _wandb_environment(folder: Path, run: str) -> dict[str, str]:
    variables = {"WANDB_DIR": str(folder), "WANDB_PROJECT": PROJECT}
    if "WANDB_MODE" in os.environ:
        return variables
    return {
        **variables,
        "WANDB_MODE": "offline",
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        "WANDB_CONSOLE": "off",  # lowland's output stays its own
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }


def _describe_wandb(callback: Any, asked: Request) -> None:
    import wandb

    wandb.config.update({"asked": asked}, allow_val_change=True)


def _close_wandb(callback: Any, failed: bool) -> None:
    import wandb

    if wandb.run is not None:  # transformers leaves it open, for further logging
        wandb.finish(exit_code=int(failed))
    wandb.teardown()  # the next run may have another folder


def _tensorboard_environment(folder: Path, run: str) -> dict[str, str]:
    return {"TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard" / run)}


def _describe_tensorboard(callback: Any, asked: Request) -> None:
    callback.tb_writer.add_text("asked", f"```json\n{json.dumps(asked, indent=2, ensure_ascii=False)}\n```")


def _close_tensorboard(callback: Any, failed: bool) -> None:
    if callback.tb_writer is not None:
        callback.tb_writer.close()


def _trackio_environment(folder: Path, run: str) -> dict[str, str]:
    return {"TRACKIO_DIR": str(folder / "trackio")}


def _describe_trackio(callback: Any, asked: Request) -> None:
    import trackio

    trackio.config.update({"asked": asked}, allow_val_change=True)


def _close_trackio(callback: Any, failed: bool) -> None:
    import trackio

    if trackio.context_vars.current_run.get() is not None:
        trackio.finish()


def _mlflow_environment(folder: Path, run: str) -> dict[str, str]:
    variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    if "MLFLOW_TRACKING_URI" in os.environ:
        return variables
    return {
        **variables,
        "MLFLOW_TRACKING_URI": (folder / "mlflow").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # files, which many processes can write side by side
    }


def _prepare_mlflow() -> None:
    import mlflow

    mlflow.MlflowClient().search_experiments(max_results=1)  # makes the store, which two processes must not


def _describe_mlflow(callback: Any, asked: Request) -> None:
    import mlflow

    mlflow.log_params({name: str(value)[:LONGEST] for name, value in _flat("asked", asked).items()})


def _close_mlflow(callback: Any, failed: bool) -> None:
    import mlflow

    if mlflow.active_run() is not None:
        mlflow.end_run("FAILED" if failed else "FINISHED")


def _flat(prefix: str, values: Request) -> dict[str, Any]:
    """Return the values of nested mappings by their path: asked/method/rank."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}/{name}"
        flat |= _flat(path, value) if isinstance(value, Mapping) else {path: value}
    return flat


TRACKERS: Mapping[TrackerName, Tracker] = {
    "wandb": Tracker(_wandb_environment, _describe_wandb, _close_wandb),
    "tensorboard": Tracker(_tensorboard_environment, _describe_tensorboard, _close_tensorboard),
    "trackio": Tracker(_trackio_environment, _describe_trackio, _close_trackio),
    "mlflow": Tracker(_mlflow_environment, _describe_mlflow, _close_mlflow, _prepare_mlflow),
}
