"""Items in .csv and .tsv files: read as the same items in JSON lines are, and refused with every mistake's line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland import Mistake
from lowland.stress.questions.items import messy_items
from lowland.stress.questions.questionnaire import MessyQuestionnaire

DOCS = Path(__file__).parents[3] / "docs" / "stress.md"
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="|"), min_size=1).map(
    str.strip
)
TEXTS = CELLS.filter(bool)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_the_example_of_the_docs_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```csv\n(id,kind.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = write(tmp_path / "questions.csv", example)
    peru, chess = messy_items(path)
    assert (peru.id, peru.answers, peru.protect, peru.topic) == (
        "capital-peru",
        ("Lima",),
        ("Peru",),
        "general",
    )
    assert (chess.kind, chess.answers, chess.protect) == ("number", ("16", "sixteen"), ())
    questions = MessyQuestionnaire(items=path, levels="light").questions()
    assert {question.item.id for question in questions} == {"capital-peru", "chess-pieces"}


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, min_size=1)), min_size=1, max_size=4))
def test_a_table_is_read_as_json_lines_are(
    rows: list[tuple[str, str, list[str]]], ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("items")
    table, lines = folder / f"items.{ending}", folder / "items.jsonl"
    values = [
        {"id": str(number), "kind": "word", "topic": topic, "question": question, "answers": answers}
        for number, (topic, question, answers) in enumerate(rows)
    ]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(values[0]), delimiter="," if ending == "csv" else "\t")
        writer.writeheader()
        writer.writerows({**row, "answers": " | ".join(row["answers"])} for row in values)
    write(lines, "".join(json.dumps(row) + "\n" for row in values))
    assert messy_items(table) == messy_items(lines)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["the columns id, kind, question, answers are missing"]),
        ("id,kind,question\n", ["line 1: the columns answers are missing"]),
        (
            "id,kind,qestion,answers\na,word,b,c\n",
            ["unknown column 'qestion'; did you mean 'question'?", "the columns question are missing"],
        ),
        ("id,kind,question,answers\n", ["holds no items"]),
        ("id,id,kind,question,answers\n", ["column 'id' is there twice"]),
        ("id,kind,question,answers\na,word,b,c,d\n", ["line 2: 5 cells, and the header has 4"]),
        (
            'id,kind,question,answers\na,word,"b\nb",\nc,wrd,d,e\na,word,f,g\n',
            [
                "line 2: answers",
                "line 4: unknown kind 'wrd'; did you mean 'word'?",
                "line 5: id 'a' occurs in line 2",
            ],
        ),
        ('id,kind,question,answers\na,word,"b,c\n', ["line 2: cannot be read as a table"]),
    ],
)
def test_mistakes_are_named_with_their_lines(content: str, problems: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", content)
    with pytest.raises(Mistake) as caught:
        messy_items(path)
    assert len(caught.value.problems) == len(problems)
    for problem, expected in zip(caught.value.problems, problems, strict=True):
        assert expected in problem
        assert str(path) in problem
