"""Items: the packaged ones are complete; a user's are read, or refused with one sentence for each problem."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.items import (
    ITEMS_FOLDER,
    KINDS,
    Item,
    content_hash,
    facts,
    languages,
    messy_items,
    multilingual_items,
)
from lowland.replies.answers import match, normalise

GOOD: dict[str, Any] = {
    "id": "france",
    "topic": "geography",
    "kind": "name",
    "question": "What is the capital of France?",
    "answers": ["Paris"],
    "protect": ["France"],
}
SPOKEN: dict[str, Any] = {
    "condition": "english",
    "name": "English",
    "target": "English",
    "accepts": ["english"],
    "profile": {"label": "english", "script": "Latin", "function_words": ["the", "is"]},
    "questions": {"france": "What is the capital of France?"},
}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def folder_of(
    tmp_path: Path, *spoken: dict[str, Any], rows: tuple[dict[str, Any], ...] | None = None
) -> Path:
    (tmp_path / "languages").mkdir()
    for language in spoken:
        path = tmp_path / "languages" / f"{language['condition']}.json"
        path.write_text(json.dumps(language), "utf-8")
    own = {key: GOOD[key] for key in ("id", "topic", "kind", "answers")}
    lines(tmp_path / "multilingual.jsonl", *((own,) if rows is None else rows))
    return tmp_path


def problems_of(call: Any, *arguments: object) -> list[str]:
    with pytest.raises(Mistake) as caught:
        call(*arguments)
    return list(caught.value.problems)


def test_the_package_has_enough_items_of_each_sort() -> None:
    messy, spoken = messy_items(), multilingual_items()
    assert len(messy) >= 100
    assert {"geography", "science", "history", "arithmetic"} <= {item.topic for item in messy}
    assert {item.kind for item in messy} <= set(KINDS)
    by_condition = Counter(item.condition for item in spoken)
    assert set(by_condition) >= {"english", "hindi", "hinglish", "code-switched"}
    assert min(by_condition.values()) == max(by_condition.values()) >= 60
    assert next(iter(languages())) == "english"
    assert len(facts()) >= 300


def test_no_clean_question_occurs_twice_or_gives_its_answer_away() -> None:
    for items in (messy_items(), multilingual_items()):
        counts = Counter((item.condition, item.question) for item in items)
        assert [text for text, count in counts.items() if count > 1] == []
        given_away = [
            item.id
            for item in items
            for answer in item.answers
            if item.kind not in ("number", "year")  # 81 divided by nine is nine
            and normalise(answer)
            and f" {normalise(answer)} " in f" {normalise(item.question)} "
        ]
        assert given_away == []


@pytest.mark.parametrize("items", [messy_items(), multilingual_items()], ids=["messy", "multilingual"])
def test_every_alias_is_right_by_itself_and_no_literal_translation_is(items: list[Item]) -> None:
    for item in items:
        unmatched = [
            alias for alias in item.answers if not match(alias, item.answers, item.kind, item.question).right
        ]
        assert unmatched == [], item.id
        forgiven = [
            literal
            for literal in item.literal
            if match(literal, item.answers, item.kind, item.question).right
        ]
        assert forgiven == [], (item.id, item.condition)


def test_numbers_are_read_from_the_answers_of_number_items() -> None:
    """Each alias is also found in a sentence, which shows that its number or its words were read."""
    for item in messy_items():
        if item.kind in ("number", "year"):
            for alias in item.answers:
                assert match(f"Well, the answer is {alias}.", item.answers, item.kind).right, (item.id, alias)


def test_a_language_joins_items_and_questions(tmp_path: Path) -> None:
    spoken = SPOKEN | {"answers": {"france": ["Lutetia", "Paris"]}}
    (item,) = multilingual_items(folder_of(tmp_path, spoken))
    assert item == Item(
        "france",
        "geography",
        "name",
        SPOKEN["questions"]["france"],
        ("Paris", "Lutetia"),
        (),
        "english",
        "English",
    )


def test_a_folder_without_items_uses_the_packages_items(tmp_path: Path) -> None:
    english = json.loads((ITEMS_FOLDER / "languages" / "english.json").read_text("utf-8"))
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "tamil.json").write_text(json.dumps(english | {"condition": "tamil"}), "utf-8")
    items = multilingual_items(tmp_path)
    assert {item.condition for item in items} == {"tamil"}
    assert [item.id for item in items] == [
        item.id for item in multilingual_items() if item.condition == "english"
    ]


def test_a_users_file_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert messy_items(path) == [
        Item("france", "geography", "name", GOOD["question"], ("Paris",), ("France",), "clean", "English")
    ]


def test_all_mistakes_of_a_file_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    without = {key: value for key, value in GOOD.items() if key != "question"}
    path = lines(
        tmp_path / "own.jsonl",
        GOOD,
        GOOD | {"id": "peru", "answers": []},
        "{not json",
        GOOD,
        "",
        without | {"id": "chile", "anwers": ["Santiago"]},
        GOOD | {"id": "italy", "kind": "nam"},
        GOOD | {"id": "spain", "protect": ["Spain"]},
        '{"id": "a", "id": "b"}',
        ["a list"],
    )
    problems = problems_of(messy_items, path)
    for number, message in (
        (2, "an item without gold cannot be scored"),
        (3, "cannot be read as JSON"),
        (4, "id 'france' occurs in line 1, too"),
        (6, "question is missing"),
        (6, "unknown field 'anwers'; did you mean 'answers'?"),
        (7, "unknown kind 'nam'; did you mean 'name'? Allowed: name, number, year, word, phrase"),
        (8, "protect 'Spain' does not occur in the question"),
        (9, "key 'id' occurs twice"),
        (10, "expected an object with id, kind, question, answers"),
    ):
        assert any(
            problem.startswith(f"{path}, line {number}: ") and message in problem for problem in problems
        ), message
    assert len(problems) == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist; name a file"),
        (lambda path: path.mkdir(), "is a folder; name a file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not UTF-8 (byte 0)"),
        (lambda path: path.write_text("\n \n"), "holds no items"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "own.jsonl"
    make(path)
    (problem,) = problems_of(messy_items, path)
    assert message in problem


def test_languages_that_cannot_be_used(tmp_path: Path) -> None:
    hindi = SPOKEN | {"condition": "hindi", "accepts": ["hindi"], "questions": {"frnce": "?"}}
    problems = problems_of(multilingual_items, folder_of(tmp_path, SPOKEN, hindi))
    assert any("accepts: unknown label 'hindi'" in problem for problem in problems)
    (tmp_path / "languages" / "hindi.json").write_text(json.dumps(hindi | {"accepts": ["english"]}), "utf-8")
    problems = problems_of(multilingual_items, tmp_path)
    assert any("language 'hindi' lacks 1 of 1 questions (france)" in problem for problem in problems)
    assert any("unknown id 'frnce'; did you mean 'france'?" in problem for problem in problems)
    (tmp_path / "languages" / "hindi.json").write_text('{\n "condition": \n}', "utf-8")
    (problem,) = problems_of(languages, tmp_path)
    assert "hindi.json, line 3: cannot be read as JSON" in problem
    for profile, message in (
        ("Latin", "profile is 'Latin'; it must be null, or an object with label, script and function_words"),
        ({"label": "x", "function_words": ["a"]}, "profile: script is missing"),
        (
            {"label": "x", "script": "Latin", "function_words": []},
            "profile: function_words is []; it must be",
        ),
        ({"label": "", "script": "Latin", "function_words": ["a"]}, "profile: label is ''; it must be text"),
    ):
        (tmp_path / "languages" / "hindi.json").write_text(json.dumps(hindi | {"profile": profile}), "utf-8")
        assert any(f"hindi.json: {message}" in problem for problem in problems_of(languages, tmp_path)), (
            message
        )
    (tmp_path / "languages" / "hindi.json").write_text(json.dumps(SPOKEN), "utf-8")
    assert any(
        "condition 'english' is also that of english.json" in problem
        for problem in problems_of(languages, tmp_path)
    )


def test_a_folder_without_languages(tmp_path: Path) -> None:
    (problem,) = problems_of(languages, tmp_path)
    assert "holds no language" in problem


def test_the_hash_depends_on_every_field_and_on_nothing_else() -> None:
    items = messy_items()
    assert content_hash(items) == content_hash(list(messy_items()))
    changed = [
        [replace(items[0], question=items[0].question + " ")],
        [replace(items[0], answers=(*items[0].answers, "x"))],
        [replace(items[0], protect=())],
        [replace(items[0], condition="typos")],
        [],
    ]
    hashes = {content_hash([*start, *items[1:]]) for start in [[items[0]], *changed]}
    assert len(hashes) == 6
    assert content_hash(items) != content_hash(items[::-1])


def test_of_many_problems_the_first_have_a_sentence_each(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"messages": 1}\n' * 30)
    with pytest.raises(Mistake) as raised:
        messy_items(path)
    problems = raised.value.problems
    assert len(problems) == 11
    assert problems[-1] == f"{path} has {30 * 5 - 10} further problems; mend these first"
