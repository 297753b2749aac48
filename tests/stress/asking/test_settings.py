"""Settings: defaults, checks, and values that are read from text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.settings import AskingSettings, request_of, run_key
from lowland.stress.questions.questionnaire import MessyQuestionnaire

KEY = "sk-ant-not-a-real-key-0123456789"


def test_epochs_and_connections_follow_the_model_unless_they_are_given() -> None:
    retriever, other = AskingSettings(), AskingSettings(model="ollama/llama3.2")
    assert (retriever.epoch_count, retriever.connection_count) == (1, 64)
    assert (other.epoch_count, other.connection_count) == (3, 10)
    assert other.replace(model="lowland/retriever").epoch_count == 1
    settings = AskingSettings(epochs=2, max_connections=5)
    assert (settings.epoch_count, settings.connection_count) == (2, 5)


def test_equal_requests_have_equal_keys_whether_a_default_is_given_or_not() -> None:
    questionnaire = MessyQuestionnaire(limit=1)
    questions = questionnaire.questions()
    requests = [
        (questionnaire, AskingSettings()),
        (questionnaire.replace(corruptions="all"), AskingSettings(epochs=1, temperature="0.2")),
    ]
    assert len({run_key(variant, questions, settings) for variant, settings in requests}) == 1
    assert request_of(*requests[0]) == request_of(*requests[1])


def test_a_request_is_plain_values(tmp_path: Path) -> None:
    settings = AskingSettings(model_args={"a": 1}, out=tmp_path)
    request = request_of(MessyQuestionnaire(limit=1, levels="light"), settings)
    assert request == json.loads(json.dumps(request))
    assert request["epochs"] == 1
    assert request["questionnaire"]["eval"] == "messy"
    assert request["questionnaire"]["levels"] == ["light"]
    assert not {"out", "yes", "fresh", "prices"} & set(request)


def test_json_is_read_from_text() -> None:
    settings = AskingSettings(model_args='{"device": "cpu"}', extra_body='{"temperature": 0.2}')
    assert settings.model_args == {"device": "cpu"}
    assert settings.generation["extra_body"] == {"temperature": 0.2}


@pytest.mark.parametrize("value", ["[1]", "{", "3", 3, [1]])
def test_json_that_is_not_an_object_is_a_mistake(value: Any) -> None:
    with pytest.raises(Mistake, match="it must be JSON such as"):
        AskingSettings(extra_body=value)


def test_all_mistakes_are_reported_at_once_and_none_repeats_a_key() -> None:
    with pytest.raises(Mistake) as caught:
        AskingSettings(
            model="claude",
            model_args={"api_key": KEY},
            base_url=f"http://me:{KEY}@127.0.0.1",
            epochs=0,
            temperature=float("nan"),
            max_tokens=0.5,
            extra_body=json.dumps({"authorization": KEY}),
            max_cost=1.0,
            prics="prices.yaml",
        )
    messages = [
        "model is 'claude'; it must be provider/name",
        "model_args contains api_key, which is not allowed there",
        "base_url contains more than an address",
        "epochs is 0; it must be at least 1",
        "temperature is nan; it must be finite",
        "max_tokens is 0.5; it must be a whole number",
        "extra_body contains authorization, which is not allowed there",
        "max_cost needs a table of prices",
        "unknown field 'prics'; did you mean 'prices'",
    ]
    assert [
        problem[: len(message)] for problem, message in zip(caught.value.problems, messages, strict=True)
    ] == messages
    assert KEY not in str(caught.value)


def test_a_price_is_that_of_the_model(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("a/b: {input: 3, output: 15}\n")
    assert AskingSettings(model="a/b").read_price() is None
    price = AskingSettings(model="a/b", prices=prices, max_cost=1).read_price()
    assert price is not None
    assert (price.input, price.output) == (3, 15)
    with pytest.raises(Mistake, match="the price table does not contain the model"):
        AskingSettings(model="a/c", prices=prices).read_price()


def test_every_field_has_a_help_text() -> None:
    assert [name for name, field in AskingSettings.model_fields.items() if not field.description] == []
