"""From Inspect's log to rows: one a question and epoch, each with what became of it."""

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
from lowland.stress.asking.budget import Stopped
from lowland.stress.asking.evals import is_no_reply, spoken_in
from lowland.stress.questions.questionnaire import Question, Questionnaire
from lowland.stress.replies.language import profiles_of
from lowland.stress.replies.taxonomy import category_of_messy, category_of_multilingual

HEAVY = {"events", "attachments", "store", "timelines"}
"""Parts of a sample that no row needs."""
INSIDE = ("extra_body", "generation_config", "inferenceConfig")
"""Parts of a request that hold settings."""
NO_SETTINGS = frozenset(
    {"model", "messages", "input", "system", "tools", "extra_headers", "stream", "contents", *INSIDE}
) | {"system_instruction", "safety_settings", "tool_config"}
"""Parts of a request that are no settings."""
SAME = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens", "maxTokens": "max_tokens"}
"""Settings by the names of some providers, and as they were asked for."""
GIVEN_UP = re.compile(r"RetryError\(<Future at \w+ state=finished raised (\w+)>\)")
"""How tenacity says that all tries failed, with an address that is another one each time."""
LOOKED_AT = 20
"""Samples that are looked through for a request."""

Categorise = Callable[[Question, Mapping[str, Any]], str]


def rows_of(log: Path, asked: Questionnaire, model: str, put: Sequence[Question]) -> pd.DataFrame:
    """The rows of a log, in the order of the questions and epochs; `ROW_COLUMNS`, and `failure`.

    A question that was not asked, since the budget was spent, has no row.

    Args:
        log: an `.eval` file.
        asked: the questionnaire.
        model: its name, as it was asked for.
        put: the questions.
    """
    known = {one.id: (place, one) for place, one in enumerate(put)}
    read = read_eval_log(str(log), exclude_fields=HEAVY)
    samples = {
        (known[str(one.id)][0], one.epoch): one
        for one in read.samples or []
        if str(one.id) in known and not was_stopped(one)
    }
    categorise = _categories(asked, put)
    rows = [
        {"eval": asked.eval, "model": model, **_row(samples[place], put[place[0]], categorise)}
        for place in sorted(samples)
    ]
    table = pd.DataFrame(rows, columns=[*ROW_COLUMNS, "failure"])
    table["kept"] = table["kept"].astype("boolean")
    return table.astype(
        {"rate": float, "protected": bool, "epoch": int, "score": float, "near": bool, "edits": int}
    )


def settings_sent(log: Path) -> dict[str, Any]:
    """The settings that stood in a request, by the names they were asked for; empty where the log shows none.

    That is what was sent, where a setting that Inspect was given and that a provider drops is missing.
    """
    header = read_eval_log(str(log), header_only=True)
    for id, epoch in _places(header)[:LOOKED_AT]:
        try:
            sample = read_eval_log_sample(str(log), id=id, epoch=epoch, resolve_attachments="full")
        except (IndexError, KeyError):
            continue  # not asked
        for event in sample.events:
            if isinstance(event, ModelEvent) and event.call is not None and event.call.request:
                return _settings(event.call.request)
    return {}


def failures(rows: pd.DataFrame) -> str | None:
    """The most frequent reasons of failed rows, in a sentence."""
    reasons = Counter(rows.loc[rows["status"] == "failed", "failure"])
    if not reasons:
        return None
    told = "; ".join(f"{count}x {reason}" for reason, count in reasons.most_common(3))
    return f"{sum(reasons.values())} of {len(rows)} rows failed: {told}"


def was_stopped(sample: EvalSample) -> bool:
    """Whether a sample's question was held back, and never asked."""
    return sample.error is not None and Stopped.SIGN in sample.error.message


def _row(sample: EvalSample, one: Question, categorise: Categorise) -> dict[str, Any]:
    score = next(iter((sample.scores or {}).values()), None)
    failed = sample.error is not None or score is None or is_no_reply(sample.output)
    about: Mapping[str, Any] = (None if score is None else score.metadata) or {}
    right = not failed and score is not None and float(score.value) == 1.0  # type: ignore[arg-type]  # we wrote a float
    row: dict[str, Any] = {
        **one.about,
        "epoch": sample.epoch,
        "prompt": writable(_prompt(sample, one)),
        "gold": " | ".join(one.item.answers),
        "reply": "" if failed else writable(sample.output.completion),
        "status": "failed" if failed else "scored",
        "score": math.nan if failed else float(right),
        "near": bool(about.get("near", False)),
        "language": about.get("language") or "",
        "kept": about.get("kept"),
        "failure": _reason(sample) if failed else None,
    }
    return row | {"category": categorise(one, {**row, "right": right})}


def _categories(asked: Questionnaire, put: Sequence[Question]) -> Categorise:
    """Names the kind of error of a row; the same reply to the same prompt is looked at once."""
    spoken = spoken_in(asked)
    profiles, items = profiles_of(spoken.values()), list({one.item.id: one.item for one in put}.values())
    known: dict[tuple[Any, ...], str] = {}

    def categorise(one: Question, row: Mapping[str, Any]) -> str:
        seen = (one.item.id, one.condition, *(row[name] for name in ("prompt", "reply", "status", "right")))
        if seen not in known:
            if asked.eval == "messy":
                known[seen] = category_of_messy(one.item, row, items)
            else:
                known[seen] = category_of_multilingual(one.item, row, spoken[one.condition], profiles)
        return known[seen]

    return categorise


def _prompt(sample: EvalSample, one: Question) -> str:
    """The user's text as the log has it."""
    if isinstance(sample.input, str):
        return sample.input
    return next((message.text for message in reversed(sample.input) if message.role == "user"), one.text)


def _reason(sample: EvalSample) -> str:
    if sample.error is None:
        return "no reply"
    first = (sample.error.message.strip().splitlines() or ["an error that says nothing"])[0][:200]
    return writable(GIVEN_UP.sub(r"\1, again and again", first))


def writable(text: str) -> str:
    """Text that a file can hold: half surrogate pairs, which JSON can carry, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _places(header: EvalLog) -> list[tuple[str | int, int]]:
    return [(id, 1) for id in header.eval.dataset.sample_ids or []]


def _settings(request: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(request)
    for part in INSIDE:
        flat |= request.get(part) or {}
    sent = {
        SAME.get(name, name): value
        for name, value in flat.items()
        if name not in NO_SETTINGS and value not in ([], None)
    }
    effort = _effort(sent)
    return sent if effort is None else {**sent, "reasoning_effort": effort}


def _effort(sent: Mapping[str, Any]) -> str | None:
    """The reasoning effort, wherever a provider puts it."""
    if (sent.get("thinking") or {}).get("type") == "disabled":
        return "none"
    parts = (sent.get(name) or {} for name in ("reasoning", "output_config"))
    return next((part["effort"] for part in parts if part.get("effort")), sent.get("reasoning_effort"))
