"""Budget: the estimate, the consent, the count, and the limits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.items import Item
from lowland.stress.asking import budget
from lowland.stress.asking.budget import (
    Budget,
    CostEstimate,
    Stopped,
    estimate,
    is_paid,
    require_consent,
    tokens_of,
)
from lowland.stress.asking.prices import Price, price_of, read_prices
from lowland.stress.asking.run import run_stress
from lowland.stress.questions.questionnaire import Question
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import KEY, request_to

PRICE = Price(input=3.0, output=15.0)
FORM = "expected lines such as"


def question(text: str, system: str | None = None) -> Question:
    item = Item("a", "geography", "name", text, ("Paris",))
    return Question(item, "clean", "", 0.0, False, "none", system, text, 0)


def prices(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("model", "base_url", "paid"),
    [
        ("lowland/retriever", None, False),
        ("mockllm/model", None, False),
        ("ollama/llama3.2", None, False),
        ("vllm/meta-llama", "http://gpu.example:8000/v1", False),
        ("hf/gpt2", None, False),
        ("anthropic/claude-x", None, True),
        ("anthropic/claude-x", "http://127.0.0.1:8000", False),
        ("openai-api/local/llama", "http://localhost:8000/v1", False),
        ("openai-api/local/llama", "https://localhost.example.com/v1", True),
        ("nobody/knows", None, True),
    ],
)
def test_models_on_the_users_own_machine_are_free(model, base_url, paid):
    assert is_paid(model, base_url) == paid


def test_the_estimate_is_a_product():
    questions = [question("x" * 30), question("जापान", "y" * 9)]
    assert [tokens_of(question) for question in questions] == [10 + 20, 5 + 3 + 20]
    assert estimate(questions, 3, 100, PRICE) == CostEstimate(6, 174, 600, (174 * 3 + 600 * 15) / 1e6)
    assert estimate(questions, 3, 100, None).dollars is None


def test_few_requests_need_no_consent():
    require_consent(CostEstimate(500, 1, 1, None), "a/b", yes=False, confirm=None)
    require_consent(CostEstimate(501, 1, 1, None), "a/b", yes=True, confirm=None)
    require_consent(
        CostEstimate(5000, 1, 1, None), "a/b", yes=False, confirm=None, left=500
    )  # the other questions have replies already


def test_many_requests_need_consent_to_their_price():
    seen: list[str] = []
    cost = CostEstimate(1000, 40_000, 512_000, 7.8)
    require_consent(cost, "a/b", yes=False, confirm=lambda text: not seen.append(text))  # type: ignore[func-returns-value]
    assert seen == [
        "1,000 requests to a/b, about 40,000 tokens sent and at most 512,000 received,"
        " at most about $7.80 by your prices. Send them?"
    ]
    with pytest.raises(Mistake, match="not agreed to; nothing was sent"):
        require_consent(cost, "a/b", yes=False, confirm=lambda text: False)
    with pytest.raises(Mistake, match=r"1,000 requests to a/b.*price not known; add --yes to agree"):
        require_consent(CostEstimate(1000, 1, 1, None), "a/b", yes=False, confirm=None)


def test_a_run_asks_for_consent_before_it_sends_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setattr(budget, "LOOPBACK", frozenset())  # the fake server counts as paid
    with MessagesAPI() as api:
        request = request_to(api, tmp_path, count=251)
        with pytest.raises(Mistake, match=r"502 requests to anthropic/claude-sonnet-5.*--yes"):
            run_stress(*request)
        with pytest.raises(Mistake, match="not agreed to"):
            run_stress(*request, confirm=lambda text: False)
        assert api.bodies == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", FORM),
        ("- 3", FORM),
        ("a/b: 3", "the price of a/b is 3; " + FORM),
        ("a/b: {input: 3}", FORM),
        ("a/b: {input: 3, output: -1}", FORM),
        ("a/b: {input: 3, output: .nan}", FORM),
        ("a/b: {input: yes, output: 3}", FORM),
        ("a/b: {input: 3, output: 4, cached: 1}", FORM),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_bad_price_table_is_one_sentence(text, message, tmp_path):
    with pytest.raises(Mistake, match=message):
        read_prices(prices(tmp_path, text))


def test_prices_are_read_from_yaml_and_json_and_a_missing_model_is_a_mistake(tmp_path):
    read = read_prices(prices(tmp_path, "anthropic/claude-x: {input: 3, output: 15}"))
    assert read == {"anthropic/claude-x": PRICE}
    assert read_prices(prices(tmp_path, json.dumps({"a/b": {"input": 3, "output": 15}}))) == {"a/b": PRICE}
    with pytest.raises(Mistake, match="did you mean 'anthropic/claude-x'"):
        price_of("anthropic/claude-y", read)
    with pytest.raises(Mistake, match="does not exist"):
        read_prices(tmp_path / "nowhere.yaml")


def test_a_budget_allows_max_requests():
    spending = Budget(max_requests=2)
    spending.reserve(10)
    spending.reserve(10)
    with pytest.raises(Stopped, match="not asked: --max-requests 2 is reached"):
        spending.reserve(10)
    assert spending.reason == "--max-requests 2 is reached"


def test_repeated_requests_count():
    spending = Budget(max_requests=2)
    spending.reserve(10)
    spending.count_retries(1)
    with pytest.raises(Stopped):
        spending.reserve(10)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 100)), max_size=60), st.floats(1e-4, 1e-2))
def test_the_budget_is_kept_when_lengths_are_estimated_well(replies, most):
    spending = Budget(max_cost=most, price=PRICE, max_tokens=100)
    paid = 0.0
    for tokens, received in replies:
        try:
            spending.reserve(tokens)
        except Stopped:
            assert paid + PRICE.of(tokens, 100) > most - 1e-12 or spending.reason
            break
        spending.settle(tokens, (tokens, received))
        paid += PRICE.of(tokens, received)
    assert paid <= most + 1e-12
    assert math.isclose(spending.spent["dollars"], paid, abs_tol=1e-9)


def test_requests_in_flight_count_at_their_maximum_cost():
    spending = Budget(max_cost=PRICE.of(10, 100) * 2.5, price=PRICE, max_tokens=100)
    spending.reserve(10)
    spending.reserve(10)
    with pytest.raises(Stopped):
        spending.reserve(10)


def test_the_next_budget_continues_the_ledger_also_if_its_last_line_is_cut_off(tmp_path):
    ledger = tmp_path / "spent.jsonl"
    with Budget(ledger, price=PRICE, max_tokens=100) as spending:
        spending.reserve(10)
        spending.settle(10, (12, 3))
        spending.reserve(10)
        with ledger.open() as file:
            assert len(file.readlines()) == 3  # written at once
    with ledger.open("a") as file:
        file.write('{"requests": 1, "dol')
    with Budget(ledger) as after:
        spent = after.spent
    assert spent["requests"] == 2
    assert (spent["answered"], spent["input_tokens"], spent["output_tokens"]) == (1, 12, 3)
    assert spent["dollars"] == pytest.approx(PRICE.of(12, 3) + PRICE.of(10, 100))


def test_a_line_truncated_by_a_kill_spoils_no_other_line(tmp_path: Path) -> None:
    ledger = tmp_path / "run" / "spent.jsonl"
    with Budget(ledger) as spending:
        assert not ledger.exists()  # nothing was sent
        spending.reserve(10)
    ledger.write_text(ledger.read_text() + '{"requests": 1, "dol')
    with Budget(ledger) as spending:
        spending.reserve(10)
    assert Budget(ledger).spent["requests"] == 2
