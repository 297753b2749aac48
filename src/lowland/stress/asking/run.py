"""Runs of stress tests: put a questionnaire to a model through Inspect, and store the rows and the record."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lowland.ground.mistakes import plural
from lowland.ground.progress import Progress
from lowland.ground.provenance import utc_now
from lowland.ground.records import StressRecord
from lowland.ground.remote_store import open_store
from lowland.ground.store import Store
from lowland.stress.asking.budget import Budget, Confirm, estimate, is_paid, require_consent
from lowland.stress.asking.inspecting import inspect_home, open_model, run_task
from lowland.stress.asking.outcome import Answers, Outcome, Request, outcome_of, write_outcome
from lowland.stress.asking.prices import Price
from lowland.stress.asking.settings import AskingSettings, run_key
from lowland.stress.questions.questionnaire import Question, Questionnaire

PARTIAL = "-unfinished"
"""Suffix of the folder of a fresh run that is not finished, next to a finished one."""


def run_stress(
    questionnaire: Questionnaire,
    settings: AskingSettings,
    *,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
) -> Path:
    """Ask all questions that are not answered yet, and write the rows and the record.

    If a finished run exists, nothing is asked. A run that was killed or stopped is continued: only the questions
    without an answer are asked, among them those that were in flight, at most `settings.connection_count`. With
    `settings.fresh`, a finished run is replaced once the new one is finished; until then both exist.

    Args:
        questionnaire: the questions.
        settings: the model, the sampling, the pace and the budget.
        progress: reports on every question.
        confirm: asks the user for consent to paid requests; None if nobody can be asked.

    Returns:
        The run's folder. It always holds rows; its record says whether the run is finished.

    Raises:
        Mistake: if the model cannot be asked, or the user does not agree to the cost.
    """
    progress = progress or Progress()
    price = settings.read_price()
    questions = questionnaire.questions()
    request = Request(questionnaire, questions, settings, run_key(questionnaire, questions, settings))
    name = f"{questionnaire.eval}-{_slug(settings.label)}-{request.key[:10]}"
    store = open_store(settings.out)
    store.prepare([name], fresh=settings.fresh)
    with store.claim(name):
        find = store.find_to_replace if settings.fresh else store.find
        finished = find(name, StressRecord)
        if finished is not None and not settings.fresh:
            folder = store.root / name
            progress.say(f"{_title(request)}: found, {finished.counts['scored']:,} answers in {folder}")
            return folder
        work = store.root / ".unfinished" / name
        outcome = outcome_of(request, _ask(request, price, work, progress, confirm))
        return _store_outcome(outcome, store, name, work, progress, beside=finished is not None)


def _ask(
    request: Request, price: Price | None, work: Path, progress: Progress, confirm: Confirm | None
) -> Answers:
    """Ask what is left of a request within its budget. What Inspect needs to continue is kept in `work`."""
    from lowland.stress.asking.evals import stress_task
    from lowland.stress.asking.repetitions import limit_repetitions

    settings = request.settings
    model = open_model(settings)
    cost = estimate(request.questions, settings.epoch_count, settings.max_tokens, price)
    with Budget(
        work / "spent.jsonl",
        max_requests=settings.max_requests,
        max_cost=settings.max_cost,
        price=price,
        max_tokens=settings.max_tokens,
    ) as budget:
        left = budget.requests_left(cost.requests)
        if is_paid(settings.model, settings.base_url):
            require_consent(cost, settings.model, yes=settings.yes, confirm=confirm, left=left)
        progress.say(
            f"{_title(request)}: {_size(request.questions, settings.epoch_count)}; {left:,} left to ask"
        )
        started, clock = utc_now(), time.perf_counter()
        with inspect_home(work / "inspect"), progress.bar(left) as bar:
            limit_repetitions(model, budget)
            task = stress_task(
                request.questionnaire, request.questions, settings, budget=budget, step=bar.step
            )
            log = run_task(task, request.rows, settings, model, work / "logs")
        return Answers(
            log=log,
            spent=dict(budget.spent),
            stopped=budget.reason,
            priced=price is not None,
            description=model.api.describe() if hasattr(model.api, "describe") else None,
            started=started,
            seconds=time.perf_counter() - clock,
        )


def _store_outcome(
    outcome: Outcome, store: Store, name: str, work: Path, progress: Progress, *, beside: bool
) -> Path:
    """Write an outcome into its folder, and remove what is no longer needed.

    Args:
        outcome: the outcome.
        store: store that the run belongs to.
        name: name of its folder.
        work: folder with what Inspect needs to continue.
        progress: reports the outcome.
        beside: whether a finished run has the name already; an unfinished one then gets the suffix `PARTIAL`.
    """
    record, partial = outcome.record, f"{name}{PARTIAL}"
    finished = record.status == "finished"
    place = partial if beside and not finished else name
    with store.writing(place) as folder:
        write_outcome(folder, outcome)
    if finished:
        shutil.rmtree(store.root / partial, ignore_errors=True)
    if finished or record.counts["scored"] == record.counts["expected"]:
        shutil.rmtree(work, ignore_errors=True)  # there is nothing left to continue
    progress.say(_summary(record, store.root / place))
    return store.root / place


def _summary(record: StressRecord, folder: Path) -> str:
    counts = record.counts
    words = f"{record.status}: {counts['scored']:,} of {counts['expected']:,} rows scored"
    words += f", {counts['failed']:,} failed" if counts["failed"] else ""
    words += f" ({record.failure})" if record.failure else ""
    words += f", {record.cost['seconds']:.0f} s, in {folder}"
    if record.status == "finished":
        return words
    missing = counts["scored"] < counts["expected"]
    return f"{words}; the same command asks {'what is missing' if missing else 'everything again'}"


def _title(request: Request) -> str:
    return f"{request.questionnaire.eval}, {request.settings.model}"


def _size(questions: Sequence[Question], epochs: int) -> str:
    counts = {
        "item": len({question.item.id for question in questions}),
        "condition": len(
            {(question.condition, question.level, question.protected) for question in questions}
        ),
        "mitigation": len({question.mitigation for question in questions}),
        "epoch": epochs,
    }
    return " x ".join(plural(count, noun) for noun, count in counts.items())


def _slug(model: str) -> str:
    return re.sub(r"[^a-zA-Z0-9.]+", "-", model).strip("-.")[:60]
