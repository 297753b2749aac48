"""Settings of a stress test: the model, the sampling, the pace and the budget; and the key of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

import lowland
from lowland.ground.asked import Asked, Number, Text, Truth, Whole, plain
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from lowland.ground.records import STRESS_RECORD_VERSION
from lowland.ground.store import key_of
from lowland.items import content_hash, facts
from lowland.models.packages import is_gemma_installed
from lowland.stress.asking.prices import Price, price_of, read_prices
from lowland.stress.questions.questionnaire import Question, Questionnaire, content_sha256

PROVIDER = "lowland"
RETRIEVER = f"{PROVIDER}/retriever"
GEMMA = f"{PROVIDER}/gemma-3-270m"

MAX_FAILED = 0.05
"""Largest share of failed rows in a finished run."""

SECRETS = re.compile(r"key|secret|password|credential|authori[sz]ation|headers|(^|_)token$", re.IGNORECASE)
KEYS_RULE = "keys are read from environment variables only"


@dataclass(frozen=True)
class _Usual:
    """Defaults of settings that depend on the model."""

    epochs: int
    max_connections: int


USUAL = _Usual(epochs=3, max_connections=10)
USUAL_OF_LOWLAND = _Usual(epochs=1, max_connections=64)
"""Lowland's own models give the same answer every time, and answer in batches."""


def _usual_words(name: str) -> str:
    return f"default: {getattr(USUAL, name)}; models of lowland: {getattr(USUAL_OF_LOWLAND, name)}"


def _provider_and_name(model: str) -> str:
    if (own := f"{PROVIDER}/{model}") in (RETRIEVER, GEMMA):
        raise ValueError(f"be provider/name: {own}")
    if not all(model.partition("/")):
        raise ValueError("be provider/name, such as anthropic/… or ollama/…")
    return model


def _json_object(value: Any, info: ValidationInfo) -> Any:
    """Read a JSON object from text; leave a mapping as it is.

    Raises:
        Mistake: if the value is neither a mapping nor a JSON object.
    """
    if isinstance(value, Mapping):
        return value
    try:
        decoded = json.loads(value)
    except (TypeError, json.JSONDecodeError):
        decoded = None
    if not isinstance(decoded, dict):
        raise Mistake(f'{info.field_name} is {value}; it must be JSON such as {{"temperature": 0.2}}')
    return decoded


def _without_secrets(value: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Refuse names that may hold a key: records and Inspect's logs would contain it."""
    if problems := [
        f"{info.field_name} contains {name}, which is not allowed there; {KEYS_RULE}"
        for name in value
        if SECRETS.search(name)
    ]:
        raise Mistake(*problems)
    return value


def _address_only(base_url: str) -> str:
    """Refuse an address with a user name, a password or a query: records and logs would contain it."""
    address = urlsplit(base_url)
    if address.username or address.password or address.query:
        raise Mistake(f"base_url contains more than an address; {KEYS_RULE}")
    return base_url


JsonObject = Annotated[Mapping[str, Any], BeforeValidator(_json_object), AfterValidator(_without_secrets)]
"""A mapping, or text with a JSON object. No name in it may look like that of a key or a password."""


class AskingSettings(Asked):
    """Settings for questioning a model: which model, with which sampling, how fast, and for how much money."""

    model_config = ConfigDict(protected_namespaces=())  # "model_args" is a name of ours

    model: Annotated[Text, AfterValidator(_provider_and_name)] = RETRIEVER
    """the model, as provider/name in Inspect's notation"""
    model_args: JsonObject = Field(default_factory=dict)
    """arguments of the provider, as JSON"""
    adapter: Path | None = None
    """folder of a run of instruction or short-answers; the model, such as lowland/gemma-3-270m, answers as that run has
    trained it"""
    base_url: Annotated[Text, AfterValidator(_address_only)] | None = None
    """address of the provider's server"""
    epochs: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description=f"number of times that each question is asked ({_usual_words('epochs')})"
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] = 0.2
    """sampling temperature; some providers ignore it"""
    max_tokens: Annotated[Whole, Field(ge=1)] = 512
    """maximum length of a reply"""
    reasoning_effort: Text | None = None
    """reasoning effort; none turns reasoning off, so that it does not use up max_tokens"""
    extra_body: JsonObject | None = None
    """JSON that is added to each request unchanged, such as settings that the provider class drops"""
    max_connections: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description=f"maximum number of requests at a time ({_usual_words('max_connections')})"
    )
    max_retries: Annotated[Whole, Field(ge=0)] = 5
    """maximum number of times that a failed request is repeated"""
    attempt_timeout: Annotated[Whole, Field(ge=1)] = 60
    """seconds after which a request is abandoned and repeated"""
    max_requests: Annotated[Whole, Field(ge=1)] | None = None
    """stop after this many requests"""
    prices: Path | None = None
    """YAML file of prices, such as anthropic/claude-x: {input: 3, output: 15}, in US dollars per million tokens"""
    max_cost: Annotated[Number, Field(gt=0)] | None = None
    """stop before the cost in US dollars exceeds this; needs prices"""
    yes: Truth = False
    """send any number of paid requests without asking for confirmation"""
    fresh: Truth = False
    """ask again although a finished run exists"""
    out: Path | str = Path("runs")
    """folder of the runs"""

    @field_validator("max_cost")
    @classmethod
    def _needs_prices(cls, max_cost: float | None, info: ValidationInfo) -> float | None:
        if max_cost is not None and info.data.get("prices", "invalid") is None:
            raise Mistake("max_cost needs a table of prices; add --prices FILE")
        return max_cost

    @field_validator("adapter")
    @classmethod
    def _needs_a_model_here(cls, adapter: Path | None, info: ValidationInfo) -> Path | None:
        model = info.data.get("model", GEMMA)
        if adapter is not None and (model == RETRIEVER or not model.startswith(f"{PROVIDER}/")):
            raise Mistake(
                f"adapter is given, and {model} cannot have one; name a decoder, as --model {GEMMA}"
            )
        return adapter

    @property
    def trained(self) -> tuple[str, str, str] | None:
        """Label of the method, seed and key of the run in `adapter`; None without one.

        Raises:
            Mistake: if the folder holds no record of a run.
        """
        if self.adapter is None:
            return None
        record = read_record(self.adapter)
        return record.method, str(record.seed), record.key

    @property
    def label(self) -> str:
        """Name of the model in rows and reports, with the method and seed of the run in `adapter`."""
        if self.trained is None:
            return self.model
        method, seed, _ = self.trained
        return f"{self.model} {method}-s{seed}"

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the provider."""
        return dict(self.model_args) | ({"adapter": str(self.adapter)} if self.adapter else {})

    @property
    def epoch_count(self) -> int:
        """Number of times that each question is asked: `epochs`, or the usual number for the model."""
        return self._usual.epochs if self.epochs is None else self.epochs

    @property
    def connection_count(self) -> int:
        """Maximum number of requests at a time: `max_connections`, or the usual number for the model."""
        return self._usual.max_connections if self.max_connections is None else self.max_connections

    @property
    def provider(self) -> str:
        """The part of `model` before the slash."""
        return self.model.partition("/")[0]

    @property
    def generation(self) -> dict[str, Any]:
        """The settings of generation that Inspect receives."""
        settings: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        if self.reasoning_effort is not None:
            settings["reasoning_effort"] = self.reasoning_effort
        if self.extra_body is not None:
            settings["extra_body"] = dict(self.extra_body)
        return settings

    def read_price(self) -> Price | None:
        """Return the model's price from the table of prices, or None without a table.

        Raises:
            Mistake: if the table cannot be read or does not contain the model.
        """
        return None if self.prices is None else price_of(self.model, read_prices(self.prices))

    @property
    def _usual(self) -> _Usual:
        """The values of `epochs` and `max_connections` if they are None."""
        return USUAL_OF_LOWLAND if self.provider == PROVIDER else USUAL


def language_model_here() -> str:
    """Return the language model that needs no network: Gemma where its package is installed, else the retriever."""
    return GEMMA if is_gemma_installed() else RETRIEVER


class MultilingualAskingSettings(AskingSettings):
    """Settings for questioning a model in several languages: by default a language model, where there is one."""

    model: Annotated[Text, AfterValidator(_provider_and_name)] = Field(
        default_factory=language_model_here,
        description=f"the model, as provider/name in Inspect's notation; {GEMMA} needs the extra lowland[gemma]",
    )


def run_key(questionnaire: Questionnaire, questions: Sequence[Question], settings: AskingSettings) -> str:
    """Return the key of a run: equal questions to the same model with the same sampling have equal keys.

    Questions count by their content. Folders, the pace and the budget do not count.
    """
    return key_of(
        {
            "eval": questionnaire.eval,
            "questions": content_sha256(questions),
            "model": [settings.model, settings.base_url, dict(settings.model_args)],
            "facts": content_hash(facts()) if settings.provider == PROVIDER else None,
            "trained": settings.trained,
            "settings": [settings.epoch_count, settings.generation],
            "lowland": lowland.__version__,
            "record": STRESS_RECORD_VERSION,
            **user_languages(questionnaire),
        }
    )


def user_languages(questionnaire: Questionnaire) -> dict[str, Any]:
    """Return how the user's own languages are recognised. The packaged ones belong to lowland's version."""
    if not questionnaire.has_own_languages:
        return {}
    languages = questionnaire.languages_to_check()
    profiles = {
        name: [
            language.profile.label,
            language.profile.script,
            sorted(language.profile.function_words),
        ]
        for name, language in languages.items()
        if language.profile
    }
    return {"accepts": {name: language.accepts for name, language in languages.items()}, "profiles": profiles}


NOT_RECORDED = frozenset({"yes", "fresh", "out", "prices"})
"""Settings that change neither questions nor replies."""


def request_of(questionnaire: Questionnaire, settings: AskingSettings) -> dict[str, Any]:
    """Return the request as plain values, for the record's section `asked`."""
    values = {name: value for name, value in plain(settings).items() if name not in NOT_RECORDED}
    values["trained"] = settings.trained
    values |= {"epochs": settings.epoch_count, "max_connections": settings.connection_count}
    return {**values, "questionnaire": {"eval": questionnaire.eval, **plain(questionnaire)}}
