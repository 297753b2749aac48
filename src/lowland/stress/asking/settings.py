"""Who is asked what, how, and for how much: what can be asked at all, and by what key it is found again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lowland
from lowland.ground.mistakes import Mistake
from lowland.ground.records import STRESS_RECORD_VERSION
from lowland.ground.store import key_of
from lowland.stress.asking.prices import Price, price_of, read_prices
from lowland.stress.questions.items import content_hash, facts, languages
from lowland.stress.questions.questionnaire import Question, Questionnaire, as_dict, content_sha256

SECRETS = re.compile(r"key|secret|password|credential|authori[sz]ation|headers|(^|_)token$", re.IGNORECASE)


@dataclass(frozen=True)
class StressAsked:
    """Who is asked what, how, and for how much.

    Attributes:
        what: the questions.
        model: any that Inspect knows, `provider/name`.
        model_args: of the provider's, for Inspect; keys are read from the environment and nowhere else.
        base_url: of the provider's server.
        epochs: how often each question is asked.
        temperature: of sampling; some providers drop it, see the record's `model`.
        max_tokens: the longest reply.
        reasoning_effort: "none" keeps thinking from using up `max_tokens`; None leaves it to the model.
        extra_body: goes into each request as it is, as {"temperature": 0.2}, which the Anthropic provider drops.
        max_connections: requests at a time.
        max_retries: of a request that failed.
        attempt_timeout: seconds after which a request is given up and made again.
        max_requests: stop asking there.
        max_cost: stop asking there, US dollars by the price table.
        prices: the table, a file; see `read_prices`.
        yes: agreed to any number of paid requests.
        fresh: ask anew what was finished before.
        out: folder of the runs.
    """

    what: Questionnaire = field(default_factory=Questionnaire)
    model: str = "lowland/retriever"
    model_args: Mapping[str, Any] = field(default_factory=dict)
    base_url: str | None = None
    epochs: int = 3
    temperature: float = 0.2
    max_tokens: int = 512
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] | None = None
    max_connections: int = 10
    max_retries: int = 5
    attempt_timeout: int = 60
    max_requests: int | None = None
    max_cost: float | None = None
    prices: str | None = None
    yes: bool = False
    fresh: bool = False
    out: str = "runs"


AT_LEAST = {
    "epochs": 1,
    "max_tokens": 1,
    "max_connections": 1,
    "attempt_timeout": 1,
    "max_retries": 0,
    "max_requests": 1,
}


def check(asked: StressAsked) -> Price | None:
    """The model's price, where there is a table, once all else can be asked.

    Raises:
        Mistake: a sentence for everything that cannot.
    """
    problems = [
        f"{name} is {value}; it must be a whole number of at least {least}"
        for name, least in AT_LEAST.items()
        if (value := getattr(asked, name)) is not None and value < least
    ]
    if not 0 <= asked.temperature <= 2:
        problems.append(f"temperature is {asked.temperature}; it must be between 0 and 2")
    if asked.max_cost is not None and not asked.max_cost > 0:
        problems.append(f"max_cost is {asked.max_cost}; it must be a number of US dollars above 0")
    if asked.max_cost is not None and asked.prices is None:
        problems.append("max_cost needs a price table; give one with --prices FILE")
    if not all(asked.model.partition("/")):
        problems.append(f"model is '{asked.model}'; it must be provider/name, as anthropic/… or ollama/…")
    problems += _secrets(asked)
    if problems:
        raise Mistake(*problems)
    return None if asked.prices is None else price_of(asked.model, read_prices(Path(asked.prices)))


def _secrets(asked: StressAsked) -> list[str]:
    """What may hold a key: it would stand in the record and in Inspect's log."""
    rule = "keys are read from the environment, and from nowhere else"
    named = [name for name in (*asked.model_args, *(asked.extra_body or {})) if SECRETS.search(name)]
    found = [f"the model's argument {name} is none that can be given here; {rule}" for name in named]
    address = urlsplit(asked.base_url or "")
    if address.username or address.password or address.query:
        found.append(f"base_url holds more than an address; {rule}")
    return found


def run_key(asked: StressAsked, put: Sequence[Question]) -> str:
    """The key of a run: the questions by their content, who is asked and how, and not where files lie."""
    return key_of(
        {
            "eval": asked.what.eval,
            "questions": content_sha256(put),
            "model": [asked.model, asked.base_url, dict(asked.model_args)],
            "facts": content_hash(facts()) if asked.model.startswith("lowland/") else None,
            "settings": [asked.epochs, requested(asked)],
            "lowland": lowland.__version__,
            "record": STRESS_RECORD_VERSION,
            **_own_languages(asked.what),
        }
    )


def _own_languages(what: Questionnaire) -> dict[str, Any]:
    """How replies in languages of the user's own are told; the packed ones are those of lowland's version."""
    if what.eval != "multilingual" or what.items is None:
        return {}
    found = languages(Path(what.items))
    profiles = {
        name: [one.profile.label, one.profile.script, sorted(one.profile.function_words)]
        for name, one in found.items()
        if one.profile
    }
    return {"accepts": {name: one.accepts for name, one in found.items()}, "profiles": profiles}


def requested(asked: StressAsked) -> dict[str, Any]:
    """The settings of generation, as Inspect is told them."""
    settings: dict[str, Any] = {"temperature": asked.temperature, "max_tokens": asked.max_tokens}
    if asked.reasoning_effort is not None:
        settings["reasoning_effort"] = asked.reasoning_effort
    if asked.extra_body is not None:
        settings["extra_body"] = dict(asked.extra_body)
    return settings


def asked_as_dict(asked: StressAsked) -> dict[str, Any]:
    """As plain values that JSON can hold, without what says only where things lie and what was agreed to."""
    left_out = ("what", "yes", "fresh", "out", "prices")
    values = {
        one.name: dict(value) if isinstance(value := getattr(asked, one.name), Mapping) else value
        for one in dataclasses.fields(asked)
        if one.name not in left_out
    }
    return {**values, "what": as_dict(asked.what)}
