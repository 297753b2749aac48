"""Questionnaires: names are resolved and checked, and every combination is one question."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from lowland import items as items_module
from lowland.ground.mistakes import Mistake
from lowland.stress.questions.mitigations import prepared, system_prompt
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    Questionnaire,
    content_sha256,
)
from lowland.text.corruptions import CORRUPTIONS
from tests.stress.asking.support import items_file

FEW = MessyQuestionnaire(limit=3, corruptions=("typos", "ocr"), levels=("light", "0.1"), protect="both")


# --- fields ---


def test_all_names_are_the_default_and_stand_for_themselves() -> None:
    questionnaire = MessyQuestionnaire()
    assert questionnaire.corruptions == tuple(CORRUPTIONS)
    assert questionnaire.mitigations == ("none", "prompt", "normalise", "both")
    assert questionnaire == MessyQuestionnaire(corruptions="all", mitigations=["all"])
    assert questionnaire == MessyQuestionnaire(corruptions=tuple(CORRUPTIONS), levels="light,heavy")
    assert MultilingualQuestionnaire().languages == ("english", "code-switched", "hindi", "hinglish")


def test_a_copy_is_the_same_questionnaire() -> None:
    for questionnaire in (FEW, MultilingualQuestionnaire(languages="hindi")):
        assert questionnaire.replace() == questionnaire


def test_the_reference_condition_is_always_included() -> None:
    assert MessyQuestionnaire(mitigations="prompt").mitigations == ("none", "prompt")
    assert MultilingualQuestionnaire(mitigations="pin", languages="hindi").languages == ("english", "hindi")


def test_a_rate_is_included_once_under_the_first_of_its_names() -> None:
    questionnaire = MessyQuestionnaire(levels=("light", "ladder", "0.20", "heavy", "0.3000000001", "0.3"))
    assert questionnaire.levels == ("light", "0.02", "0.1", "0.2", "0.4", "0.3")


def test_values_are_read_as_yaml_passes_them() -> None:
    questionnaire = MessyQuestionnaire(corruptions="typos,ocr", levels=["heavy", 0.1], protect=True, limit=2)
    assert questionnaire.corruptions == ("typos", "ocr")
    assert questionnaire.levels == ("heavy", "0.1")
    assert questionnaire.protect == "yes"
    assert MessyQuestionnaire(protect=False).protect == "no"
    assert MessyQuestionnaire(levels=0.1, items=None).levels == ("0.1",)
    assert MessyQuestionnaire(levels="ladder").levels == ("0.02", "0.05", "0.1", "0.2", "0.4")


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        MessyQuestionnaire(
            limit=0, corruptions="typo,ocr", levels=["hevy", 3], protect="maybe", mitigations="pin", level=3
        )
    messages = [
        "unknown mitigation 'pin'",
        "limit is 0; it must be at least 1",
        "unknown corruption 'typo'; did you mean 'typos'",
        "unknown level 'hevy'; did you mean 'heavy'",
        "level is 3; it must be light or heavy, or a rate",
        "unknown protect 'maybe'",
        "unknown field 'level'; did you mean 'levels'",
    ]
    assert len(caught.value.problems) == len(messages)
    for problem, expected in zip(caught.value.problems, messages, strict=True):
        assert expected in problem


@pytest.mark.parametrize("kind", [MessyQuestionnaire, MultilingualQuestionnaire])
def test_every_field_has_a_help_text(kind: type[Questionnaire]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.description] == []


def test_a_users_languages_must_include_the_reference_language(tmp_path: Path) -> None:
    own = shutil.copytree(items_module.ITEMS_FOLDER / "languages", tmp_path / "languages")
    questionnaire = MultilingualQuestionnaire(items=tmp_path, languages=("hindi",))
    assert questionnaire.languages == ("english", "hindi")
    for name in ("english", "hinglish", "code-switched"):
        (own / f"{name}.json").unlink()
    with pytest.raises(
        Mistake, match="has no language 'english', which the others are compared with"
    ) as caught:
        MultilingualQuestionnaire(items=tmp_path, languages=("hindi",), limit=0)
    assert len(caught.value.problems) == 2


# --- questions ---


def test_every_item_has_every_condition_once() -> None:
    questions = FEW.questions()
    ids = [question.id for question in questions]
    assert len(set(ids)) == len(ids) == 3 * 4 * (1 + 2 * 2 * 2)
    assert {question.condition for question in questions} == {"clean", "typos", "ocr"}
    assert {(question.level, question.rate) for question in questions} == {
        ("", 0.0),
        ("light", 0.05),
        ("0.1", 0.1),
    }
    assert all(re.fullmatch(r"[^:]+:[a-z]+:[a-z0-9.]*:[a-z]+(:protected)?", id) for id in ids)
    assert all(question.id.endswith(":protected") == question.protected for question in questions)
    for question in questions:
        if question.condition == "clean":
            assert question.text == prepared(question.item.question, question.mitigation)
            assert not question.edits
            assert not question.protected
        if question.protected and question.mitigation == "none":
            assert all(part in question.text for part in question.item.protect)


def test_every_mitigation_sees_the_same_damage() -> None:
    texts: dict[tuple[object, ...], dict[str, str]] = {}
    for question in FEW.questions():
        place = (question.item.id, question.condition, question.level, question.protected)
        texts.setdefault(place, {})[question.mitigation] = question.text
    for by_mitigation in texts.values():
        assert by_mitigation["none"] == by_mitigation["prompt"]
        assert (
            by_mitigation["normalise"]
            == by_mitigation["both"]
            == prepared(by_mitigation["none"], "normalise")
        )


def test_multilingual_questions_are_parallel() -> None:
    questions = MultilingualQuestionnaire(limit=5, languages=("hindi",)).questions()
    assert len(questions) == 5 * 2 * 2  # English is always included
    assert {question.condition for question in questions} == {"english", "hindi"}
    pinned = next(
        question for question in questions if question.condition == "hindi" and question.mitigation == "pin"
    )
    assert pinned.system == system_prompt("multilingual", "pin", pinned.item.target)


def test_the_hash_covers_everything_that_is_sent() -> None:
    sha256 = content_sha256(FEW.questions())
    assert content_sha256(FEW.questions()) == sha256
    for change in ({"seed": 1}, {"limit": 2}, {"levels": ("light", "0.2")}):
        assert content_sha256(FEW.replace(**change).questions()) != sha256


def test_items_without_an_answer_or_with_a_repeated_id_are_mistakes(tmp_path: Path) -> None:
    path = items_file(tmp_path, 2)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{**rows[0], "answers": []}, rows[1], rows[1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(Mistake) as caught:
        MessyQuestionnaire(items=path).questions()
    assert "line 1: answers" in caught.value.problems[0]
    assert "line 3: id 'capital-japan' occurs in line 2, too" in caught.value.problems[1]
