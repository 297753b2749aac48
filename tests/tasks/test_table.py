"""The table of tasks, and where each one's data comes from."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.study.recipe import Recipe
from lowland.tasks.examples import TaskData
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.conftest import table_of


def load(task: str, **fields: Any) -> TaskData:
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    return load_data(task_fields(task, **texts))


def write(table: pd.DataFrame, path: Path) -> Path:
    """Write the table in the format of the file's ending, with numbers as that format has them."""
    columns = [str(name) for name in table.columns]
    rows = table.to_numpy().tolist()
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t").writerows([columns, *rows])
    return path


def sms_file(path: Path, start: str = "") -> Path:
    rows = [f"{label}\t{start}{label} text {i}\n" for label in ("ham", "spam") for i in range(20)]
    path.write_text("".join(rows))
    return path


def test_the_tasks_are_those_of_the_issue():
    assert set(TASKS) == {
        "financial-demo", "financial-phrasebank", "sms-spam", "sms-spam-balanced", "classification", "sst2", "cola",
        "mrpc", "rte", "pairs", "squad-v2", "question-answering", "repeat", "text-to-text", "instruction",
        "short-answers", "image-classification",
    }  # fmt: skip
    assert Recipe().task.name in TASKS
    assert all(task.summary and "\n" not in task.summary for task in TASKS.values())
    assert all(name == task.name for name, task in TASKS.items())


def test_the_demo_comes_with_the_package():
    data = load("financial-demo")
    assert data.task == "financial-demo"
    assert data.label_names == ("negative", "neutral", "positive")
    assert set(data.splits) == {"train", "validation", "test", "shifted"}
    assert data.test_sets == ("test", "shifted")
    assert all(data.splits["test"].categories)
    assert "lowland" in data.source


def test_the_demo_does_not_depend_on_the_split_seed():
    assert load("financial-demo", split_seed=7).sha256 == load("financial-demo").sha256


@pytest.mark.parametrize("options", [{"data": "my.csv"}, {"test_data": "my.csv"}])
def test_the_demo_takes_no_file(options):
    with pytest.raises(Mistake, match=r"financial-demo brings its own data .* --task classification"):
        load("financial-demo", **options)


def test_a_table_is_the_same_data_in_every_form(tmp_path):
    """Numeric labels too: a text in .csv, a number in .jsonl and .parquet."""
    table = table_of()
    table["label"] = (table["label"] == "good").astype(int)
    loaded = [
        load("classification", data=write(table, tmp_path / f"data{form}"))
        for form in (".csv", ".tsv", ".jsonl", ".parquet")
    ]
    assert len({data.sha256 for data in loaded}) == 1
    assert loaded[0].label_names == ("0", "1")
    assert [data.source for data in loaded] == ["data.csv", "data.tsv", "data.jsonl", "data.parquet"]


def test_a_task_of_the_users_needs_a_file():
    with pytest.raises(Mistake, match="task classification needs a file: --data FILE"):
        load("classification")


@pytest.mark.parametrize("name", ["classification", "sms-spam", "financial-phrasebank"])
def test_test_data_without_data_is_reported(name):
    with pytest.raises(Mistake, match="test_data is given without data"):
        load(name, test_data="test.csv")


def test_a_test_file_and_a_split_column_cannot_both_be(tmp_path):
    path = write(table_of().assign(split="train"), tmp_path / "a.csv")
    with pytest.raises(Mistake, match="test_data and split_column both say"):
        load("classification", data=path, test_data=path, split_column="split")


def test_a_test_file_is_the_test_set(tmp_path):
    train = write(table_of(), tmp_path / "train.csv")
    test = write(table_of(2).assign(text=lambda t: "later " + t["text"]), tmp_path / "test.jsonl")
    data = load("classification", data=train, test_data=test)
    assert list(data.splits["test"]["text"]) == ["later " + text for text in table_of(2)["text"]]
    assert len(data.splits["train"]) + len(data.splits["validation"]) == len(table_of())
    assert data.dropped == 0
    assert data.source == "train.csv + test.jsonl"


def test_a_training_text_that_leaks_into_the_test_file_is_dropped_from_training(tmp_path):
    train = write(table_of(), tmp_path / "train.csv")
    leaks = table_of()[::9]
    test = write(
        leaks.assign(text="  " + leaks["text"].str.upper().str.replace(" ", "  ")), tmp_path / "test.csv"
    )
    data = load("classification", data=train, test_data=test)
    assert len(data.splits["test"]) == data.dropped == len(leaks)
    remaining = {*data.splits["train"]["text"], *data.splits["validation"]["text"]}
    assert remaining == set(table_of()["text"]) - set(leaks["text"])


def test_a_test_label_missing_from_training_is_reported(tmp_path):
    train = write(table_of(), tmp_path / "train.csv")
    test = write(pd.DataFrame({"text": ["x", "y"], "label": ["good", "so-so"]}), tmp_path / "test.csv")
    with pytest.raises(Mistake, match=r"train\.csv \+ test\.csv: label 'so-so' is in the split 'test'"):
        load("classification", data=train, test_data=test)


def test_a_test_file_that_is_the_training_file_is_a_sentence(tmp_path):
    path = write(table_of(), tmp_path / "a.csv")
    with pytest.raises(Mistake, match="data and test_data are the same file"):
        load("classification", data=path, test_data=path)


@pytest.mark.parametrize("lost", ["data", "test_data"])
def test_a_missing_file_is_reported_by_its_name(tmp_path, lost):
    path = write(table_of(), tmp_path / "a.csv")
    options = {"data": path, "test_data": path, lost: tmp_path / "lost.csv"}
    with pytest.raises(Mistake, match=r"lost\.csv does not exist"):
        load("classification", **options)


def test_the_split_column_says_which_row_is_where(tmp_path):
    table = table_of()
    table["part"] = ["train", "test", "train", "dev"] * (len(table) // 4)
    data = load("classification", data=write(table, tmp_path / "a.csv"), split_column="part")
    for name, written in (("train", "train"), ("validation", "dev"), ("test", "test")):
        assert list(data.splits[name].examples) == table.index[table["part"] == written].tolist()


def test_a_column_named_split_decides_only_if_it_is_chosen(tmp_path):
    table = table_of()
    path = write(table.assign(split="train"), tmp_path / "a.csv")
    plain = write(table, tmp_path / "b.csv")
    first, second = (load("classification", data=source) for source in (path, plain))
    assert first.sha256 == second.sha256


def test_an_original_file_is_read_by_its_tasks_reader_and_may_have_a_test_file(tmp_path):
    whole = load("sms-spam", data=sms_file(tmp_path / "SMSSpamCollection"))
    assert whole.label_names == ("ham", "spam")
    assert sum(len(part) for part in whole.splits.values()) == 40
    test = sms_file(tmp_path / "later", start="later ")
    both = load("sms-spam", data=tmp_path / "SMSSpamCollection", test_data=test)
    assert len(both.splits["test"]) == 40


def test_without_a_file_phrasebank_comes_from_the_hub_split_as_the_original(tmp_path, monkeypatch):
    lines = [
        f"{label} text {i}@{label}\r\n" for label in ("positive", "neutral", "negative") for i in range(12)
    ]
    path = tmp_path / "Sentences_50Agree.txt"
    path.write_bytes("".join(lines).encode("iso-8859-1"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(path, "FinancialPhraseBank-v1.0/Sentences_50Agree.txt")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(tmp_path / "a.zip"))
    fetched = load("financial-phrasebank")
    read = load("financial-phrasebank", data=path)
    assert fetched.sha256 == read.sha256
    assert "hub" in fetched.source
    assert read.source == "Sentences_50Agree.txt"


@pytest.mark.parametrize(
    ("name", "original"),
    [("financial-phrasebank", "Sentences_50Agree.txt"), ("sms-spam", "SMSSpamCollection")],
)
def test_a_hub_that_cannot_be_had_is_a_sentence_that_names_the_original_file(
    tmp_path, monkeypatch, name, original
):
    """With the real libraries, offline and with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(Mistake, match=f"task {name} cannot be loaded from the hub.*--data {original}$"):
        load(name)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "labels"),
    [
        (
            "financial-phrasebank",
            "financial_phrasebank/Sentences_50Agree.txt",
            ("negative", "neutral", "positive"),
        ),
        ("sms-spam", "sms_spam/SMSSpamCollection", ("ham", "spam")),
    ],
)
def test_the_original_files_load(shared_data, name, file, labels):
    data = load(name, data=shared_data(file))
    assert data.label_names == labels
    total = sum(len(part) for part in data.splits.values())
    assert len(data.splits["test"]) / total == pytest.approx(0.2, abs=0.01)
    assert len(data.splits["validation"]) / total == pytest.approx(0.1, abs=0.01)
