"""Faults on the way to a model: every row is accounted for, and only requests in flight are sent twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tenacity import wait_none

from lowland.ground.asked import plain
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_rows, read_stress_record
from lowland.stress.asking import budget
from lowland.stress.asking.run import run_stress
from tests.stress.asking.messages_api import FAULTS, STATUS, MessagesAPI
from tests.stress.asking.support import INSPECTS, own_machine, request_to

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]

__all__ = ["own_machine"]

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
from lowland.stress.asking.run import run_stress
from lowland.stress.asking.settings import AskingSettings
from lowland.stress.questions.questionnaire import MessyQuestionnaire

questionnaire, settings = json.loads(sys.argv[1])
try:
    print(run_stress(MessyQuestionnaire(**questionnaire), AskingSettings(**settings)))
except KeyboardInterrupt:
    sys.exit(130)
"""


def once(faults: dict[int, str]):
    """Return a function that gives the n-th request a fault. The question has none when it is sent again."""
    return lambda number, question: faults.get(number)


SLOW = ("rate limit", "server error", "overloaded", "dropped", "half a reply")
"""Faults after which Inspect waits for seconds before it sends the question again."""


@pytest.mark.parametrize(
    "fault",
    [
        "empty",
        "refusal",
        "too large",
        "malformed",
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in SLOW),
    ],
)
def test_a_single_fault_costs_one_request_and_no_row(fault, tmp_path):
    with MessagesAPI(fault=once({1: fault})) as api:
        folder = run_stress(*request_to(api, tmp_path, max_connections=2))
    record, rows = read_stress_record(folder), read_rows(folder)
    assert record.counts == {"expected": 8, "scored": 8, "failed": 0}
    assert (rows["status"] == "scored").all()
    repeats = 0 if fault in ("empty", "refusal") else 1  # these count as replies
    assert len(api.bodies) == 8 + repeats
    assert max(Counter(api.questions).values()) == 1 + repeats
    assert record.cost["requests"] == len(api.bodies)
    assert (rows["reply"] == "").sum() == 1 - repeats
    assert api.most <= 2


def test_a_hanging_request_is_abandoned_and_repeated(tmp_path):
    with MessagesAPI(fault=once({0: "hang"})) as api:
        start = time.perf_counter()
        folder = run_stress(*request_to(api, tmp_path, attempt_timeout=2))
        assert time.perf_counter() - start < 25  # instead of 30
    assert read_stress_record(folder).counts == {"expected": 8, "scored": 8, "failed": 0}
    assert len(api.bodies) == 9


@pytest.mark.parametrize("fault", ["too large", "malformed"])
def test_a_question_that_always_fails_is_a_failed_row_with_its_reason(fault, tmp_path):
    with MessagesAPI() as api:
        api.fault = lambda number, question: fault if "Japan" in question else None
        request = request_to(api, tmp_path, count=2, max_retries=0)
        folder = run_stress(*request)
        record, rows = read_stress_record(folder), read_rows(folder)
        assert record.status == "failed"  # a quarter or more of the rows failed, too many for a result
        assert "rows failed" in str(record.failure)
        failed = rows[rows["status"] == "failed"]
        assert record.counts["failed"] == len(failed) > 0
        assert record.counts["scored"] + len(failed) == record.counts["expected"] == 4
        assert failed["score"].isna().all()
        assert set(failed["category"]) == {"failed"}
        assert failed["prompt"].str.contains("Japan").all()

        api.bodies.clear()
        api.fault = lambda number, question: None
        run_stress(*request)  # sends only what failed
        assert sorted(api.questions) == sorted(failed["prompt"])
        assert read_stress_record(folder).status == "finished"


def test_questions_without_a_reply_need_consent_again(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "LOOPBACK", frozenset())  # the fake server counts as paid
    monkeypatch.setattr(budget, "CONSENT_ABOVE", 3)
    with MessagesAPI(fault=lambda number, question: "too large") as api:
        request = request_to(api, tmp_path, count=2, max_retries=0)
        run_stress(*request, confirm=lambda text: True)
        before = len(api.bodies)
        with pytest.raises(Mistake, match=r"^4 requests to anthropic/claude-sonnet-5"):
            run_stress(*request)  # all four rows failed, and would be paid for once more
        assert len(api.bodies) == before


def test_all_faults_at_once(tmp_path):
    kinds = [fault for fault in FAULTS if fault not in ("wrong key", "hang")]
    with MessagesAPI(fault=once(dict(enumerate(kinds)))) as api:
        folder = run_stress(*request_to(api, tmp_path, count=20, max_connections=4))
    record = read_stress_record(folder)
    assert record.counts["expected"] == 40 == record.counts["scored"] + record.counts["failed"]
    assert record.counts["scored"] >= 38
    assert api.most <= 4
    assert len(api.bodies) <= 40 + 2 * len(kinds)


@pytest.mark.parametrize("rows", [30, pytest.param(1100, marks=pytest.mark.slow)])
def test_kill_9_loses_only_what_was_in_flight(rows, tmp_path):
    connections = 4
    with MessagesAPI(delay=0.1) as api:
        request = request_to(api, tmp_path, count=rows // 2, max_connections=connections)
        command = [sys.executable, "-c", PROGRAM, json.dumps(plain(request))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment)
        wait_for(lambda: len(api.bodies) >= rows // 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(api.bodies) < rows
        folder = run_stress(*request)
        asked_again = sum(count - 1 for count in Counter(api.questions).values())
        assert asked_again <= connections
        record = read_stress_record(folder)
        assert record.counts == {"expected": rows, "scored": rows, "failed": 0}
        assert (
            len(api.bodies) <= record.cost["requests"] <= len(api.bodies) + connections
        )  # requests of the killed process count, too
        assert len(read_rows(folder)) == rows

        api.bodies.clear()
        assert run_stress(*request) == folder
        assert api.bodies == []


def test_a_spent_budget_keeps_the_rows_and_a_larger_one_continues(tmp_path):
    with MessagesAPI() as api:
        request = request_to(api, tmp_path, count=20, max_connections=3, max_requests=11)
        folder = run_stress(*request)
        assert len(api.bodies) == 11
        record = read_stress_record(folder)
        assert record.status == "incomplete"
        assert record.counts == {"expected": 40, "scored": 11, "failed": 0}
        assert record.failure == "29 of 40 rows are missing: --max-requests 11 is reached"
        assert len(read_rows(folder)) == 11

        run_stress(*request)
        assert len(api.bodies) == 11  # the budget was spent

        more = request_to(api, tmp_path, count=20, max_connections=3, max_requests=100)
        assert run_stress(*more) == folder
        assert read_stress_record(folder).counts["scored"] == 40
        assert len(api.bodies) == 40


@pytest.mark.parametrize("limit", [1, 4, 7])
def test_repeated_requests_never_exceed_the_limit(limit, tmp_path, monkeypatch):
    monkeypatch.setattr("inspect_ai.model._retry.wait_exponential_jitter", lambda **options: wait_none())
    with MessagesAPI(fault=lambda number, question: "overloaded" if number % 3 else None) as api:
        request = request_to(api, tmp_path, count=10, max_connections=3, max_requests=limit)
        record = read_stress_record(run_stress(*request))
        assert len(api.bodies) == limit == record.cost["requests"]
        assert record.status == "incomplete"
        assert f"--max-requests {limit} is reached" in str(record.failure)


def test_the_cost_stays_below_its_limit(tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("anthropic/claude-sonnet-5: {input: 3, output: 15}\n")
    with MessagesAPI() as api:
        request = request_to(
            api, tmp_path, count=20, max_connections=3, max_tokens=100, prices=str(prices), max_cost=0.003
        )
        record = read_stress_record(run_stress(*request))
    each = (20 * 3 + 3 * 15) / 1e6  # the usage that the server reports
    assert record.cost["dollars"] == pytest.approx(len(api.bodies) * each, abs=1e-6)
    assert 0.003 - 3 * 100 * 15 / 1e6 < record.cost["dollars"] <= 0.003  # the replies in flight may be long
    assert record.status == "incomplete"
    assert "--max-cost 0.003 is reached" in str(record.failure)


def wait_for(holds, process, seconds=90.0):
    end = time.perf_counter() + seconds
    while not holds():
        assert process.poll() is None, "the program has ended"
        assert time.perf_counter() < end, "too slow"
        time.sleep(0.01)


def test_the_server_has_the_faults_of_its_table():
    assert set(STATUS) < set(FAULTS)


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_is_continued(tmp_path):
    with MessagesAPI(delay=0.1) as api:
        request = request_to(api, tmp_path, count=30, max_connections=4)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(plain(request))],
            env=environment,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # a shell's background jobs ignore it
        )
        wait_for(lambda: len(api.bodies) >= 10, process)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert len(api.bodies) < 60
        assert read_stress_record(run_stress(*request)).status == "finished"
        assert len(api.bodies) <= 60 + 4
