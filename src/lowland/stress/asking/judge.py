"""Fluency ratings by a judge model, to compare with the ratings that people gave to the same replies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.stress.asking.budget import Confirm, estimate_texts, is_paid, require_consent
from lowland.stress.asking.inspecting import inspect_home, open_model, run_task
from lowland.stress.asking.ratings import RUBRIC
from lowland.stress.asking.settings import AskingSettings

if TYPE_CHECKING:
    from inspect_ai import Task

FORM = "Answer with the rating alone: one whole number from 1 to 5."
MAX_TOKENS = 16
ROLE = "grader"
"""Inspect's name of the judge's role."""


def judge_replies(
    rated: pd.DataFrame,
    model: str,
    *,
    beside: Path,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    yes: bool = False,
) -> pd.DataFrame:
    """Have a judge model rate the fluency of replies.

    The judge sees the rubric, the question and the reply, as people do. It sees neither their ratings nor the correct
    answer. Its replies are kept beside the output: a call that was interrupted is continued, and an equal call asks
    nothing.

    Args:
        rated: rows with a column `fluency`.
        model: the judge, as provider/name in Inspect's notation; not the model whose replies are rated.
        beside: file that the ratings will be written to.
        progress: reports on every reply.
        confirm: asks the user for consent to paid requests; None if nobody can be asked.
        yes: consent to any number of paid requests was given beforehand.

    Returns:
        The rows with a column `judge`: the judge's rating, NaN if it gave none.

    Raises:
        Mistake: if the judge wrote the replies, cannot be asked, or rated no reply at all.
    """
    if model in set(rated["model"]):
        raise Mistake(f"the judge {model} is the model under test; name another one")
    texts = {_id(row): judge_prompt(row["prompt"], row["reply"]) for row in rated.to_dict("records")}
    settings = AskingSettings(model=model, epochs=1, temperature=0.0, max_tokens=MAX_TOKENS)
    if is_paid(model):
        require_consent(estimate_texts(texts.values(), MAX_TOKENS), model, yes=yes, confirm=confirm)
    progress, opened = progress or Progress(), open_model(settings)
    folder = beside.parent / f".{beside.name}.judge-{_digest([model, *texts.values()])}"
    with inspect_home(folder / "inspect"), progress.bar(len(texts)) as bar:
        log = run_task(_task(texts, bar.step), len(texts), settings, opened, folder, role=ROLE)
    replies = _replies(log)
    ratings = [rating_of(replies.get(_id(row), "")) for row in rated.to_dict("records")]
    if not any(ratings):
        raise Mistake(f"the judge {model} rated no reply; its own replies are in {folder}")
    return rated.assign(judge=pd.Series(ratings, index=rated.index, dtype=float))


def judge_prompt(question: str, reply: str) -> str:
    """Return the message that asks the judge for a rating."""
    return f"{RUBRIC}\n\n{FORM}\n\n<question>\n{question}\n</question>\n\n<reply>\n{reply}\n</reply>"


def rating_of(reply: str) -> int | None:
    """Return the rating in a judge's reply, or None.

    The rating is the only number from 1 to 5 in it. The 5 in "of 5" and "/5" does not count.
    """
    text = re.sub(r"(?:/|of|out of)\s*5\b", "", reply)
    ratings = set(re.findall(r"(?<![\d.,])[1-5](?![\d]|[.,]\d)", text))
    return int(ratings.pop()) if len(ratings) == 1 else None


def _task(texts: Mapping[str, str], step: Callable[[], None]) -> Task:
    """Return an Inspect task that asks the judge to rate each text."""
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import get_model
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    @solver(name="rate")
    def rate() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            try:
                state.output = await get_model(role=ROLE).generate(state.messages)
            finally:
                step()
            return state

        return solve

    samples = [Sample(id=name, input=text) for name, text in texts.items()]
    return Task(name="judge", dataset=MemoryDataset(samples, name="lowland-judge"), solver=rate())


def _replies(log: Path) -> dict[str, str]:
    """Return the judge's replies by the sample's id; samples that failed have none."""
    from inspect_ai.log import read_eval_log

    return {
        str(sample.id): sample.output.completion
        for sample in read_eval_log(str(log)).samples or []
        if sample.error is None and not sample.output.empty
    }


def _id(row: Mapping[Any, Any]) -> str:
    return _digest([row["prompt"], row["reply"]])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
