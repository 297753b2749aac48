"""From a file, in the form its authors distribute, to a table with the columns text and label."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from lowland.ground.mistakes import Mistake, one_of, reason_of
from lowland.models.hub import hub_reachable

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")


def read_table(path: Path, data: Mapping[str, Any]) -> pd.DataFrame:
    """A table of the user's: .csv, .tsv, .jsonl or .parquet, UTF-8, with a column of texts and one of labels."""
    table = _read_form(path)
    if data["text_column"] == data["label_column"]:
        raise Mistake(f"text_column and label_column are both {data['text_column']!r}; they must differ")
    wanted = {"text": data["text_column"], "label": data["label_column"]}
    if data["split_column"] is not None:
        wanted["split"] = data["split_column"]
    columns = [str(name) for name in table.columns]
    missing = [
        f"{path}: {one_of(f'{what} column', name, columns)}"
        for what, name in wanted.items()
        if name not in columns
    ]
    if missing:
        raise Mistake(*missing)
    return pd.DataFrame({what: table[name] for what, name in wanted.items()})


def read_texts(path: Path, column: str) -> list[str]:
    """The texts of a table of the user's, in order."""
    table = _read_form(path)
    columns = [str(name) for name in table.columns]
    if column not in columns:
        raise Mistake(f"{path}: {one_of('text column', column, columns)}")
    if table.empty:
        raise Mistake(f"{path} holds no rows")
    blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
    if blank.any():
        raise Mistake(f"{path} has no text in {int(blank.sum())} rows, the first is row {blank.argmax() + 1}")
    return [str(one) for one in table[column]]


def read_phrasebank(path: Path, data: Mapping[str, Any]) -> pd.DataFrame:
    """Financial PhraseBank's original: `sentence@label` a line, ISO-8859-1, CRLF."""
    rows = []
    for number, line in enumerate(_text(path, "iso-8859-1").split("\n"), start=1):
        if not line.strip():
            continue
        text, mark, label = line.strip().rpartition("@")
        if not mark or label not in ("positive", "neutral", "negative"):
            raise Mistake(
                f"{path}, line {number}: expected 'sentence@label' with positive, neutral or negative,"
                f" got {line.strip()[:60]!r}"
            )
        rows.append((text.strip(), label))
    return pd.DataFrame(rows, columns=["text", "label"])


def read_sms(path: Path, data: Mapping[str, Any]) -> pd.DataFrame:
    """The SMS Spam Collection's original: `ham` or `spam`, a tab, the text; quotes mean nothing."""
    rows = []
    for number, line in enumerate(_text(path, "utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        label, tab, text = line.rstrip("\r").partition("\t")
        if not tab or label not in ("ham", "spam"):
            raise Mistake(
                f"{path}, line {number}: expected 'ham' or 'spam', a tab and a text, got {line[:60]!r}"
            )
        rows.append((text.strip(), label))
    return pd.DataFrame(rows, columns=["text", "label"])


def read_embedded(name: str) -> tuple[pd.DataFrame, str]:
    """A table that comes with the package, and where it is from."""
    with resources.as_file(resources.files("lowland.tasks") / "data" / name) as path:
        return pd.read_csv(path, dtype=str, keep_default_na=False), f"lowland, {name}"


def phrasebank_from_hub() -> tuple[pd.DataFrame, str]:
    """Financial PhraseBank's original, out of the archive that the hub keeps, and where it is from."""
    from huggingface_hub import hf_hub_download

    repository, archive = "takala/financial_phrasebank", "FinancialPhraseBank-v1.0.zip"
    with _from_hub("financial-phrasebank", repository, "Sentences_50Agree.txt"):
        path = hf_hub_download(
            repository,
            f"data/{archive}",
            repo_type="dataset",
            local_files_only=not hub_reachable(),
        )
        with zipfile.ZipFile(path) as packed, TemporaryDirectory() as folder:
            inside = packed.extract("FinancialPhraseBank-v1.0/Sentences_50Agree.txt", folder)
            return read_phrasebank(Path(inside), {}), f"hub, {repository}, Sentences_50Agree.txt"


def sms_from_hub() -> tuple[pd.DataFrame, str]:
    """The SMS Spam Collection of the hub, and where it is from."""
    from datasets import DownloadConfig, load_dataset  # type: ignore[attr-defined]

    repository = "ucirvine/sms_spam"
    with _from_hub("sms-spam", repository, "SMSSpamCollection"):
        offline = DownloadConfig(local_files_only=not hub_reachable())
        loaded = load_dataset(repository, split="train", download_config=offline)
        labels = [("ham", "spam")[number] for number in loaded["label"]]
        texts = [text.strip() for text in loaded["sms"]]
        return pd.DataFrame({"text": texts, "label": labels}), f"hub, {repository}"


@contextmanager
def _from_hub(task: str, repository: str, original: str) -> Iterator[None]:
    """Turn whatever the hub's libraries raise into one sentence that names what can be used instead."""
    try:
        yield
    except Exception as error:
        raise Mistake(
            f"the data of task {task} cannot be had from the hub, {repository} ({reason_of(error)});"
            f" give its original file instead: --data {original}"
        ) from error


def _read_form(path: Path) -> pd.DataFrame:
    """A table with texts for column names; every cell as it stands in the file."""
    form = path.suffix.lower()
    if form not in FORMS:
        raise Mistake(f"{path} is of an unknown form; expected one of {', '.join(FORMS)}")
    if form == ".parquet":
        _present(path)
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise Mistake(f"{path} cannot be read as parquet ({error})") from None
        return table.set_axis([str(name) for name in table.columns], axis=1)
    text = _text(path, "utf-8-sig")
    return _read_jsonl(path, text) if form == ".jsonl" else _read_separated(path, text)


def _read_jsonl(path: Path, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise Mistake(f"{path}, line {number}: cannot be read as JSON ({error})") from None
        if not isinstance(row, dict):
            raise Mistake(f'{path}, line {number}: expected an object such as {{"text": …, "label": …}}')
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _read_separated(path: Path, text: str) -> pd.DataFrame:
    """A .csv file, quoted as usual, or a .tsv file, in which quotes mean nothing."""
    if path.suffix.lower() == ".csv":
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows: list[list[str]] = []
    try:
        for row in filter(None, reader):
            if rows and len(row) != len(rows[0]):
                raise Mistake(
                    f"{path}, line {reader.line_num}: {len(row)} fields, where the first line has {len(rows[0])};"
                    " put a text that holds the separator in quotes"
                )
            rows.append(row)
    except csv.Error as error:
        raise Mistake(f"{path}, line {reader.line_num}: {error}") from None
    if len(set(rows[0])) < len(rows[0]):
        raise Mistake(f"{path}: two columns of one name in {', '.join(rows[0])}")
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=str)


def _present(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise Mistake(f"the data file {path} {what}; name a file")
    if path.stat().st_size == 0:
        raise Mistake(f"the data file {path} is empty")


def _text(path: Path, encoding: str) -> str:
    _present(path)
    try:
        text = path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.upper().removesuffix("-SIG")
        raise Mistake(f"{path} is not {name} (byte {error.start}); save it as {name} and try again") from None
    if not text.strip():
        raise Mistake(f"the data file {path} is empty")
    return text
