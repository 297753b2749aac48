"""The questions as Inspect's tasks: what is asked is what was asked for, and the shell's way is ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from inspect_ai._eval.registry import task_create
from inspect_ai.log import list_eval_logs, read_eval_log

import lowland.stress.asking.inspect_entry  # noqa: F401 - registers the tasks
from lowland.ground.mistakes import Mistake
from lowland.stress.asking.evals import refusal_of, sample_of, stress_task
from lowland.stress.asking.inspect_internals import PrerequisiteError
from lowland.stress.questions import items as items_module
from lowland.stress.questions.mitigations import prepared, system_prompt
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    content_sha256,
)
from tests.stress.asking.support import INSPECTS, items_file, own_machine

pytestmark = [pytest.mark.filterwarnings(one) for one in INSPECTS]

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
FEW = MessyQuestionnaire(limit=3, corruptions=("typos", "ocr"), levels=("light", "0.1"), protect="both")


def test_every_item_has_every_condition_once():
    questions = FEW.questions()
    ids = [one.id for one in questions]
    assert len(set(ids)) == len(ids) == 3 * 4 * (1 + 2 * 2 * 2)
    assert {one.condition for one in questions} == {"clean", "typos", "ocr"}
    assert {(one.level, one.rate) for one in questions} == {("", 0.0), ("light", 0.05), ("0.1", 0.1)}
    assert all(re.fullmatch(r"[^:]+:[a-z]+:[a-z0-9.]*:[a-z]+(:protected)?", one) for one in ids)
    assert all(one.id.endswith(":protected") == one.protected for one in questions)
    for one in questions:
        if one.condition == "clean":
            assert one.text == prepared(one.item.question, one.mitigation)
            assert not one.edits
            assert not one.protected
        if one.protected and one.mitigation == "none":
            assert all(part in one.text for part in one.item.protect)


def test_a_rate_is_asked_once_whatever_its_names():
    questionnaire = MessyQuestionnaire(levels=("light", "ladder", "0.20", "heavy", "0.3000000001", "0.3"))
    assert questionnaire.levels == ("light", "0.02", "0.1", "0.2", "0.4", "0.3")


def test_the_same_damage_stands_under_every_mitigation():
    texts: dict[tuple[object, ...], dict[str, str]] = {}
    for one in FEW.questions():
        texts.setdefault((one.item.id, one.condition, one.level, one.protected), {})[one.mitigation] = (
            one.text
        )
    for by in texts.values():
        assert by["none"] == by["prompt"]
        assert by["normalise"] == by["both"] == prepared(by["none"], "normalise")


def test_a_sample_holds_the_text_behind_the_system_prompt():
    one = next(q for q in FEW.questions() if q.condition == "typos" and q.mitigation == "prompt")
    sample = sample_of(one)
    assert sample.id == one.id
    assert [(message.role, message.text) for message in sample.input] == [  # type: ignore[union-attr]
        ("system", system_prompt("messy", "prompt")),
        ("user", one.text),
    ]
    assert sample.target == list(one.item.answers)
    assert sample.metadata is not None
    assert sample.metadata["condition"] == "typos"


def test_multilingual_questions_are_parallel():
    questions = MultilingualQuestionnaire(limit=5, languages=("hindi",)).questions()
    assert len(questions) == 5 * 2 * 2  # English is always asked
    assert {one.condition for one in questions} == {"english", "hindi"}
    pinned = next(one for one in questions if one.condition == "hindi" and one.mitigation == "pin")
    assert pinned.system == system_prompt("multilingual", "pin", pinned.item.target)


def test_languages_of_ones_own_need_what_they_are_compared_with(tmp_path):
    own = shutil.copytree(items_module.HERE / "languages", tmp_path / "languages")
    questionnaire = MultilingualQuestionnaire(items=tmp_path, languages=("hindi",))
    assert questionnaire.languages == ("english", "hindi")
    for name in ("english", "hinglish", "code-switched"):
        (own / f"{name}.json").unlink()
    with pytest.raises(Mistake, match="has no language 'english', which the others are compared with"):
        questionnaire.replace(limit=1)


def test_the_hash_is_of_what_is_sent():
    sha256 = content_sha256(FEW.questions())
    assert content_sha256(FEW.questions()) == sha256
    for change in ({"seed": 1}, {"limit": 2}, {"levels": ("light", "0.2")}):
        assert content_sha256(FEW.replace(**change).questions()) != sha256


def test_arguments_of_inspect_are_read_as_yaml_gives_them():
    questionnaire = MessyQuestionnaire(corruptions="typos,ocr", levels=["heavy", 0.1], protect=True, limit=2)
    assert questionnaire.corruptions == ("typos", "ocr")
    assert questionnaire.levels == ("heavy", "0.1")
    assert questionnaire.protect == "yes"
    assert MessyQuestionnaire(levels=0.1, items=None).levels == ("0.1",)
    assert MessyQuestionnaire(levels="ladder").levels == (
        "0.02",
        "0.05",
        "0.1",
        "0.2",
        "0.4",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
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
def test_inspect_is_told_of_bad_arguments_in_a_sentence(arguments, words):
    with pytest.raises(PrerequisiteError) as caught:
        task_create("lowland/messy", **arguments)
    assert words in str(caught.value.message)


def test_the_data_can_be_pinned():
    pinned = content_sha256(MessyQuestionnaire(limit=1).questions())
    task = task_create("lowland/messy", limit=1, data_sha256=pinned)
    assert task.metadata == {"data_sha256": pinned}
    assert task.epochs == 3
    assert (task.config.temperature, task.config.max_tokens) == (0.2, 512)


def test_an_item_without_gold_or_twice_there_is_told(tmp_path):
    path = items_file(tmp_path, 2)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(one) + "\n" for one in [{**rows[0], "answers": []}, rows[1], rows[1]]))
    with pytest.raises(Mistake) as caught:
        MessyQuestionnaire(items=path).questions()
    assert "line 1: answers" in caught.value.problems[0]
    assert "line 3: id 'capital-japan' stands in line 2 too" in caught.value.problems[1]


def test_a_refusal_is_found_behind_other_errors():
    class Refused(Exception):
        status_code = 401

    class Busy(Exception):
        status_code = 429

    error = RuntimeError("outer")
    error.__cause__ = Refused("inner")
    assert "does not accept the key (401)" in str(refusal_of(error))
    assert refusal_of(Busy("later")) is None


def test_a_task_can_be_made_of_ones_own_questions():
    questions = MessyQuestionnaire(limit=1, mitigations=("none",)).questions()
    assert len(stress_task(MessyQuestionnaire(), questions).dataset) == len(questions)


def test_the_entry_point_names_what_inspect_loads():
    with (Path(__file__).parents[3] / "pyproject.toml").open("rb") as file:
        (place,) = tomllib.load(file)["project"]["entry-points"]["inspect_ai"].values()
    assert {"messy", "multilingual", "LowlandAPI"} <= set(dir(import_module(place)))


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
    (log,) = [read_eval_log(one) for one in list_eval_logs(str(tmp_path / "logs"))]
    assert log.status == "success"
    assert log.results is not None
    assert log.results.completed_samples == 2 * 3
