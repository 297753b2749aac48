"""Outcome of a run: the rows and the record, made from Inspect's log."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.provenance import code, machine, utc_now
from lowland.ground.record_files import write_rows, write_stress_record
from lowland.ground.records import StressRecord
from lowland.stress.asking.settings import MAX_FAILED, AskingSettings, request_of, user_languages
from lowland.stress.questions.questionnaire import Question, Questionnaire, content_sha256

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Request:
    """Questionnaire to send to a model.

    Attributes:
        questionnaire: the questionnaire.
        questions: its questions.
        settings: the model, the sampling, the pace and the budget.
        key: key of the run.
    """

    questionnaire: Questionnaire
    questions: Sequence[Question]
    settings: AskingSettings
    key: str

    @property
    def rows(self) -> int:
        """Number of rows of a complete run: one per question and epoch."""
        return len(self.questions) * self.settings.epoch_count


@dataclass(frozen=True)
class Answers:
    """Answers of the model, before they are scored.

    Attributes:
        log: Inspect's log, with all answers to date.
        spent: sums of the budget, those of earlier commands included.
        stopped: why no more questions were sent; None if none was held back.
        priced: whether prices are known, so that `spent` counts dollars.
        description: result of the model's `describe()`; None if it has no such method.
        started: time in UTC at which this command began.
        seconds: duration of this command's requests.
    """

    log: Path
    spent: Mapping[str, float]
    stopped: str | None
    priced: bool
    description: dict[str, Any] | None
    started: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """Results of a run, as they are stored in its folder."""

    record: StressRecord
    rows: pd.DataFrame
    log: Path


def outcome_of(request: Request, answers: Answers) -> Outcome:
    """Read the log of a run, and judge whether the run is finished."""
    from lowland.stress.asking.collect import rows_of

    settings, questions = request.settings, request.questions
    rows = rows_of(answers.log, request.questionnaire, settings.label, questions)
    counts = {
        "expected": request.rows,
        "scored": int((rows["status"] == "scored").sum()),
        "failed": int((rows["status"] == "failed").sum()),
    }
    status, failure = _status(counts, rows, answers.stopped)
    record = StressRecord(
        key=request.key,
        asked=request_of(request.questionnaire, settings),
        status=status,
        failure=failure,
        items={
            "source": str(request.questionnaire.items or "packed with lowland"),
            "sha256": content_sha256(questions),
            "count": len({question.item.id for question in questions}),
            **user_languages(request.questionnaire),
        },
        model=_model(settings, answers),
        counts=counts,
        code=code(),
        environment=machine("inspect-ai"),
        cost=_cost(answers),
        when={"started": answers.started, "ended": utc_now()},
    )
    return Outcome(record, rows.drop(columns="failure"), answers.log)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the rows, the record and the log into a folder."""
    write_rows(folder, outcome.rows)
    write_stress_record(folder, outcome.record)
    (folder / "logs").mkdir()
    shutil.copy2(outcome.log, folder / "logs")


def _status(counts: Mapping[str, int], rows: pd.DataFrame, stopped: str | None) -> tuple[str, str | None]:
    """Return the status of a run, and what went wrong in it."""
    from lowland.stress.asking.collect import failures

    missing = counts["expected"] - counts["scored"] - counts["failed"]
    failed = failures(rows)
    if missing:
        words = f"{missing} of {counts['expected']} rows are missing: {stopped or 'the run was interrupted'}"
        return "incomplete", words if failed is None else f"{words}; {failed}"
    if counts["failed"] > MAX_FAILED * counts["expected"]:
        return "failed", failed
    if not rows["reply"].str.strip().any():
        return "failed", f"all {counts['scored']} replies of the model are empty; the rows are kept"
    return "finished", failed


def _model(settings: AskingSettings, answers: Answers) -> dict[str, Any]:
    """Return the record's section `model`: the settings as requested, as sent, and those that were dropped."""
    from lowland.stress.asking.collect import settings_sent

    sent, requested = settings_sent(answers.log), settings.generation
    names = [name for name in requested if name != "extra_body"] + list(requested.get("extra_body") or {})
    model: dict[str, Any] = {"name": settings.label, "requested": requested, "sent": sent}
    model["dropped"] = [name for name in dict.fromkeys(names) if name not in sent] if sent else None
    if answers.description is not None:
        model["described"] = answers.description
        if title := answers.description.get("title"):
            method, seed, _ = settings.trained or ("", "", "")
            model["title"] = f"{title}, trained: {method}, seed {seed}" if method else title
    return model


def _cost(answers: Answers) -> dict[str, float]:
    cost = {name: answers.spent.get(name, 0) for name in ("requests", "input_tokens", "output_tokens")}
    cost["seconds"] = answers.seconds
    if answers.priced:
        cost["dollars"] = round(answers.spent.get("dollars", 0.0), 6)
    return cost
