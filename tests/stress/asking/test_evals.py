"""The stress tests as Inspect tasks, from Python and from Inspect's command line."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import inspect_ai
import inspect_ai.model as inspect_model
import pandas as pd
import pytest
from inspect_ai._eval.registry import task_create
from inspect_ai.log import list_eval_logs, read_eval_log

import lowland.stress.asking.inspect_entry  # noqa: F401 - registers the tasks
from lowland.stress.asking import evals
from lowland.stress.asking.evals import refusal_of, sample_of, stress_task
from lowland.stress.asking.inspect_internals import PrerequisiteError
from lowland.stress.questions.mitigations import system_prompt
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    Questionnaire,
    content_sha256,
)
from tests.stress.asking.support import INSPECTS, own_machine

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]

__all__ = ["own_machine"]

INSPECT = [
    sys.executable,
    "-m",
    "inspect_ai",
    "eval",
    "lowland/messy",
    "--display",
    "none",
    "--ctl-server",
    "false",
]


def test_a_sample_holds_the_system_prompt_and_the_text():
    questions = MessyQuestionnaire(limit=1, corruptions="typos", levels="light").questions()
    question = next(
        question
        for question in questions
        if question.condition == "typos" and question.mitigation == "prompt"
    )
    sample = sample_of(question)
    assert sample.id == question.id
    assert [(message.role, message.text) for message in sample.input] == [  # type: ignore[union-attr]
        ("system", system_prompt("messy", "prompt")),
        ("user", question.text),
    ]
    assert sample.target == list(question.item.answers)
    assert sample.metadata is not None
    assert sample.metadata["condition"] == "typos"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "heavy"}, "unknown field 'level'; did you mean 'levels'"),
        ({"levels": "hevy"}, "unknown level 'hevy'; did you mean 'heavy'"),
        ({"levels": 2}, "level is 2; it must be light or heavy, or a rate"),
        ({"corruptions": "typo"}, "did you mean 'typos'"),
        ({"limit": "many"}, "limit is 'many'; it must be a whole number"),
        ({"limit": 0}, "limit is 0; it must be at least 1"),
        ({"items": "nowhere.jsonl"}, "nowhere.jsonl does not exist"),
        ({"data_sha256": "0" * 64, "limit": 1}, ", not data_sha256=000"),
    ],
)
def test_inspect_shows_mistakes_in_its_arguments_as_sentences(arguments, message):
    with pytest.raises(PrerequisiteError) as caught:
        task_create("lowland/messy", **arguments)
    assert message in str(caught.value.message)


def test_the_questions_can_be_pinned_and_settings_have_their_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evals, "active_model", lambda: None)  # an earlier test's model may still be active
    pinned = content_sha256(MessyQuestionnaire(limit=1).questions())
    task = task_create("lowland/messy", limit=1, levels=None, data_sha256=pinned)
    assert task.metadata == {"data_sha256": pinned}
    assert task.epochs == 3
    assert (task.config.temperature, task.config.max_tokens) == (0.2, 512)


# --- inspect eval: a fair sample, its standard error, and the epochs ---


def half_right(questionnaire: Questionnaire) -> inspect_model.Model:
    """Build a mock model that answers every second item rightly, in all of its forms and epochs."""
    items = list({question.item.id: question.item for question in questionnaire.questions()}.values())
    known = {item.id for item in items[::2]}
    replies = {
        (question.system, question.text): question.item.answers[0] if question.item.id in known else "mud"
        for question in questionnaire.questions()
    }

    def answer(input: list[inspect_model.ChatMessage], *rest: object) -> inspect_model.ModelOutput:
        reply = replies[input[0].text, input[-1].text]
        output = inspect_model.ModelOutput.from_content("mockllm/model", reply)
        output.usage = inspect_model.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return inspect_model.get_model("mockllm/model", custom_outputs=answer, memoize=False)


def clustered_error(samples: pd.DataFrame) -> float:
    """The standard error of a mean with clusters of items, from sums of residuals over each item."""
    residuals = samples["score"] - samples["score"].mean()
    sums = residuals.groupby(samples["item"]).sum()
    return math.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(samples)


@pytest.mark.parametrize(
    ("questionnaire", "epochs"),
    [(MessyQuestionnaire(limit=30), None), (MultilingualQuestionnaire(limit=30), 2)],
)
def test_a_limited_eval_takes_a_fair_sample_with_an_error_clustered_by_item(
    questionnaire: Questionnaire, epochs: int | None, tmp_path: Path
):
    limit = 100
    (log,) = inspect_ai.eval(
        f"lowland/{questionnaire.eval}",
        task_args={"limit": 30},
        model=half_right(questionnaire),
        limit=limit,
        epochs=epochs,
        display="none",
        log_dir=str(tmp_path),
    )
    assert log.status == "success", log.error
    assert log.samples is not None
    assert len(log.samples) == limit * (epochs or 3)
    rows = pd.DataFrame(
        [
            {**sample.metadata, "id": sample.id, "score": (sample.scores or {})["answer"].as_float()}
            for sample in log.samples
        ]
    ).drop_duplicates("id")  # the epochs agree
    whole = pd.DataFrame([question.metadata for question in questionnaire.questions()])
    for column in ("item", "condition", "mitigation", "topic"):
        shares = whole[column].value_counts() * limit / len(whole)
        assert (rows[column].value_counts().reindex(shares.index).fillna(0) - shares).abs().max() < 3
    assert log.results is not None
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["accuracy"] == pytest.approx(rows["score"].mean())
    assert metrics["stderr"] == pytest.approx(clustered_error(rows))
    assert metrics["stderr"] > 1.3 * rows["score"].sem()  # that of independent rows


def test_the_retriever_is_asked_once_as_by_lowland_stress(tmp_path: Path):
    for epochs, expected in ((None, 1), (2, 2)):
        (log,) = inspect_ai.eval(
            "lowland/multilingual",
            model="lowland/retriever",
            limit=4,
            epochs=epochs,
            display="none",
            log_dir=str(tmp_path),
        )
        assert log.status == "success", log.error
        assert log.eval.config.epochs == expected
        assert log.eval.metadata == {"data_sha256": content_sha256(MultilingualQuestionnaire().questions())}


def test_lowland_stress_keeps_the_questions_of_an_item_together():
    questions = MessyQuestionnaire(limit=3).questions()
    task = stress_task(MessyQuestionnaire(), questions)
    assert [sample.id for sample in task.dataset] == [question.id for question in questions]


def test_a_refusal_is_recognised_behind_other_errors():
    class Refused(Exception):
        status_code = 401

    class Busy(Exception):
        status_code = 429

    error = RuntimeError("outer")
    error.__cause__ = Refused("inner")
    assert "does not accept the key (401)" in str(refusal_of(error))
    assert refusal_of(Busy("later")) is None


def test_a_task_can_be_made_of_selected_questions():
    questions = MessyQuestionnaire(limit=1, mitigations="none").questions()
    assert len(stress_task(MessyQuestionnaire(), questions).dataset) == len(questions)


def test_the_entry_point_names_what_inspect_loads():
    with (Path(__file__).parents[3] / "pyproject.toml").open("rb") as file:
        (module,) = tomllib.load(file)["project"]["entry-points"]["inspect_ai"].values()
    assert {"messy", "multilingual", "LowlandAPI"} <= set(dir(import_module(module)))


@pytest.mark.slow
def test_inspect_eval_works_from_a_shell(tmp_path):
    environment = {**os.environ, "INSPECT_EVAL_MODEL": "", "INSPECT_LOG_DIR": str(tmp_path / "logs")}
    arguments = ["-T", "limit=1", "-T", "corruptions=typos", "-T", "levels=heavy", "-T", "mitigations=none"]
    done = subprocess.run(
        [*INSPECT, "--model", "lowland/retriever", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = [read_eval_log(path) for path in list_eval_logs(str(tmp_path / "logs"))]
    assert log.status == "success"
    assert log.results is not None
    assert log.results.completed_samples == 2
