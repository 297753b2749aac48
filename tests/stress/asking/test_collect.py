"""Rows from a log: scored replies, failures, and questions that were never sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalConfig, EvalDataset, EvalError, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import GenerateConfig, ModelCall, ModelOutput
from inspect_ai.scorer import Score

from lowland.ground.record_files import read_rows, write_rows
from lowland.ground.records import ROW_COLUMNS
from lowland.stress.asking.budget import Stopped
from lowland.stress.asking.collect import failures, rows_of, settings_sent, writable
from lowland.stress.asking.evals import sample_of
from lowland.stress.questions.questionnaire import MessyQuestionnaire
from tests.stress.asking.support import INSPECTS, items_file, own_machine

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]

__all__ = ["own_machine"]

REQUEST = {
    "model": "x",
    "messages": [{"role": "user", "content": "?"}],
    "system": "s",
    "max_tokens": 512,
    "tools": [],
    "extra_headers": {"authorization": "no"},
    "extra_body": {"temperature": 0.2},
}


def sample(
    question, epoch=1, reply="Paris", right=True, error=None, stop="stop", refused=None, **about
) -> EvalSample:
    blank = sample_of(question)
    output = (
        ModelOutput()
        if reply is None
        else ModelOutput.from_content("x", reply, stop_reason=stop, error=refused)
    )
    call = ModelEvent(
        model="x", input=[], tools=[], tool_choice="none", config=GenerateConfig(), output=output,
        call=ModelCall.create(REQUEST, {}),
    )  # fmt: skip
    metadata = {"near": False, "unsure": False, "language": "", "kept": None} | about
    score = Score(value=float(right), answer=reply, metadata=metadata)
    return EvalSample(
        id=blank.id,
        epoch=epoch,
        input=blank.input,
        target=blank.target,
        output=output,
        events=[call],
        scores=None if error or reply is None else {"answer": score},
        error=EvalError(message=error, traceback="", traceback_ansi="") if error else None,
    )


def log_of(folder: Path, samples: list[EvalSample]) -> Path:
    path = folder / "log.eval"
    ids = list(dict.fromkeys(sample.id for sample in samples))
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task="messy",
        dataset=EvalDataset(sample_ids=ids),
        model="x",
        config=EvalConfig(epochs=2),
    )
    write_eval_log(EvalLog(eval=spec, status="success", samples=samples), str(path))
    return path


@pytest.fixture
def questionnaire(tmp_path: Path) -> MessyQuestionnaire:
    return MessyQuestionnaire(
        items=items_file(tmp_path, 3), corruptions="typos", levels="heavy", mitigations="none"
    )


def test_each_sample_that_was_asked_is_a_row(questionnaire, tmp_path):
    questions = questionnaire.questions()
    log = log_of(
        tmp_path,
        [
            sample(questions[3], 2, "Kyoto", right=False),
            sample(questions[0], 1, "Paris"),
            sample(questions[0], 2, None),
            sample(questions[1], 1, "too long", stop="model_length", refused="413 request_too_large"),
            sample(questions[1], 2, error="APIError('no')\nand more"),
            sample(questions[2], 1, error=str(Stopped("--max-requests 3 is reached"))),
            sample(questions[2], 2, "Tokyo, " + "yes " * 500, near=True),
        ],
    )
    rows = rows_of(log, questionnaire, "a/b", questions)
    assert tuple(rows.columns) == (*ROW_COLUMNS, "failure")
    facts = rows[["item", "condition", "epoch", "status", "score", "category"]].astype(str)
    assert [" ".join(map(str, row)) for row in facts.to_numpy()] == [
        "capital-france clean 1 scored 1.0 right",
        "capital-france clean 2 failed nan failed",
        "capital-france typos 1 failed nan failed",
        "capital-france typos 2 failed nan failed",
        "capital-japan clean 2 scored 1.0 right",
        "capital-japan typos 2 scored 0.0 " + rows["category"].iloc[-1],
    ]
    assert rows["category"].iloc[-1] not in ("right", "failed", "unsure")
    assert list(rows["reply"][1:4]) == ["", "", ""]
    assert rows["reply"][4].endswith("yes yes ")
    assert rows["near"][4]
    assert list(rows["prompt"]) == [questions[0].text] * 2 + [questions[1].text] * 2 + [
        questions[2].text,
        questions[3].text,
    ]
    assert rows["edits"].iloc[-1] == questions[3].edits > 0
    assert "3 of 6 rows failed" in str(failures(rows))
    assert "APIError('no')" in str(failures(rows))
    assert "and more" not in str(failures(rows))


def test_settings_are_read_from_the_first_request(questionnaire, tmp_path):
    questions = questionnaire.questions()
    stopped = sample(questions[0], error=str(Stopped("no")))
    stopped.events = []
    assert settings_sent(log_of(tmp_path, [stopped, sample(questions[1])])) == {
        "max_tokens": 512,
        "temperature": 0.2,
    }
    assert settings_sent(log_of(tmp_path, [stopped])) == {}


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        ({"max_completion_tokens": 9, "temperature": 0.2}, {"max_tokens": 9, "temperature": 0.2}),
        (
            {"input": [], "max_output_tokens": 9, "reasoning": {"effort": "low"}},
            {"max_tokens": 9, "reasoning": {"effort": "low"}, "reasoning_effort": "low"},
        ),
        (
            {"thinking": {"type": "disabled"}},
            {"thinking": {"type": "disabled"}, "reasoning_effort": "none"},
        ),
        (
            {"contents": ["Who?"], "generation_config": {"temperature": 0.2, "max_output_tokens": 9}},
            {"temperature": 0.2, "max_tokens": 9},
        ),
    ],
)
def test_settings_sent_have_the_names_of_the_settings_requested(
    request_, sent, questionnaire, tmp_path, monkeypatch
):
    monkeypatch.setattr("tests.stress.asking.test_collect.REQUEST", request_)
    assert settings_sent(log_of(tmp_path, [sample(questionnaire.questions()[0])])) == sent


def test_any_reply_can_be_written(questionnaire, tmp_path):
    questions = questionnaire.questions()
    odd = '\ud800 half\x00 =1+1\r\n, "x" 😀'
    assert writable(odd).startswith("? half")
    odd = odd.replace("\ud800", "?")  # Inspect cannot write it either
    log = log_of(tmp_path, [sample(questions[0], 1, "Paris"), sample(questions[1], 1, odd)])
    table = rows_of(log, questionnaire, "a/b", questions)
    write_rows(tmp_path, table)
    assert list(read_rows(tmp_path)["reply"]) == ["Paris", odd]


def test_no_sentence_without_failures():
    assert failures(rows_empty()) is None


def rows_empty():
    import pandas as pd

    return pd.DataFrame({"status": ["scored"], "failure": [None]})


def test_failed_attempts_are_one_reason_despite_their_memory_addresses(tmp_path):
    questionnaire = MessyQuestionnaire(items=items_file(tmp_path), corruptions="typos", mitigations="none")
    questions = questionnaire.questions()
    error = "RetryError(<Future at 0x7fc49a21{} state=finished raised APIConnectionError>)"
    log = log_of(
        tmp_path,
        [sample(question, 1, error=error.format(place)) for place, question in enumerate(questions[:3])],
    )
    sentence = failures(rows_of(log, questionnaire, "a/b", questions))
    assert sentence == "3 of 3 rows failed: 3x APIConnectionError in every attempt"
