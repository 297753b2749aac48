"""The part that talks to Inspect: opens a model, has it asked, keeps Inspect's own files in the store."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.stress.asking.budget import Gate
from lowland.stress.asking.keys import take_keys_out, without_keys
from lowland.stress.asking.settings import StressAsked, requested
from lowland.stress.questions.questionnaire import Question

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

MOST_FAILED = 0.05
"""A run with a larger share of failed rows shows nothing."""
FLUSHES = 1000
"""A log is written to its place so many times, whole each time. In a run of no more rows each is there at once; in a
longer one what is not there yet is in Inspect's buffer beside it, which costs some of the pace."""
NESTING = ("anthropic", "openai", "openai-api")
"""Providers whose client repeats requests by itself, inside of Inspect's own repeats."""


def open_model(asked: StressAsked) -> Model:
    """The model, ready to be asked.

    Raises:
        Mistake: if Inspect does not know it, or lacks its key or package.
    """
    try:
        from inspect_ai._util.error import PrerequisiteError
        from inspect_ai.model import get_model
    except ImportError:
        raise Mistake('questioning language models needs more: pip install "lowland[stress]"') from None
    from lowland.stress.asking import inspect_entry  # noqa: F401 - registers lowland's own

    arguments = dict(asked.model_args)
    if asked.model.partition("/")[0] in NESTING:
        arguments.setdefault("max_retries", 0)
    if asked.extra_body and _takes_body(asked):
        arguments["extra_body"] = dict(asked.extra_body)
    try:
        return get_model(asked.model, base_url=asked.base_url, memoize=False, **arguments)
    except Mistake:
        raise
    except (PrerequisiteError, ValueError, TypeError, ImportError, LookupError) as error:
        raise Mistake(f"the model {asked.model} cannot be asked: {_plain(error)}") from None


def ask(
    asked: StressAsked,
    put: Sequence[Question],
    model: Model,
    gate: Gate,
    folder: Path,
    step: Callable[[], None],
) -> Path:
    """Have Inspect ask what is not answered yet; its log, with all answers, new and old."""
    from lowland.stress.asking.evals import stress_task

    task = stress_task(asked.what, put, epochs=asked.epochs, gate=gate, step=step)
    return run_task(task, len(put) * asked.epochs, asked, model, folder)


def run_task(
    task: Task, rows: int, asked: StressAsked, model: Model, folder: Path, *, role: str | None = None
) -> Path:
    """Run a task of one's own, or go on with it where it was left; the path of its log.

    What is finished stands in the folder's logs and in Inspect's buffer (`own_home`), and is not run again. At most
    `asked.max_connections` samples are under way at a time, so no more than that are lost with the process.

    Args:
        task: whose samples are asked about.
        rows: how many samples and epochs there are.
        asked: the settings.
        model: that is asked.
        folder: of the logs; for this task alone.
        role: Inspect's name of the model's role, where the task asks for a role and not for its model.

    Raises:
        Mistake: if Inspect will not run it.
    """
    from inspect_ai import eval_set
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import GenerateConfig

    transport = {name: getattr(asked, name) for name in ("max_connections", "max_retries", "attempt_timeout")}
    if role is not None:  # what eval_set is given holds for its model, and not for those of roles
        model.config = model.config.merge(GenerateConfig(**transport, **_generation(asked)))
    try:
        with _quiet():
            _, logs = eval_set(
                task,
                log_dir=str(folder),
                model=model if role is None else None,
                model_roles=None if role is None else {role: model},
                retry_attempts=0,
                retry_cleanup=False,
                retry_on_error=1,
                fail_on_error=MOST_FAILED,
                continue_on_fail=True,
                display="none",
                score_display=False,
                ctl_server=False,
                log_level="error",
                log_buffer=max(1, rows // FLUSHES),
                log_realtime=rows > FLUSHES,
                max_samples=asked.max_connections,
                cache_prompt=False,
                **transport,
                **_generation(asked),
            )
    except PrerequisiteError as error:
        raise Mistake(f"the model {asked.model} cannot be asked: {_plain(error)}") from None
    for log in folder.glob("*.eval"):
        take_keys_out(log)
    if not logs:
        raise KeyboardInterrupt  # Inspect has taken it for itself, and gives back no log
    return Path(logs[0].location.removeprefix("file://"))  # as one that was found is named


@contextlib.contextmanager
def own_home(folder: Path) -> Iterator[None]:
    """Have Inspect keep its buffer beside the run, not in the user's home, and no trace of what it did.

    The buffer holds what is not in the log yet, and a run that was killed goes on with it. A trace would hold whatever
    a server said, and is of use to those who work on Inspect.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = {"XDG_DATA_HOME": str(folder.resolve()), "INSPECT_TRACE_LEVEL": "CRITICAL"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    shutil.rmtree(folder, ignore_errors=True)


def _takes_body(asked: StressAsked) -> bool:
    """Anthropic's provider takes all of `extra_body` as an argument of the model, and little of a request's."""
    return asked.model.startswith("anthropic/")


def _generation(asked: StressAsked) -> dict[str, Any]:
    left_out = {"extra_body"} if _takes_body(asked) else set()
    return {name: value for name, value in requested(asked).items() if name not in left_out}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inspect tells of its logs on the console, where only our own lines should be."""
    import rich

    console, level = rich.get_console(), logging.getLogger("inspect_ai").level
    before, console.quiet = console.quiet, True
    logging.getLogger("inspect_ai").setLevel(logging.ERROR)
    try:
        yield
    finally:
        console.quiet = before
        logging.getLogger("inspect_ai").setLevel(level)


def _plain(error: BaseException) -> str:
    """An error's words, on one line and without Inspect's colours."""
    words = re.sub(r"\[/?[a-z]*\]", "", " ".join(without_keys(str(error)).split())).removeprefix("ERROR: ")
    return words[:300] or reason_of(error)
