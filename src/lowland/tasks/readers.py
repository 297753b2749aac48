"""Readers: from a file, in the form that its authors distribute, to a table."""

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

import pandas as pd

from lowland.ground.mistakes import Mistake, one_of, reason_of
from lowland.models.hub import hub_reachable

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")


def read_table(path: Path, wanted: Mapping[str, str | None]) -> pd.DataFrame:
    """Read some columns of a user's table: .csv, .tsv, .jsonl or .parquet, in UTF-8.

    Args:
        path: of the file.
        wanted: from a column's name in the result to its name in the file; None leaves it out.

    Raises:
        Mistake: if the file cannot be read, a column is missing, or two are the same.
    """
    table = _read_form(path)
    asked_twice: dict[str, str] = {}
    named = {role: name for role, name in wanted.items() if name is not None}
    for role, name in named.items():
        if (other := asked_twice.setdefault(name, role)) != role and "split" not in (role, other):
            raise Mistake(f"{other}_column and {role}_column are both {name!r}; they must differ")
    columns = [str(name) for name in table.columns]
    missing = [
        f"{path}: {one_of(f'{role} column', name, columns)}"
        for role, name in named.items()
        if name not in columns
    ]
    if missing:
        raise Mistake(*missing)
    return pd.DataFrame({role: table[name] for role, name in named.items()})


def read_columns(path: Path, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Read columns of texts from a user's table, in order.

    Args:
        path: of the file.
        wanted: from a column's name in the result to its name in the file.

    Raises:
        Mistake: if the file cannot be read or is empty, a column is missing, or a cell holds no text.
    """
    table = read_table(path, wanted)
    if table.empty:
        raise Mistake(f"{path} holds no rows")
    for role in wanted:
        blank = table[role].isna() | (table[role].astype(str).str.strip() == "")
        if blank.any():
            raise Mistake(
                f"{path} has no {role} in {int(blank.sum())} rows, the first is row {blank.argmax() + 1}"
            )
    return {role: [str(cell) for cell in table[role]] for role in wanted}


def read_phrasebank(path: Path, fields: object = None) -> pd.DataFrame:
    """Read Financial PhraseBank's original file: `sentence@label` on each line, ISO-8859-1, CRLF."""
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


def read_sms(path: Path, fields: object = None) -> pd.DataFrame:
    """Read the SMS Spam Collection's original file: `ham` or `spam`, a tab, the text; quotes mean nothing."""
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


def read_original_table(path: Path, columns: Mapping[str, str], data_set: str) -> pd.DataFrame:
    """Read a data set's original tab-separated file: a header, UTF-8, and quotes that mean nothing.

    Args:
        path: of the file.
        columns: from a column's name in the result to its name in the file.
        data_set: its name, for the error.

    Raises:
        Mistake: if the file cannot be read, or lacks a column.
    """
    lines = [line.rstrip("\r") for line in _text(path, "utf-8-sig").split("\n")]
    rows = [line.split("\t") for line in lines if line.strip()]
    if missing := [name for name in columns.values() if name not in rows[0]]:
        raise Mistake(
            f"{path} is not a file of {data_set}: it lacks the columns {', '.join(missing)};"
            f" its first line is {chr(9).join(rows[0])[:60]!r}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise Mistake(
                f"{path}, line {number}: {len(row)} fields, where the first line has {len(rows[0])}"
            )
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    return pd.DataFrame({role: table[name].str.strip() for role, name in columns.items()})


def read_embedded(name: str) -> tuple[pd.DataFrame, str]:
    """Return a table that comes with the package, and its source."""
    with resources.as_file(resources.files("lowland.tasks") / "data" / name) as path:
        return pd.read_csv(path, dtype=str, keep_default_na=False), f"lowland, {name}"


def phrasebank_from_hub() -> tuple[pd.DataFrame, str]:
    """Return Financial PhraseBank from the archive that the hub keeps, and its source."""
    from huggingface_hub import hf_hub_download

    repository, archive = "takala/financial_phrasebank", "FinancialPhraseBank-v1.0.zip"
    with hub_errors("financial-phrasebank", repository, "Sentences_50Agree.txt"):
        path = hf_hub_download(
            repository,
            f"data/{archive}",
            repo_type="dataset",
            local_files_only=not hub_reachable(),
        )
        with zipfile.ZipFile(path) as packed, TemporaryDirectory() as folder:
            inside = packed.extract("FinancialPhraseBank-v1.0/Sentences_50Agree.txt", folder)
            return read_phrasebank(Path(inside)), f"hub, {repository}, Sentences_50Agree.txt"


def sms_from_hub() -> tuple[pd.DataFrame, str]:
    """Return the SMS Spam Collection of the hub, and its source."""
    from datasets import DownloadConfig, load_dataset  # type: ignore[attr-defined]

    repository = "ucirvine/sms_spam"
    with hub_errors("sms-spam", repository, "SMSSpamCollection"):
        offline = DownloadConfig(local_files_only=not hub_reachable())
        loaded = load_dataset(repository, split="train", download_config=offline)
        labels = [("ham", "spam")[number] for number in loaded["label"]]
        texts = [text.strip() for text in loaded["sms"]]
        return pd.DataFrame({"text": texts, "label": labels}), f"hub, {repository}"


@contextmanager
def hub_errors(task: str, repository: str, original: str) -> Iterator[None]:
    """Turn any error of the hub's libraries into one sentence that names the file to use instead."""
    try:
        yield
    except Exception as error:
        raise Mistake(
            f"the data of task {task} cannot be loaded from the hub, {repository} ({reason_of(error)});"
            f" give its original file instead: --data {original}"
        ) from error


def _read_form(path: Path) -> pd.DataFrame:
    """Read a table; column names become text, and cells stay as they stand in the file."""
    form = path.suffix.lower()
    if form not in FORMS:
        raise Mistake(f"{path} has an unknown ending; expected one of {', '.join(FORMS)}")
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
    """Read a .csv file with the usual quotes, or a .tsv file, in which quotes mean nothing."""
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
