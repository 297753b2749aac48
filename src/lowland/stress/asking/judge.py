"""A judge model's fluency ratings of the replies that people rated, to set beside theirs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.budget import agree, estimate_texts, is_paid
from lowland.stress.asking.inspecting import open_model, own_home, run_task
from lowland.stress.asking.settings import StressAsked
from lowland.stress.progress import Progress
from lowland.stress.replies.ratings import RUBRIC

if TYPE_CHECKING:
    from inspect_ai import Task

FORM = "Answer with the rating alone: one whole number from 1 to 5."
MAX_TOKENS = 16


def judged(
    rated: pd.DataFrame,
    model: str,
    *,
    beside: Path,
    progress: Progress | None = None,
    confirm: Callable[[str], bool] | None = None,
    yes: bool = False,
) -> pd.DataFrame:
    """The rows with a column `judge`: the model's rating of the reply, NaN where it gave none.

    The model is Inspect's role `grader`. It sees the rubric, the question and the reply, as people do, and neither
    their rating nor the gold. What it said is kept beside the output: a call that was cut off goes on from there, and
    the same call again asks nothing.

    Args:
        rated: rows with a column `fluency`.
        model: of Inspect's, `provider/name`; not the model that is judged.
        beside: the file that the ratings are meant for.
        progress: told of every reply.
        confirm: puts a question to the user; None where nobody can be asked.
        yes: agreed to any number of paid requests.

    Raises:
        Mistake: if the judge is the model under test, cannot be asked, or rated nothing at all.
    """
    if model in set(rated["model"]):
        raise Mistake(f"the judge {model} is the model under test; name another one")
    texts = {_id(row): prompt(row["prompt"], row["reply"]) for row in rated.to_dict("records")}
    asked = StressAsked(model=model, epochs=1, temperature=0.0, max_tokens=MAX_TOKENS)
    if is_paid(model):
        agree(estimate_texts(texts.values(), MAX_TOKENS), model, yes=yes, confirm=confirm)
    progress, opened = progress or Progress(), open_model(asked)
    folder = beside.parent / f".{beside.name}.judge-{_digest([model, *texts.values()])}"
    progress.begin(len(texts))
    with own_home(folder / "inspect"):
        log = run_task(_task(texts, progress.step), len(texts), asked, opened, folder, role="grader")
    progress.end()
    said = _said(log)
    ratings = [rating_of(said.get(_id(row), "")) for row in rated.to_dict("records")]
    if not any(ratings):
        raise Mistake(f"the judge {model} rated no reply; what it said is in {folder}")
    return rated.assign(judge=pd.Series(ratings, index=rated.index, dtype=float))


def prompt(question: str, reply: str) -> str:
    """What the judge is asked."""
    return f"{RUBRIC}\n\n{FORM}\n\n<question>\n{question}\n</question>\n\n<reply>\n{reply}\n</reply>"


def rating_of(said: str) -> int | None:
    """The rating in a judge's words: the only number of 1 to 5 there is, "of 5" and "/5" aside; else none."""
    found = set(re.findall(r"(?<![\d.,])[1-5](?![\d]|[.,]\d)", re.sub(r"(?:/|of|out of)\s*5\b", "", said)))
    return int(found.pop()) if len(found) == 1 else None


def _task(texts: Mapping[str, str], step: Callable[[], None]) -> Task:
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import get_model
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    @solver(name="rate")
    def rate() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            try:
                state.output = await get_model(role="grader").generate(state.messages)
            finally:
                step()
            return state

        return solve

    samples = [Sample(id=name, input=text) for name, text in texts.items()]
    return Task(name="judge", dataset=MemoryDataset(samples, name="lowland-judge"), solver=rate())


def _said(log: Path) -> dict[str, str]:
    """What the judge said, by the reply's name; nothing where it failed."""
    from inspect_ai.log import read_eval_log

    samples = read_eval_log(str(log)).samples or []
    return {
        str(one.id): one.output.completion for one in samples if one.error is None and not one.output.empty
    }


def _id(row: Mapping[Any, Any]) -> str:
    return _digest([row["prompt"], row["reply"]])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
