"""Forms of tables: .csv, .tsv, .jsonl, .json (and SQuAD's), .parquet and .xlsx, compressed or not, as rows of cells."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake, reason_of
from lowland.tasks.readers.compressed import COMPRESSED
from lowland.tasks.readers.other_tasks import hint_at_original
from lowland.tasks.readers.raw_table import RawTable, check_names
from lowland.tasks.readers.separated import read_separated
from lowland.tasks.readers.squad import squad_rows

FORMS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")


def read_form(path: Path, *, separator: str | None = None, header: bool = True) -> RawTable:
    """Read a table of any form.

    Args:
        path: the file; its ending says the form.
        separator: character between the cells of a .csv file; None recognises it by the first line.
        header: whether the first line names the columns; without it, the columns are named 1, 2, 3 and so on.

    Raises:
        Mistake: if the file cannot be read.
    """
    form = form_of(path)
    if form == ".parquet":
        return _read_parquet(path)
    if form == ".xlsx":
        return _read_xlsx(path, header)
    text = read_text(path, "utf-8-sig")
    if form in (".jsonl", ".json"):
        if (questions := squad_rows(path, text)) is not None:
            return RawTable(path, _table_of(path, questions), "question", list(range(1, len(questions) + 1)))
        return _read_array(path, text) if text.lstrip().startswith("[") else _read_json_lines(path, text)
    return read_separated(path, text, "\t" if form == ".tsv" else separator, header)


def form_of(path: Path) -> str:
    """Return the ending that says a file's form, in lower case and without that of a compression.

    Raises:
        Mistake: if it is none of `FORMS`.
    """
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    form = name.suffix.lower()
    if path.is_dir():
        raise Mistake(
            f"the data file {path} is a folder; name a file, or use --task image-classification for a folder of images"
        )
    if form not in FORMS:
        raise Mistake(
            f"{path} has an unknown ending; expected one of {', '.join(FORMS)}, as it is or compressed"
            f" ({', '.join(COMPRESSED)}){_hint_at_content(path)}"
        )
    return form


def _hint_at_content(path: Path) -> str:
    """Return the end of a sentence that names the data set of a file by its first line; "" if none is recognised."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hint_at_original(file.readline(10_000).decode("iso-8859-1"))


def read_text(path: Path, encoding: str) -> str:
    """Return a file's text, decompressed.

    Raises:
        Mistake: if there is no such file, it is empty, or it cannot be decoded.
    """
    content = _read_bytes(path)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.upper().removesuffix("-SIG")
        hint = hint_at_original(content.split(b"\n", 1)[0].decode("iso-8859-1"))
        advice = hint or f"; save it as {name} and try again"
        line = content.count(b"\n", 0, error.start) + 1
        raise Mistake(f"{path} is not {name} (byte {error.start}, line {line}){advice}") from None
    if not text.strip():
        raise Mistake(f"the data file {path} is empty")
    return text


def _read_bytes(path: Path) -> bytes:
    """Return a file's bytes, decompressed according to its ending."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise Mistake(f"the data file {path} {what}; name a file")
    if path.stat().st_size == 0:
        raise Mistake(f"the data file {path} is empty")
    content = path.read_bytes()
    decompress = COMPRESSED.get(path.suffix.lower())
    if decompress is None:
        return content
    with _reading(path, "decompressed", "run pip install zstandard, or decompress it"):
        return decompress(content)


@contextmanager
def _reading(path: Path, action: str, without_package: str = "install it") -> Iterator[None]:
    """Turn the errors of another library's reader into one sentence.

    Args:
        path: the file.
        action: what fails, as the end of "it cannot be …".
        without_package: what to do if the library is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise Mistake(
            f"{path} cannot be {action}: it needs the package {error.name}; {without_package}"
        ) from None
    except Exception as error:  # a damaged file makes its reader raise errors of many kinds
        raise Mistake(f"{path} cannot be {action} ({reason_of(error)})") from None


def _read_parquet(path: Path) -> RawTable:
    content = _read_bytes(path)
    with _reading(path, "read as parquet"):
        columns = parquet.read_table(io.BytesIO(content))
        columns.validate(full=True)  # the text is UTF-8
        table = columns.to_pandas(integer_object_nulls=True)
    if index := [
        name for name in table.index.names if name is not None
    ]:  # pandas' own; columns to everyone else
        table = table.reset_index(index)
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    return RawTable(path, table.astype(object), "row", list(range(1, len(table) + 1)))


def _read_xlsx(path: Path, header: bool) -> RawTable:
    content = _read_bytes(path)
    with _reading(path, "read as .xlsx", 'run pip install "lowland[excel]", or save it as .csv'):
        table = pd.read_excel(io.BytesIO(content), header=None, dtype=object, na_filter=False)
    names = [str(number) for number in range(1, table.shape[1] + 1)]
    if header:
        first_row = list(table.iloc[0]) if len(table) else []
        names = [str(cell) or f"Unnamed: {number}" for number, cell in enumerate(first_row)]
        check_names(path, names)
        table = table.iloc[1:].reset_index(drop=True)
    first = 2 if header else 1
    return RawTable(path, table.set_axis(names, axis=1), "row", list(range(first, first + len(table))))


def _read_array(path: Path, text: str) -> RawTable:
    """Read one JSON array of objects."""
    try:
        rows = parse_json(text)
    except (NotJSON, Mistake) as error:
        raise Mistake(f"{path} cannot be read as a JSON array ({error})") from None
    if wrong := [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]:
        raise Mistake(f'{path}, row {wrong[0]}: expected an object such as {{"text": …, "label": …}}')
    return RawTable(path, _table_of(path, rows), "row", list(range(1, len(rows) + 1)))


def _read_json_lines(path: Path, text: str) -> RawTable:
    """Read a JSON object from each line that is not empty."""
    rows, numbers = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except (NotJSON, Mistake) as error:
            reason = error.reason if isinstance(error, NotJSON) else error
            raise Mistake(f"{path}, line {number}: cannot be read as JSON ({reason})") from None
        if not isinstance(row, dict):
            raise Mistake(f'{path}, line {number}: expected an object such as {{"text": …, "label": …}}')
        rows.append(row)
        numbers.append(number)
    return RawTable(path, _table_of(path, rows), "line", numbers)


def _table_of(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a table whose cells are the objects that JSON gave."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    check_names(path, names)
    cells = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names}
    return pd.DataFrame(cells, dtype=object)
