"""A file with the columns of another task is named as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland import Mistake
from lowland.tasks.readers.originals import read_original_table
from lowland.tasks.readers.other_tasks import KINDS, ORIGINALS, hint_at_original, task_that_fits
from lowland.tasks.readers.tables import read_table
from lowland.tasks.table import TASKS

TEXT, PAIR = ("text", "label"), ("first", "second", "label")
SOURCE, PROMPT = ("source", "target"), ("prompt", "completion")


@pytest.mark.parametrize(
    ("columns", "roles", "expected"),
    [
        (
            ["sentence1", "sentence2", "label"],
            TEXT,
            "--task pairs --first-column sentence1 --second-column sentence2",
        ),
        (["Premise", "Hypothesis"], TEXT, "--task pairs --first-column Premise --second-column Hypothesis"),
        (["text", "label"], PAIR, "single texts, read by --task classification"),
        (["sentence", "label"], PAIR, "--task classification --text-column sentence"),
        (["messages"], TEXT, "chats, read by --task instruction"),
        (["id", "Messages"], PAIR, "chats, read by --task instruction"),
        (["Conversations"], SOURCE, "chats, read by --task instruction"),
        (["prompt", "completion"], TEXT, "prompts with completions, read by --task instruction"),
        (["prompt", "completion"], SOURCE, "prompts with completions, read by --task instruction"),
        (["prompt", "chosen", "rejected"], TEXT, "preferences, read by no task of lowland yet"),
        (["source", "target"], TEXT, "texts with the texts to write, read by --task text-to-text"),
        (["source", "target"], PROMPT, "texts with the texts to write, read by --task text-to-text"),
        (["text", "label"], SOURCE, "single texts, read by --task classification"),
        (
            ["sentence1", "sentence2"],
            PROMPT,
            "--task pairs --first-column sentence1 --second-column sentence2",
        ),
        (
            ["Instruction", "Output"],
            TEXT,
            "instructions with replies, read by --task instruction",
        ),
        (
            ["instruction", "input", "output"],
            SOURCE,
            "instructions with replies, read by --task instruction",
        ),
        (["id", "context", "question", "answers"], TEXT, "questions about a context"),
        (["gj04", "1", "", "It is so."], TEXT, "looks like a file of CoLA, read by --task cola"),
        (["gj04", "0", "*", "It are so."], PAIR, "looks like a file of CoLA, read by --task cola"),
    ],
)
def test_the_task_that_fits(columns: list[str], roles: tuple[str, ...], expected: str) -> None:
    assert expected in str(task_that_fits(columns, roles))


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        (["text", "label"], TEXT),
        (["first", "second"], PAIR),
        (["sentence1", "sentence2"], PAIR),
        (["a", "b"], TEXT),
        (["source", "target"], SOURCE),
        (["instruction", "output"], PROMPT),
        (["messages"], PROMPT),
    ],
)
def test_no_other_task_is_named_where_the_task_fits_or_none_is_known(
    columns: list[str], roles: tuple[str, ...]
) -> None:
    assert task_that_fits(columns, roles) is None


def test_the_tasks_that_are_named_exist() -> None:
    named = {kind.options.split()[1] for kind in KINDS if kind.options}
    assert named | ORIGINALS.keys() <= TASKS.keys()


@pytest.mark.data
@pytest.mark.parametrize(
    ("task", "file"),
    [
        ("mrpc", "glue/mrpc/msr_paraphrase_test.txt"),
        ("rte", "glue/rte/dev.tsv"),
        ("sst2", "glue/sst2/dev.tsv"),
        ("sms-spam", "sms_spam/SMSSpamCollection"),
        ("financial-phrasebank", "financial_phrasebank/Sentences_50Agree.txt"),
    ],
)
def test_the_original_files_are_recognised(shared_data: Callable[[str], Path], task: str, file: str) -> None:
    line = shared_data(file).read_text("latin-1" if "phrasebank" in file else "utf-8").partition("\n")[0]
    assert hint_at_original(line).endswith(f", read by --task {task}")


@pytest.mark.parametrize(
    "line", ["", "text,label", "a\tb", "gj04\t1\tno mark\tIt is so.", "me@home", "hamlet\tspam"]
)
def test_other_lines_are_not_recognised(line: str) -> None:
    assert hint_at_original(line) == ""


@pytest.mark.parametrize("label", ["label", "class"])
def test_a_file_of_another_task_is_one_sentence(tmp_path: Path, label: str) -> None:
    path = tmp_path / "pairs.csv"
    pd.DataFrame({"sentence1": ["a"], "sentence2": ["b"], "label": ["x"]}).to_csv(path, index=False)
    with pytest.raises(Mistake) as caught:
        read_table(path, {"text": "text", "label": label})
    (problem,) = caught.value.problems
    assert "has no column 'text'; its columns are those of sentence pairs" in problem
    assert problem.endswith("read by --task pairs --first-column sentence1 --second-column sentence2")


def test_a_file_that_lacks_a_column_of_the_right_task_gets_no_hint(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    pd.DataFrame({"sentence1": ["a"], "sentence2": ["b"], "label": ["x"]}).to_csv(path, index=False)
    with pytest.raises(Mistake) as caught:
        read_table(path, {"text": "sentence1", "label": "class"})
    assert "--task" not in str(caught.value)
    assert "name it with --label-column" in str(caught.value)


def test_a_file_in_another_encoding_is_named_by_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes("Müller sold it .@neutral\n".encode("iso-8859-1"))
    with pytest.raises(Mistake) as caught:
        read_table(path, {"text": "text", "label": "label"})
    assert "it looks like a file of Financial PhraseBank, read by --task financial-phrasebank" in str(
        caught.value
    )


def test_a_users_own_table_is_no_original_file_and_its_task_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('"text",label\nfine,good\n')
    with pytest.raises(Mistake) as caught:
        read_original_table(path, {"first": "#1 String", "second": "#2 String"}, "MRPC")
    assert "its columns are those of single texts, read by --task classification" in str(caught.value)


def test_a_file_with_an_unknown_ending_is_named_by_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "SMSSpamCollection"
    path.write_text("ham\thello\n")
    with pytest.raises(Mistake) as caught:
        read_table(path, {"text": "text", "label": "label"})
    assert "it looks like a file of the SMS Spam Collection, read by --task sms-spam" in str(caught.value)
