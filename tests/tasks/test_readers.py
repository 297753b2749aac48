"""Texts and labels from files as their authors distribute them, and from users' own files."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.models import hub
from lowland.tasks.readers import originals
from lowland.tasks.readers.originals import (
    phrasebank_from_hub,
    read_embedded,
    read_phrasebank,
    read_sms,
    sms_from_hub,
)
from lowland.tasks.readers.tables import read_columns, read_table

Rows = list[tuple[str, str]]
ROWS: Rows = [
    ("Sales rose, by 5 %", "1"),
    ('He said "buy"', "0"),
    ("Nokia’s loss – €3m", "1"),
    ("NA", "null"),
]


def read(path: Path, text: str = "text", label: str = "label", split: str | None = None) -> pd.DataFrame:
    return read_table(path, {"text": text, "label": label, "split": split})


def rows_of(table: pd.DataFrame) -> Rows:
    return [(str(text), str(label)) for text, label in zip(table["text"], table["label"], strict=True)]


def file_of(folder: Path, form: str, rows: Rows = ROWS, encoding: str = "utf-8") -> Path:
    """The rows in a file of the form, written without pandas' text writers."""
    path = folder / f"data{form}"
    if form == ".parquet":
        pd.DataFrame(rows, columns=["text", "label"]).to_parquet(path)
    elif form == ".jsonl":
        lines = [json.dumps({"label": label, "text": text}, ensure_ascii=False) for text, label in rows]
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
    elif form == ".tsv":
        path.write_text(
            "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]), encoding=encoding
        )
    else:
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return path


# Users' own files


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_is_read_as_it_is(tmp_path, form):
    """Commas, quotes, letters beyond ASCII, and words that some readers take for missing values."""
    assert rows_of(read(file_of(tmp_path, form))) == ROWS


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_ending_may_be_in_capitals(tmp_path, form):
    path = file_of(tmp_path, form)
    loud = path.rename(path.with_suffix(form.upper()))
    assert rows_of(read(loud)) == ROWS


@pytest.mark.parametrize("form", [".csv", ".tsv"])
def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path, form):
    path = file_of(tmp_path, form, encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert rows_of(read(path)) == ROWS


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl"])
def test_crlf_ends_a_line_and_is_not_part_of_a_label(tmp_path, form):
    path = file_of(tmp_path, form)
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert rows_of(read(path)) == ROWS


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\t\0", exclude_categories=["Cs", "Cc"]), min_size=1
).filter(lambda word: word.strip() and word != "label")


@given(rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=40)
def test_tables_written_by_the_csv_module_are_read_unchanged(tmp_path_factory, rows):
    path = file_of(tmp_path_factory.mktemp("csv"), ".csv", rows)
    assert rows_of(read(path)) == rows


def test_a_quoted_cell_may_hold_lines(tmp_path):
    rows = [("first\nsecond", "a"), ("x", "b")]
    assert rows_of(read(file_of(tmp_path, ".csv", rows))) == rows


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('"text"\t"label"\n"a b"\tx\n', 1),
        ('text\tlabel\na\tx\n"say ""hi"" now"\ty\n', 3),
    ],
)
def test_a_tsv_in_the_quotes_of_a_csv_is_refused_by_its_line(content, line, tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text(content)
    with pytest.raises(
        Mistake, match=rf"line {line}: cells are in quotes, which are letters in a \.tsv file"
    ):
        read_table(path, {"text": "text", "label": "label"})
    (tmp_path / "data.csv").write_text(content)
    table = read_table(tmp_path / "data.csv", {"text": "text", "label": "label"})
    assert table["text"].iloc[-1] in ("a b", 'say "hi" now')


def test_quotes_mean_nothing_in_a_tsv(tmp_path):
    rows = [('"he said', "a"), ('she"s', "b"), ('"', "a")]
    assert rows_of(read(file_of(tmp_path, ".tsv", rows))) == rows


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_texts_that_look_like_numbers_stay_as_they_are_spelled(tmp_path, form):
    rows = [("007", "01"), ("1e3", "1.0"), ("20200102", "1")]
    assert rows_of(read(file_of(tmp_path, form, rows))) == rows


def test_numbers_and_truths_in_jsonl_and_parquet_are_labels_too(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "007", "label": 1}\n\n{"text": "2020-01-02", "label": 0}\n')
    assert rows_of(read(path)) == [("007", "1"), ("2020-01-02", "0")]
    pd.DataFrame({"text": ["007", "8"], "label": [True, False]}).to_parquet(tmp_path / "a.parquet")
    assert rows_of(read(tmp_path / "a.parquet")) == [("007", "True"), ("8", "False")]


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_columns_may_have_any_name_and_others_are_left_aside(tmp_path, form):
    frame = pd.DataFrame({"id": [1, 2], "Satz": ["x", "y"], "Klasse": ["a", "b"], "Teil": ["train", "test"]})
    path = tmp_path / f"data{form}"
    if form == ".parquet":
        frame.to_parquet(path)
    elif form == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="," if form == ".csv" else "\t", index=False)
    table = read(path, text="Satz", label="Klasse", split="Teil")
    assert rows_of(table) == [("x", "a"), ("y", "b")]
    assert list(table["split"]) == ["train", "test"]
    assert set(table.columns) == {"text", "label", "split"}
    assert read_columns(path, {"text": "Satz"})["text"] == ["x", "y"]


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_missing_column_is_reported_with_the_nearest_match(tmp_path, form):
    frame = pd.DataFrame({"sentence": ["x", "y"], "labels": ["a", "b"]})
    path = tmp_path / f"data{form}"
    if form == ".parquet":
        frame.to_parquet(path)
    elif form == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="," if form == ".csv" else "\t", index=False)
    with pytest.raises(Mistake) as caught:
        read(path, text="sentences", split="xyz")
    text, label, split = caught.value.problems
    assert "text column 'sentences'; did you mean 'sentence'?" in text
    assert "label column 'label'; did you mean 'labels'?" in label
    assert "split column 'xyz'" in split
    assert all(str(path) in problem and "sentence, labels" in problem for problem in (text, label, split))


def test_a_row_with_too_many_fields_is_reported_by_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nSales fell,bad\nSales rose, by 5 %,good\n")
    with pytest.raises(Mistake, match=rf"{path}, line 3: 3 fields"):
        read(path)


def test_an_unclosed_quote_is_reported(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"Sales rose,good\nSales fell,bad\n')
    with pytest.raises(Mistake, match=rf"{path}, line 2: a cell begins with a quotation mark"):
        read(path)


@pytest.mark.parametrize("line", ['{"text": "x", "label": ', "no json", "{'text': 'x', 'label': 'a'}"])
def test_a_line_that_is_not_json_is_reported(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": "a"}\n' + line + "\n")
    with pytest.raises(Mistake, match=rf"{path}, line 2: cannot be read as JSON"):
        read(path)


def test_an_invalid_parquet_file_is_reported(tmp_path):
    path = file_of(tmp_path, ".parquet")
    whole = path.read_bytes()
    for junk in (b"junk", b"x" * 5000, whole[: len(whole) // 2]):
        path.write_bytes(junk)
        with pytest.raises(Mistake, match=rf"{path} cannot be read as parquet"):
            read(path)


@pytest.mark.parametrize("name", ["data.xls", "data", "data.txt", "data.gz", "data.doc.gz"])
def test_an_unknown_file_type_is_reported_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_text("text,label\nx,a\n")
    with pytest.raises(
        Mistake, match=r"unknown ending; expected one of \.csv, \.tsv, \.jsonl, \.json, \.parquet"
    ):
        read(tmp_path / name)


# Unreadable files

READERS = [
    *[(read, f"data{form}") for form in (".csv", ".tsv", ".jsonl", ".parquet")],
    (read_phrasebank, "Sentences_50Agree.txt"),
    (read_sms, "SMSSpamCollection"),
]
each_reader = pytest.mark.parametrize(("read", "name"), READERS, ids=[name for _, name in READERS])


@each_reader
def test_a_missing_file_is_reported(tmp_path, read, name):
    with pytest.raises(Mistake, match=f"{tmp_path / name} does not exist; name a file"):
        read(tmp_path / name)


@each_reader
def test_a_folder_in_place_of_a_file_is_reported(tmp_path, read, name):
    (tmp_path / name).mkdir()
    with pytest.raises(Mistake, match=f"{tmp_path / name} is a folder; name a file"):
        read(tmp_path / name)


@each_reader
def test_an_empty_file_is_reported(tmp_path, read, name):
    for content in (b"",) if name.endswith(".parquet") else (b"", b"\n \r\n\t\n"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Mistake, match=f"{tmp_path / name} is empty"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("read", "name"),
    [reader for reader in READERS if reader[0] != read_phrasebank and "parq" not in reader[1]],
)
@pytest.mark.parametrize(
    "content", ["text,label\nPörssi,a\n".encode("iso-8859-1"), "text,label\nx,a".encode("utf-16")]
)
def test_an_undecodable_file_is_reported_with_the_place(tmp_path, read, name, content):
    (tmp_path / name).write_bytes(content)
    place = next(i for i, byte in enumerate(content) if byte >= 0x80)
    with pytest.raises(
        Mistake, match=rf"{tmp_path / name} is not UTF-8 \(byte {place}, line \d+\); save it as UTF-8"
    ):
        read(tmp_path / name)


# Texts to predict


def test_the_texts_of_a_table_come_in_order(tmp_path):
    assert read_columns(file_of(tmp_path, ".csv"), {"text": "text"})["text"] == [text for text, _ in ROWS]


def test_a_missing_column_of_texts_or_an_empty_table_is_reported(tmp_path):
    with pytest.raises(Mistake, match=r"text column 'txt'; did you mean 'text'\?"):
        read_columns(file_of(tmp_path, ".csv"), {"text": "txt"})["text"]
    with pytest.raises(Mistake, match="holds no rows"):
        read_columns(file_of(tmp_path, ".csv", []), {"text": "text"})["text"]


# Financial PhraseBank

PHRASES: Rows = [
    ("Pörssi: sales rose by 5 % , to EUR 10 mn .", "positive"),
    ("Mail a@b.fi for \"more\" 'news' .", "neutral"),
    ("The loss grew\x85 again", "negative"),  # a byte that str.splitlines treats as the end of a line
]


def phrasebank_bytes(rows: Rows = PHRASES) -> bytes:
    return "".join(f"{text}@{label}\r\n" for text, label in rows).encode("iso-8859-1")


def test_phrasebank_is_latin_1_with_crlf(tmp_path):
    path = tmp_path / "Sentences_50Agree.txt"
    path.write_bytes(phrasebank_bytes() + b"\r\n")
    assert rows_of(read_phrasebank(path)) == PHRASES


@pytest.mark.parametrize("line", ["no mark", "a sentence@good", "a sentence@", "a sentence@Positive", "@"])
def test_a_malformed_phrase_is_reported_by_its_line(tmp_path, line):
    path = tmp_path / "Sentences_50Agree.txt"
    path.write_bytes(phrasebank_bytes() + f"{line}\r\n".encode())
    with pytest.raises(Mistake, match=rf"{path}, line 4: expected 'sentence@label'") as caught:
        read_phrasebank(path)
    assert repr(line) in str(caught.value)


@pytest.mark.data
def test_the_original_phrasebank(shared_data):
    """Malo et al. (2014): 4,846 sentences of which at least half of the annotators agreed."""
    path = shared_data("financial_phrasebank/Sentences_50Agree.txt")
    rows = rows_of(read_phrasebank(path))
    assert len(rows) == 4846
    counts = pd.Series([label for _, label in rows]).value_counts().to_dict()
    assert counts == {"neutral": 2879, "positive": 1363, "negative": 604}
    lines = path.read_bytes().split(b"\r\n")
    assert [f"{text}@{label}".encode("iso-8859-1") for text, label in rows] == [
        line for line in lines if line
    ]
    assert any("ä" in text for text, _ in rows)


# SMS Spam Collection

MESSAGES: Rows = [
    ('"Ok lar... Joking', "ham"),
    ("WIN £100 now! Don't wait", "spam"),
    ('he said "hi', "ham"),
    ("a\ttab and ham\tspam", "spam"),
]


def test_sms_messages_with_stray_quotes_stay_one_per_line(tmp_path):
    path = tmp_path / "SMSSpamCollection"
    path.write_text("".join(f"{label}\t{text}\n" for text, label in MESSAGES) + "\n", encoding="utf-8")
    assert rows_of(read_sms(path)) == MESSAGES
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert rows_of(read_sms(path)) == MESSAGES


@pytest.mark.parametrize("line", ["ham no tab", "eggs\ta text", "\ta text", "Spam\tx"])
def test_a_malformed_message_is_reported_by_its_line(tmp_path, line):
    path = tmp_path / "SMSSpamCollection"
    path.write_text(f"ham\tx\nspam\ty\n{line}\n")
    with pytest.raises(
        Mistake, match=rf"{path}, line 3: expected 'ham' or 'spam', a tab and a text"
    ) as caught:
        read_sms(path)
    assert repr(line) in str(caught.value)


@pytest.mark.data
def test_the_original_sms_collection(shared_data):
    """Almeida and Hidalgo (2011): 4,827 messages and 747 spam, one per line, whatever quotes they contain."""
    path = shared_data("sms_spam/SMSSpamCollection")
    rows = rows_of(read_sms(path))
    assert [label for _, label in rows].count("ham") == 4827
    assert [label for _, label in rows].count("spam") == 747
    lines = [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    assert [(label, text) for text, label in rows] == [
        (line.split("\t")[0], line.split("\t", 1)[1].strip()) for line in lines
    ]
    assert sum(text.count('"') % 2 for text, _ in rows) > 10


# Packaged data


def test_the_embedded_table_is_text_in_every_cell():
    table, source = read_embedded("financial_demo.csv")
    assert source == "lowland, financial_demo.csv"
    assert {"text", "label", "split", "category"} <= set(table.columns)
    assert not table.isna().any().any()
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())


# The hub


def archive(folder: Path, inside: str = "FinancialPhraseBank-v1.0/Sentences_50Agree.txt") -> Path:
    path = folder / "FinancialPhraseBank-v1.0.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("FinancialPhraseBank-v1.0/README.txt", "read me")
        packed.writestr(inside, phrasebank_bytes())
    return path


@pytest.mark.parametrize("reachable", [True, False])
def test_phrasebank_comes_out_of_the_hubs_archive(tmp_path, monkeypatch, reachable):
    calls = []

    def download(repository: str, name: str, **options: Any) -> str:
        calls.append((repository, name, options))
        return str(archive(tmp_path))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(originals, "hub_reachable", lambda: reachable)
    table, source = phrasebank_from_hub()
    assert rows_of(table) == PHRASES
    assert "takala/financial_phrasebank" in source
    ((repository, name, options),) = calls
    assert (repository, name) == ("takala/financial_phrasebank", "data/FinancialPhraseBank-v1.0.zip")
    assert options["repo_type"] == "dataset"
    assert options["local_files_only"] is not reachable


def test_the_hub_and_the_original_file_give_the_same_phrasebank(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(archive(tmp_path)))
    path = tmp_path / "Sentences_50Agree.txt"
    path.write_bytes(phrasebank_bytes())
    pd.testing.assert_frame_equal(phrasebank_from_hub()[0], read_phrasebank(path))


@pytest.mark.parametrize("reachable", [True, False])
def test_sms_comes_from_the_hubs_dataset(tmp_path, monkeypatch, reachable):
    rows = [(text, label) for text, label in MESSAGES]
    features = datasets.Features(
        {"sms": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    columns = {"sms": [f"{text}\n" for text, _ in rows], "label": [label for _, label in rows]}
    dataset = datasets.Dataset.from_dict(columns, features=features)
    calls = []

    def load(repository: str, **options: Any) -> datasets.Dataset:
        calls.append((repository, options))
        return dataset

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(originals, "hub_reachable", lambda: reachable)
    table, source = sms_from_hub()
    assert rows_of(table) == rows
    assert "ucirvine/sms_spam" in source
    ((repository, options),) = calls
    assert (repository, options["split"]) == ("ucirvine/sms_spam", "train")
    assert options["download_config"].local_files_only is not reachable


HUB = [
    (
        phrasebank_from_hub,
        huggingface_hub,
        "hf_hub_download",
        "financial-phrasebank",
        "Sentences_50Agree.txt",
    ),
    (sms_from_hub, datasets, "load_dataset", "sms-spam", "SMSSpamCollection"),
]
each_hub = pytest.mark.parametrize(
    ("fetch", "library", "call", "task", "original"), HUB, ids=[row[3] for row in HUB]
)


@each_hub
@pytest.mark.parametrize(
    "error", [ConnectionError("no route\nto host"), OSError("x" * 900), ValueError(), RuntimeError("  \n ")]
)
def test_an_unreachable_hub_is_one_sentence_that_names_the_original_file(
    monkeypatch, fetch, library, call, task, original, error
):
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(library, call, fail)
    with pytest.raises(Mistake) as caught:
        fetch()
    (message,) = caught.value.problems
    assert f"task {task}" in message
    assert message.endswith(f"--data {original}")
    assert "\n" not in message
    assert len(message) < 400
    assert caught.value.__cause__ is error


@each_hub
def test_ctrl_c_is_not_taken_for_a_fault_of_the_hub(monkeypatch, fetch, library, call, task, original):
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, call, stop)
    with pytest.raises(KeyboardInterrupt):
        fetch()


def test_a_broken_archive_or_one_without_the_file_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: str(tmp_path / "FinancialPhraseBank-v1.0.zip")
    )
    archive(tmp_path, inside="elsewhere/Sentences_50Agree.txt")
    with pytest.raises(Mistake, match=r"--data Sentences_50Agree\.txt"):
        phrasebank_from_hub()
    (tmp_path / "FinancialPhraseBank-v1.0.zip").write_bytes(b"half an archive")
    with pytest.raises(Mistake, match=r"--data Sentences_50Agree\.txt"):
        phrasebank_from_hub()


def test_the_hub_is_not_contacted_offline(monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "get_session", lambda: pytest.fail("the hub was asked"))
    assert hub.hub_reachable.__wrapped__() is False


@pytest.mark.parametrize("answers", [True, False])
def test_the_hub_is_reachable_where_it_answers(monkeypatch, answers):
    class Session:
        def head(self, address: str, timeout: float) -> None:
            assert timeout <= 10
            if not answers:
                raise ConnectionError("no route to host")

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "get_session", Session)
    assert hub.hub_reachable.__wrapped__() is answers


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (".csv", "text,label\nSales rose, by 5 %,good\nSales fell,bad\n"),
        (".csv", "text,label\nSales rose, by 5 %,good\nSales fell, by 5 %,bad\n"),
        (".tsv", "text\tlabel\nSales\trose\tgood\nfell\tbad\n"),
    ],
)
def test_a_first_row_with_too_many_fields_is_reported_and_not_cut(tmp_path, form, text):
    path = tmp_path / f"a{form}"
    path.write_text(text)
    with pytest.raises(Mistake, match="line 2"):
        read(path)


def test_a_byte_order_mark_in_jsonl(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": "a"}\n', encoding="utf-8-sig")
    assert read(path)["text"].tolist() == ["x"]


@pytest.mark.parametrize("form", [".jsonl", ".parquet"])
def test_columns_named_by_numbers(tmp_path, form):
    path = tmp_path / f"a{form}"
    if form == ".jsonl":
        path.write_text('{"0": "x", "1": "a"}\n')
    else:
        pd.DataFrame({0: ["x"], 1: ["a"]}).to_parquet(path)
    assert read(path, text="0", label="1")["text"].tolist() == ["x"]


def test_the_nearest_column_is_suggested_in_any_case(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("TEXT,LABEL\nx,a\n")
    with pytest.raises(Mistake, match="did you mean 'TEXT'"):
        read(path)


def test_a_number_too_large_for_jsons_reader(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 123456789012345678901234567890, "text": "x", "label": "a"}\n')
    assert read(path)["text"].tolist() == ["x"]


def test_text_and_label_cannot_be_the_same_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nx,a\ny,b\n")
    with pytest.raises(Mistake):
        read(path, label="text")
