"""Rows from Inspect's log: one row per question and epoch, with the reply and its score."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, read_eval_log_sample

from lowland.ground.records import ROW_COLUMNS
from lowland.replies.language import profiles_of
from lowland.replies.taxonomy import category_of_messy, category_of_multilingual
from lowland.stress.asking.budget import Stopped
from lowland.stress.asking.evals import has_no_reply
from lowland.stress.questions.questionnaire import Question, Questionnaire

HEAVY = {"events", "attachments", "store", "timelines"}
"""Parts of a sample that no row needs."""
NESTED = ("extra_body", "generation_config", "inferenceConfig")
"""Parts of a request that contain settings."""
NO_SETTINGS = frozenset(
    {
        "model",
        "messages",
        "input",
        "system",
        "tools",
        "extra_headers",
        "stream",
        "contents",
        "system_instruction",
        "safety_settings",
        "tool_config",
        *NESTED,
    }
)
"""Parts of a request that are not settings."""
LOWLAND_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxTokens": "max_tokens",
}
"""Lowland's names of settings, by the names that some providers use."""
GIVEN_UP = re.compile(r"RetryError\(<Future at \w+ state=finished raised (\w+)>\)")
"""The message of tenacity when all attempts have failed. Its address in memory differs each time."""
SAMPLES_SEARCHED = 20
"""Maximum number of samples in which a request is looked for."""

Categorise = Callable[[Question, Mapping[str, Any]], str]


def rows_of(
    log: Path, questionnaire: Questionnaire, model: str, questions: Sequence[Question]
) -> pd.DataFrame:
    """Return the rows of a log, in the order of the questions and epochs.

    Questions that were held back by the budget have no row.

    Args:
        log: an `.eval` file.
        questionnaire: the questionnaire.
        model: name of the model.
        questions: the questions of the questionnaire.

    Returns:
        A table with the columns `ROW_COLUMNS` and `failure`.
    """
    places = {question.id: place for place, question in enumerate(questions)}
    samples = {
        (places[str(sample.id)], sample.epoch): sample
        for sample in read_eval_log(str(log), exclude_fields=HEAVY).samples or []
        if str(sample.id) in places and not was_held_back(sample)
    }
    categorise = _categorise(questionnaire, questions)
    rows = [
        {
            "eval": questionnaire.eval,
            "model": model,
            **_row(samples[place, epoch], questions[place], categorise),
        }
        for place, epoch in sorted(samples)
    ]
    table = pd.DataFrame(rows, columns=[*ROW_COLUMNS, "failure"])
    table["kept"] = table["kept"].astype("boolean")
    return table.astype(
        {"rate": float, "protected": bool, "epoch": int, "score": float, "near": bool, "edits": int}
    )


def settings_sent(log: Path) -> dict[str, Any]:
    """Return the settings in the first request of a log, under lowland's names; empty if no request is logged.

    Settings that Inspect received and the provider dropped are missing here.
    """
    header = read_eval_log(str(log), header_only=True)
    for sample_id in _sample_ids(header)[:SAMPLES_SEARCHED]:
        try:
            sample = read_eval_log_sample(str(log), id=sample_id, epoch=1, resolve_attachments="full")
        except (IndexError, KeyError):
            continue  # it was not asked
        for event in sample.events:
            if isinstance(event, ModelEvent) and event.call is not None and event.call.request:
                return _settings(event.call.request)
    return {}


def failures(rows: pd.DataFrame) -> str | None:
    """Return a sentence with the most frequent reasons of the failed rows, or None if no row failed."""
    reasons = Counter(rows.loc[rows["status"] == "failed", "failure"])
    if not reasons:
        return None
    words = "; ".join(f"{count}x {reason}" for reason, count in reasons.most_common(3))
    return f"{sum(reasons.values())} of {len(rows)} rows failed: {words}"


def was_held_back(sample: EvalSample) -> bool:
    """Return whether a sample's question was held back by the budget, and never sent."""
    return sample.error is not None and Stopped.SIGN in sample.error.message


def writable(text: str) -> str:
    """Return text that a UTF-8 file can hold: lone surrogates, which JSON can contain, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _row(sample: EvalSample, question: Question, categorise: Categorise) -> dict[str, Any]:
    score = next(iter((sample.scores or {}).values()), None)
    failed = sample.error is not None or score is None or has_no_reply(sample.output)
    metadata: Mapping[str, Any] = (None if score is None else score.metadata) or {}
    right = not failed and score is not None and score.as_float() == 1.0
    row: dict[str, Any] = {
        **question.metadata,
        "epoch": sample.epoch,
        "prompt": writable(_prompt(sample, question)),
        "gold": " | ".join(question.item.answers),
        "reply": "" if failed else writable(sample.output.completion),
        "status": "failed" if failed else "scored",
        "score": math.nan if failed else float(right),
        "near": bool(metadata.get("near", False)),
        "language": metadata.get("language") or "",
        "kept": metadata.get("kept"),
        "failure": _reason(sample) if failed else None,
    }
    return row | {"category": categorise(question, {**row, "right": right})}


def _categorise(questionnaire: Questionnaire, questions: Sequence[Question]) -> Categorise:
    """Return a function that names the category of a row's reply. It computes equal rows once."""
    languages = questionnaire.languages_to_check()
    profiles = profiles_of(languages.values())
    items = list({question.item.id: question.item for question in questions}.values())
    known: dict[tuple[Any, ...], str] = {}

    def categorise(question: Question, row: Mapping[str, Any]) -> str:
        item, condition = question.item, question.condition
        key = (item.id, condition, row["prompt"], row["reply"], row["status"], row["right"])
        if key not in known:
            if condition in languages:
                known[key] = category_of_multilingual(item, row, languages[condition], profiles)
            else:
                known[key] = category_of_messy(item, row, items)
        return known[key]

    return categorise


def _prompt(sample: EvalSample, question: Question) -> str:
    """Return the user message in the log."""
    if isinstance(sample.input, str):
        return sample.input
    return next((message.text for message in reversed(sample.input) if message.role == "user"), question.text)


def _reason(sample: EvalSample) -> str:
    """Return the first line of a failed sample's error."""
    if sample.error is None:
        return "no reply"
    line = (sample.error.message.strip().splitlines() or ["an error without a message"])[0][:200]
    return writable(GIVEN_UP.sub(r"\1 in every attempt", line))


def _sample_ids(header: EvalLog) -> list[str | int]:
    return list(header.eval.dataset.sample_ids or [])


def _settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a request to a provider, under lowland's names."""
    flat = dict(request)
    for part in NESTED:
        flat |= request.get(part) or {}
    sent = {
        LOWLAND_NAMES.get(name, name): value
        for name, value in flat.items()
        if name not in NO_SETTINGS and value not in ([], None)
    }
    effort = _effort(sent)
    return sent if effort is None else {**sent, "reasoning_effort": effort}


def _effort(sent: Mapping[str, Any]) -> str | None:
    """Return the reasoning effort, wherever the provider puts it."""
    if (sent.get("thinking") or {}).get("type") == "disabled":
        return "none"
    parts = (sent.get(name) or {} for name in ("reasoning", "output_config"))
    return next((part["effort"] for part in parts if part.get("effort")), sent.get("reasoning_effort"))
