"""Calls to Inspect: open a model, run a task, and keep Inspect's own files in the folder of the run."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.runtime import environment_with
from lowland.stress.asking.keys import remove_keys, remove_keys_of_replies, without_keys
from lowland.stress.asking.settings import MAX_FAILED, PROVIDER, AskingSettings

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

FLUSHES = 1000
"""Maximum number of times that Inspect writes a log to its file, whole each time. In a run with at most this many rows,
each row is in the file at once. In a longer run, the latest rows are in Inspect's buffer beside it, which costs some
speed."""
RETRYING = ("anthropic", "openai", "openai-api")
"""Providers whose client repeats failed requests on its own, in addition to Inspect."""


def open_model(settings: AskingSettings) -> Model:
    """Open the model that the settings name.

    Raises:
        Mistake: if Inspect does not know the model, or its key or package is missing.
    """
    try:
        from inspect_ai.model import get_model

        from lowland.stress.asking.inspect_internals import PrerequisiteError
    except ImportError:
        raise Mistake(
            'stress tests of language models need more packages; run pip install "lowland[stress]"'
        ) from None
    from lowland.stress.asking import inspect_entry  # noqa: F401 - registers the provider lowland

    arguments = settings.arguments
    if settings.provider in RETRYING:
        arguments.setdefault("max_retries", 0)
    if settings.extra_body and _body_is_an_argument(settings):
        arguments["extra_body"] = dict(settings.extra_body)
    try:
        model = get_model(settings.model, base_url=settings.base_url, memoize=False, **arguments)
    except Mistake:
        raise
    except (PrerequisiteError, ValueError, TypeError, ImportError, LookupError) as error:
        raise Mistake(f"the model {settings.model} cannot be used: {_words(error)}") from None
    remove_keys_of_replies(model)
    return model


def run_task(
    task: Task, rows: int, settings: AskingSettings, model: Model, folder: Path, *, role: str | None = None
) -> Path:
    """Run a task, or continue it, and return the path of its log.

    Samples that are finished in the folder's logs or in Inspect's buffer (`inspect_home`) are not run again. At most
    `settings.connection_count` samples are in flight at a time, so no more than that are lost with the process.

    Args:
        task: the task.
        rows: number of samples times epochs.
        settings: sampling and pace.
        model: the model.
        folder: folder of the logs; of this task only.
        role: name of the model's role in Inspect, if the task asks for a role instead of its model.

    Raises:
        Mistake: if Inspect cannot run the task.
    """
    from inspect_ai import eval_set
    from inspect_ai.model import GenerateConfig

    from lowland.stress.asking.inspect_internals import PrerequisiteError

    config = {**_transport(settings), **_generation(settings)}
    if role is not None:  # the settings of eval_set apply to its model, and not to the models of roles
        model.config = model.config.merge(GenerateConfig(**config))
    try:
        with _quiet():
            _, logs = eval_set(
                task,
                log_dir=str(folder),
                model=model if role is None else None,
                model_roles=None if role is None else {role: model},
                max_samples=settings.connection_count,
                log_buffer=max(1, rows // FLUSHES),
                log_realtime=rows > FLUSHES,
                **EVAL_SET,
                **config,
            )
    except PrerequisiteError as error:
        raise Mistake(f"the model {settings.model} cannot be used: {_words(error)}") from None
    for log in folder.glob("*.eval"):
        remove_keys(log)
    if not logs:
        raise KeyboardInterrupt  # Inspect has caught it, and returned no log
    return Path(logs[0].location.removeprefix("file://"))  # the scheme stands only in new logs


EVAL_SET: dict[str, Any] = {
    "retry_attempts": 0,
    "retry_cleanup": False,
    "retry_on_error": 1,
    "fail_on_error": MAX_FAILED,
    "continue_on_fail": True,
    "display": "none",
    "score_display": False,
    "ctl_server": False,
    "log_level": "error",
    "cache_prompt": False,
}
"""Options of Inspect's `eval_set` that are the same for all tasks."""


@contextlib.contextmanager
def inspect_home(folder: Path) -> Iterator[None]:
    """Make Inspect keep its buffer in a folder instead of the user's home, and write no trace.

    The buffer holds the samples that are not in the log yet; a run that was killed continues from it. A trace would
    contain all that a server said, and serves only the developers of Inspect. The folder is removed when the block
    ends without an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with environment_with(XDG_DATA_HOME=str(folder.resolve()), INSPECT_TRACE_LEVEL="CRITICAL"):
        yield
    shutil.rmtree(folder, ignore_errors=True)


def _body_is_an_argument(settings: AskingSettings) -> bool:
    """Return whether `extra_body` is passed to the provider, and not with each request.

    Inspect's Anthropic provider sends all of the body that it gets as its argument, and little of a request's.
    """
    return settings.provider == "anthropic"


def _transport(settings: AskingSettings) -> dict[str, Any]:
    pace: dict[str, Any] = {
        "max_connections": settings.connection_count,
        "max_retries": settings.max_retries,
    }
    if settings.provider == PROVIDER:  # a batch of questions takes as long as it takes
        return pace
    return {**pace, "attempt_timeout": settings.attempt_timeout}


def _generation(settings: AskingSettings) -> dict[str, Any]:
    left_out = {"extra_body"} if _body_is_an_argument(settings) else set()
    return {name: value for name, value in settings.generation.items() if name not in left_out}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Inspect's own messages off the console."""
    import rich

    console, level = rich.get_console(), logging.getLogger("inspect_ai").level
    before, console.quiet = console.quiet, True
    logging.getLogger("inspect_ai").setLevel(logging.ERROR)
    try:
        yield
    finally:
        console.quiet = before
        logging.getLogger("inspect_ai").setLevel(level)


def _words(error: BaseException) -> str:
    """Return an error's message on one line, without keys and without Inspect's markup."""
    words = re.sub(r"\[/?[a-z]*\]", "", " ".join(without_keys(str(error)).split())).removeprefix("ERROR: ")
    return words[:300] or reason_of(error)
