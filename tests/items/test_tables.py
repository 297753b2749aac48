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
from lowland.cli.main import main
from lowland.items import messy_items
from lowland.items.messy import MessyRow
from lowland.stress.questions.questionnaire import MessyQuestionnaire

DOCS = Path(__file__).parents[2] / "docs" / "stress.md"
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


HEADER = "id,kind,question,answers\n"


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["holds no items"]),
        (HEADER, ["holds no items"]),
        ("id,kind,question\n", ["line 1: the column 'answers' is missing"]),
        ("\n\nid,kind\n", ["line 3: the columns 'question', 'answers' are missing"]),
        (
            "id,Kind,qestion,answer,notes\na,word,b,c,d\n",
            [
                "line 1: the column 'kind' is missing; rename 'Kind'",
                "line 1: the column 'question' is missing; rename 'qestion'",
                "line 1: the column 'answers' is missing; rename 'answer'",
                "line 1: unknown column 'notes'",
            ],
        ),
        ("id,id,kind,question,answers\n", ["the column 'id' is there twice"]),
        (
            HEADER + 'a,word,"b\nb",\n\nc,wrd,d,e,f\nd,wrd,d,e\na,word,f,g\ne\nf,word,"g,h\n',
            [
                "line 2: answers",
                "line 5: 5 cells, and the header has 4",
                "line 6: unknown kind 'wrd'; did you mean 'word'?",
                "line 7: id 'a' occurs in line 2",
                "line 8: kind",
                "line 8: question",
                "line 8: answers",
                "line 9: cannot be read as a table",
            ],
        ),
    ],
)
def test_all_mistakes_are_named_with_their_lines(content: str, problems: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", content)
    with pytest.raises(Mistake) as caught:
        messy_items(path)
    assert len(caught.value.problems) == len(problems), caught.value.problems
    for problem, expected in zip(caught.value.problems, problems, strict=True):
        assert expected in problem
        assert str(path) in problem


def test_the_examples_of_the_docs_are_the_same_items(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(id,kind.*?)```", text, re.DOTALL)
    (lines,) = re.findall(r'```json\n({"id": "capital-peru".*?)```', text, re.DOTALL)
    assert messy_items(write(tmp_path / "a.csv", table)) == messy_items(write(tmp_path / "a.jsonl", lines))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_recognised_by_the_header(separator: str, tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", f"{HEADER}a,word,b c,d|e\n".replace(",", separator))
    (item,) = messy_items(path)
    assert (item.question, item.answers) == ("b c", ("d", "e"))


def test_the_separator_is_that_of_the_header_alone(tmp_path: Path) -> None:
    (item,) = messy_items(write(tmp_path / "items.csv", HEADER + "a,word,b;c;d;e;f,g;h\n"))
    assert (item.question, item.answers) == ("b;c;d;e;f", ("g;h",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.txt", HEADER + "a,word,b,c\n", "holds a table; let its name end in .csv or .tsv"),
        ("items.jsonl", HEADER + "a,word,b,c\n", "holds a table; let its name end in .csv or .tsv"),
        ("items.csv", '{"id": "a", "kind": "word", "question": "b", "answers": ["c"]}\n', "holds JSON"),
        ("items.xlsx", "PK\x03\x04", "is a spreadsheet or an archive; save it as text, such as .csv"),
    ],
)
def test_a_file_under_another_name_is_one_sentence(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Mistake, match=re.escape(message)) as caught:
        messy_items(write(tmp_path / name, content))
    assert len(caught.value.problems) == 1


def test_the_columns_are_named_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["stress", "messy", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    (about,) = re.findall(r"--items ITEMS (.*?) --mitigations MITIGATION \[", text)
    assert [name for name in MessyRow.model_fields if name not in about] == []
    assert "|" in about
