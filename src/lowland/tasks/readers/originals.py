"""Original files of data sets, in the form that their authors distribute, and their copies on the hub."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable, reason_of_hub
from lowland.tasks.readers.forms import read_text
from lowland.tasks.readers.other_tasks import hint_at_original, task_that_fits


def read_phrasebank(path: Path, fields: object = None) -> pd.DataFrame:
    """Read Financial PhraseBank's original file: `sentence@label` on each line, ISO-8859-1, CRLF."""
    rows = []
    for number, line in enumerate(read_text(path, "iso-8859-1").split("\n"), start=1):
        if not line.strip():
            continue
        text, mark, label = line.strip().rpartition("@")
        if not mark or label not in ("positive", "neutral", "negative"):
            raise Mistake(
                f"{path}, line {number}: expected 'sentence@label' with positive, neutral or negative,"
                f" got {line.strip()[:60]!r}{hint_at_original(line)}"
            )
        rows.append((text.strip(), label))
    return pd.DataFrame(rows, columns=["text", "label"])


def read_sms(path: Path, fields: object = None) -> pd.DataFrame:
    """Read the SMS Spam Collection's original file: `ham` or `spam`, a tab, the text; quotes mean nothing."""
    rows = []
    for number, line in enumerate(read_text(path, "utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        label, tab, text = line.rstrip("\r").partition("\t")
        if not tab or label not in ("ham", "spam"):
            raise Mistake(
                f"{path}, line {number}: expected 'ham' or 'spam', a tab and a text, got {line[:60]!r}"
                f"{hint_at_original(line)}"
            )
        rows.append((text.strip(), label))
    return pd.DataFrame(rows, columns=["text", "label"])


def read_original_table(path: Path, columns: Mapping[str, str], data_set: str) -> pd.DataFrame:
    """Read a data set's original tab-separated file: a header, UTF-8, and quotes that mean nothing.

    Args:
        path: path of the file.
        columns: name in the file of each column of the result.
        data_set: name of the data set, for the error.

    Raises:
        Mistake: if the file cannot be read, or lacks a column.
    """
    lines = [line.rstrip("\r") for line in read_text(path, "utf-8-sig").split("\n")]
    rows = [line.split("\t") for line in lines if line.strip()]
    if missing := [name for name in columns.values() if name not in rows[0]]:
        raise Mistake(
            f"{path} is not a file of {data_set}: it lacks the columns {', '.join(missing)};"
            f" its first line is {lines[0][:60]!r}{_hint(lines[0])}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise Mistake(
                f"{path}, line {number}: {len(row)} fields, where the first line has {len(rows[0])}"
            )
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    return pd.DataFrame({role: table[name].str.strip() for role, name in columns.items()})


def _hint(line: str) -> str:
    """Return the end of a sentence that names the task for a file with this first line; "" if none is recognised."""
    own = task_that_fits([name.strip('"') for name in line.split(",")], ())
    return hint_at_original(line) or (f"; {own}" if own else "")


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
            f"the data of task {task} cannot be loaded from the hub, {repository} ({reason_of_hub(error)});"
            f" give its original file instead: --data {original}"
        ) from error
