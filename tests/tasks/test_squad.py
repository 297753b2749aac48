"""Questions from SQuAD's form and from tables: what is read, and what is wrong with a file, in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.questions import read_questions
from lowland.tasks.readers.squad import Answers, NoAnswers, read_answers
from lowland.tasks.table import load_data, task_fields
from tests.tasks.questions import as_squad, question_rows, write_squad

CONTEXT = "The bank is led by Anna. Anna is old."


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def problems(path: Path, task: str = "question-answering", **fields: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        load_data(task_fields(task, data=str(path), **fields))
    return caught.value.problems


@pytest.mark.parametrize("version", ["v2.0", "1.1"])
@pytest.mark.parametrize("indent", [None, 2])
def test_squads_form_gives_the_same_as_a_table(tmp_path: Path, version: str, indent: int | None) -> None:
    rows = question_rows()
    form = as_squad(rows, version)
    nested = read_questions(written(tmp_path / "a.json", json.dumps(form, indent=indent)))
    assert list(nested) == ["question", "context", "answers", "title", "searched"]
    assert list(nested["question"]) == [row["question"] for row in rows]
    assert list(nested["title"]) == [row["title"] for row in rows]
    for text, row in zip(nested["answers"], rows, strict=True):
        answers = Answers.from_text(text)
        assert list(answers.texts) == row["answers"]["text"]
        assert list(answers.starts) == row["answers"]["answer_start"]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pd.testing.assert_frame_equal(read_questions(written(tmp_path / "a.jsonl", lines)), nested)
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")  # as the hub's: arrays of texts and places
    pd.testing.assert_frame_equal(read_questions(tmp_path / "a.parquet"), nested)


@pytest.mark.parametrize(
    ("cell", "texts", "starts"),
    [
        (None, [], []),
        (float("nan"), [], []),
        ("", [], []),
        ("[]", [], []),
        ({"text": [], "answer_start": []}, [], []),
        ("Anna", ["Anna"], [19]),
        (" Anna ", ["Anna"], [19]),
        (["Anna", "bank"], ["Anna", "bank"], [19, 4]),
        ([{"text": "Anna", "answer_start": 25}], ["Anna"], [25]),
        ([{"text": "Anna"}], ["Anna"], [19]),
        ({"text": "Anna", "answer_start": 25.0}, ["Anna"], [25]),
        ({"text": ["Anna", "old"], "answer_start": [25, 33]}, ["Anna", "old"], [25, 33]),
        ({"text": np.array(["Anna"], object), "answer_start": np.array([25])}, ["Anna"], [25]),
        ('{"text": ["Anna"], "answer_start": [25]}', ["Anna"], [25]),
    ],
)
def test_forms_of_answers(cell: Any, texts: list[str], starts: list[int]) -> None:
    answers = read_answers(cell, CONTEXT)
    assert (list(answers.texts), list(answers.starts)) == (texts, starts)
    assert Answers.from_text(answers.as_text()) == Answers(answers.texts, answers.starts)


def test_a_text_that_begins_like_json_is_a_text() -> None:
    assert read_answers("[sic] Anna", "by [sic] Anna").starts == (3,)


@pytest.mark.parametrize(
    ("cell", "impossible", "message"),
    [
        (
            [{"text": "Anna", "answer_start": 18}],
            None,
            "the answer 'Anna' is said to begin at character 18 .* ' Ann' stands",
        ),
        ([{"text": "old", "answer_start": -4}], None, "is said to begin at character -4"),
        ([{"text": "old.", "answer_start": 34}], None, "is said to begin at character 34"),
        (["Ben"], None, "the answer 'Ben' does not stand in its context"),
        ("anna", None, "to the letter"),
        (["Anna"], True, "is_impossible is true, but the answer 'Anna' is given"),
        ([], False, "is_impossible is false, but there is no answer"),
        ({"text": ["Anna"], "answer_start": [1, 2]}, None, "answers have 1 texts and 2 places"),
        (7, None, "answers are 7; expected a list of texts"),
        ([7], None, "an answer is 7; it must be text"),
        ([" "], None, "an answer is ' '; it must be text that is not empty"),
        ([{"text": "Anna", "answer_start": "19"}], None, "answer_start is '19'; it must be a whole number"),
        ([{"text": "Anna", "answer_start": True}], None, "answer_start is True"),
    ],
)
def test_answers_that_are_none(cell: Any, impossible: bool | None, message: str) -> None:
    with pytest.raises(NoAnswers, match=message):
        read_answers(cell, CONTEXT, impossible)


def test_an_answer_without_a_place_is_searched_for_where_it_stands_twice() -> None:
    assert read_answers("Anna", CONTEXT).searched
    assert not read_answers("bank", CONTEXT).searched
    assert not read_answers([{"text": "Anna", "answer_start": 25}], CONTEXT).searched


def test_the_place_to_learn_is_that_of_the_most_frequent_answer() -> None:
    texts, starts = ("The bank", " bank ", " bank "), (0, 3, 3)
    assert Answers(texts, starts).place == (4, 8)  # without its spaces
    assert Answers(("Anna", "old"), (19, 33)).place == (19, 23)  # the first of equals
    assert Answers().place is None


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("title", ["a"], "line 2: the title is a list; it must be text, a number, true or false"),
        ("is_impossible", "perhaps", "line 2: is_impossible is 'perhaps'; it must be true or false"),
        ("is_impossible", [1, 2], "line 2: is_impossible is"),
    ],
)
def test_further_columns_are_checked(tmp_path: Path, column: str, cell: Any, message: str) -> None:
    rows = question_rows()
    rows[1][column] = cell
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (sentence,) = problems(written(tmp_path / "a.jsonl", lines))
    assert message in sentence


def test_every_mistake_is_reported_once_with_its_first_place(tmp_path: Path) -> None:
    rows = question_rows()
    rows[0]["answers"]["answer_start"][0] += 1
    rows[3]["answers"]["answer_start"][0] += 2
    rows[4]["answers"] = {"text": ["nobody"], "answer_start": []}
    rows[6]["question"] = " "
    path = written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    empty, place, outside = problems(path)
    assert empty == f"{path} has 1 row without a question, the first is line 7; fill them in or remove them"
    assert place.startswith(f"{path}, line 1: the answer 'Anna' is said to begin at character")
    assert place.endswith("(2 of the kind)")
    assert outside.startswith(f"{path}, line 5: the answer 'nobody' does not stand in its context")
    (sentence,) = problems(write_squad(tmp_path / "a.json", question_rows()[:3] + rows[3:4]))
    assert sentence.startswith(f"{tmp_path / 'a.json'}, question 4: the answer 'Dev' is said to begin at")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": [{"title": "a", "paragraphs": {}}]}, "article 1: it has no list 'paragraphs'"),
        (
            {"data": [{"paragraphs": []}, {"paragraphs": [{"context": "a"}]}]},
            "article 2, paragraph 1: .* list 'qas'",
        ),
        (
            {"data": [{"paragraphs": [{"context": "a", "qas": ["who"]}]}]},
            "article 1, paragraph 1: expected questions",
        ),
        ({"data": [3, {"paragraphs": []}]}, "article 1: it has no list 'paragraphs'"),
        (
            {"data": [{"paragraphs": [{"qas": [{"question": "q", "answers": []}]}]}]},
            "1 row without a context",
        ),
        (
            {"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "q"}]}]}]},
            "unknown answers column",
        ),
        ('{"data": [{"paragraphs": [], "paragraphs": []}]}', "key 'paragraphs' occurs twice"),
        ('{"data": [\n{"paragraphs": [}', "cannot be read as JSON .*line 2"),
        ({"data": [{"paragraphs": []}]}, "holds no questions"),
    ],
)
def test_a_broken_file_in_squads_form(tmp_path: Path, content: Any, message: str) -> None:
    path = written(tmp_path / "a.json", content)
    with pytest.raises(Mistake, match=message) as caught:
        load_data(task_fields("squad-v2", data=str(path)))
    assert len(caught.value.problems) == 1


def test_files_of_other_tasks_are_named(tmp_path: Path) -> None:
    pairs = written(tmp_path / "pairs.jsonl", json.dumps({"premise": "a", "hypothesis": "b", "label": "c"}))
    *_, sentence = problems(pairs)
    assert "read by --task pairs --first-column premise" in sentence
    questions = write_squad(tmp_path / "questions.json")
    for task in ("classification", "pairs"):
        *_, sentence = problems(questions, task)
        assert sentence.endswith("questions about a context, read by --task question-answering")


def test_splits_keep_a_document_together(tmp_path: Path) -> None:
    data = load_data(task_fields("squad-v2", data=str(write_squad(tmp_path / "a.json"))))
    titles = {name: set(split.groups) for name, split in data.splits.items()}
    assert titles["test"] | titles["train"] | titles["validation"] == {
        f"title {number}" for number in range(8)
    }
    assert sum(map(len, titles.values())) == 8
    for split in data.splits.values():
        answerable = [cell != "[]" for cell in split["answers"]]
        assert [name == "answerable" for name in split.categories] == answerable
    other = load_data(task_fields("squad-v2", data=str(tmp_path / "a.json"), split_seed=3))
    assert set(other.splits["test"].groups) != titles["test"]


def test_where_titles_are_few_a_context_is_kept_together(tmp_path: Path) -> None:
    rows = [row | {"question": f"{row['question']} {n}"} for row in question_rows() for n in range(2)]
    for row in rows:
        row["title"] = row["title"] if row["title"] < "title 3" else "title 3"
    data = load_data(task_fields("squad-v2", data=str(write_squad(tmp_path / "a.json", rows))))
    (remark,) = data.remarks
    assert remark.startswith("4 titles are too few to hold some of them out; contexts are held out instead")
    contexts = [set(split["context"]) for split in data.splits.values()]
    assert sum(map(len, contexts)) == len(set().union(*contexts))
    assert all(group.startswith("context ") for split in data.splits.values() for group in split.groups)


def test_columns_with_other_names_and_splits_of_the_users_own(tmp_path: Path) -> None:
    names = {"question": "Frage", "context": "Text", "answers": "Antwort", "title": "Buch"}
    table = pd.DataFrame(question_rows()).rename(columns=names)
    table["Antwort"] = [next(iter(cell["text"]), "") for cell in table["Antwort"]]
    table["part"] = ["test" if number % 4 == 0 else "train" for number in range(len(table))]
    table.to_csv(tmp_path / "a.csv", index=False)
    columns = {"question_column": "Frage", "context_column": "Text", "answers_column": "Antwort"}
    fields = task_fields(
        "question-answering",
        data=str(tmp_path / "a.csv"),
        title_column="Buch",
        split_column="part",
        **columns,
    )
    data = load_data(fields)
    assert len(data.splits["test"]) == len(table) // 4
    assert set(data.splits["train"].groups) | set(data.splits["validation"].groups) <= set(table["Buch"])
    rows = question_rows()
    for split in data.splits.values():
        for number, cell in zip(split.examples, split["answers"], strict=True):
            assert list(Answers.from_text(cell).texts) == rows[number]["answers"]["text"]
    (sentence,) = problems(tmp_path / "a.csv", title_column="Band", **columns)
    assert "unknown title column 'Band'" in sentence
    (sentence,) = problems(tmp_path / "a.csv", **{**columns, "answers_column": "answer"})
    assert "unknown answers column 'answer'" in sentence
    assert "--answers-column" in sentence


def test_a_second_file_is_the_test_set(tmp_path: Path) -> None:
    train, test = (
        write_squad(tmp_path / "train.json"),
        write_squad(tmp_path / "dev.json", question_rows(2, 6)),
    )
    data = load_data(task_fields("squad-v2", data=str(train), test_data=str(test)))
    assert data.source == "train.json + dev.json"
    assert len(data.splits["test"]) == 12
    assert data.dropped == 12  # the same questions about the same contexts


def test_the_hubs_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(repository: str, split: str, **options: Any) -> datasets.Dataset:
        assert repository == "rajpurkar/squad_v2"
        return datasets.Dataset.from_list(question_rows(6 if split == "train" else 2))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_data(task_fields("squad-v2"))
    assert data.source == "hub, rajpurkar/squad_v2"
    assert len(data.splits["test"]) == 2 * 12


def test_without_the_hub_the_file_to_give_is_named() -> None:
    with pytest.raises(Mistake, match=r"rajpurkar/squad_v2 .* --data dev-v2.0.json"):
        load_data(task_fields("squad-v2"))


def test_data_are_needed(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="task question-answering needs a file: --data FILE"):
        load_data(task_fields("question-answering"))


@pytest.mark.data
def test_the_real_file(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("squad_v2/dev-v2.0.json")
    data = load_data(task_fields("squad-v2", data=str(path), test_share=0.25))
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    asked = [(p["context"], q) for a in articles for p in a["paragraphs"] for q in p["qas"]]
    splits = data.splits.values()
    assert sum(map(len, splits)) == len(asked) == 6078
    assert {name: len(set(split.groups)) for name, split in data.splits.items()} == {
        "train": 10, "validation": 2, "test": 4,
    }  # fmt: skip
    assert sum(split.categories.count("unanswerable") for split in splits) == 3168
    for split in splits:
        for number, context, cell in zip(split.examples, split["context"], split["answers"], strict=True):
            answers = Answers.from_text(cell)
            assert (context, list(answers.texts)) == (
                asked[number][0],
                [answer["text"] for answer in asked[number][1]["answers"]],
            )
            for text, start in zip(answers.texts, answers.starts, strict=True):
                assert context[start : start + len(text)] == text
