"""The limit of requests: a server never gets more, whatever fails, and every request is counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import tenacity

from lowland.ground.record_files import read_rows, read_stress_record
from lowland.stress.asking.run import run_stress
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, KEY, own_machine, request_to  # noqa: F401 - a fixture

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Inspect wait for 10 ms before it repeats a request, instead of 3 s and more."""
    monkeypatch.setattr(
        "inspect_ai.model._retry.wait_exponential_jitter", lambda **_: tenacity.wait_fixed(0.01)
    )


def always(fault: str) -> Callable[[int, str], str | None]:
    return lambda number, question: fault


def sometimes(number: int, question: str) -> str | None:
    kinds = ("server error", "overloaded", "dropped", "malformed", "too large", "empty", None, None, None)
    return random.Random(number).choice(kinds)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("anthropic/claude-sonnet-5", always("server error")),
        ("anthropic/claude-sonnet-5", sometimes),
        ("together/llama", always("dropped")),
        *(
            pytest.param(model, fault, marks=pytest.mark.slow)
            for model, fault in (
                ("anthropic/claude-sonnet-5", always("overloaded")),
                ("anthropic/claude-sonnet-5", always("dropped")),
                ("together/llama", always("server error")),
                ("together/llama", always("overloaded")),
                ("together/llama", sometimes),
            )
        ),
    ],
)
def test_no_more_requests_are_sent_than_allowed(
    model: str,
    fault: Callable[[int, str], str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with MessagesAPI(fault=fault, delay=0.01) as api:
        request = request_to(
            api, tmp_path, count=10, model=model, epochs=2, max_connections=7, max_retries=4, max_requests=23
        )
        record = read_stress_record(run_stress(*request))
        assert record.cost["requests"] == len(api.bodies) == 23
        assert record.status == "incomplete"
        assert "--max-requests 23 is reached" in str(record.failure)
        run_stress(*request)
        assert len(api.bodies) == 23  # also over several commands

        api.fault = lambda number, question: None
        folder = run_stress(*request.with_settings(max_requests=90))
        assert read_stress_record(folder).status == "finished"
        assert len(read_rows(folder)) == 40
        assert read_stress_record(folder).cost["requests"] == len(api.bodies) <= 90


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_limit_below_the_number_of_connections_is_kept(limit: int, tmp_path: Path) -> None:
    with MessagesAPI(fault=always("server error"), delay=0.02) as api:
        run_stress(*request_to(api, tmp_path, count=10, max_connections=8, max_requests=limit))
        assert len(api.bodies) == limit


@pytest.mark.parametrize(
    "fault", [always("unfinished"), lambda number, question: (None, "unfinished")[number % 2]]
)
def test_continuations_of_an_unfinished_reply_count(
    fault: Callable[[int, str], str | None], tmp_path: Path
) -> None:
    with MessagesAPI(fault=fault) as api:
        request = request_to(api, tmp_path, count=10, max_connections=3, max_retries=2, max_requests=13)
        record = read_stress_record(run_stress(*request))
        assert record.cost["requests"] == len(api.bodies) == 13
        assert "--max-requests 13 is reached" in str(record.failure)


def test_repetitions_by_a_client_that_cannot_be_switched_off_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiobotocore")  # it repeats failed requests on its own
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with MessagesAPI(fault=always("server error")) as api:
        request = request_to(
            api,
            tmp_path,
            model="bedrock/anthropic.claude-test",
            max_connections=4,
            max_retries=2,
            max_requests=5,
        )
        record = read_stress_record(run_stress(*request))
        assert record.cost["requests"] == len(api.bodies) == 5
