"""Properties of the readers: every form gives the texts that were written, and damage is a sentence or nothing lost."""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import json
import lzma
import math
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from pyarrow import parquet

from lowland.ground.mistakes import Mistake
from lowland.tasks.labels import canonical_labels
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.tables import read_table
from lowland.tasks.table import load_data, task_fields
from tests.strategies import CELLS, INSERTS, NUMBERS, TRICKY, VALUES, mutated

FEW = settings(max_examples=15, suppress_health_check=list(HealthCheck))
Rows = list[tuple[str, str]]
FILLED = CELLS.filter(lambda cell: cell.strip() != "" and cell not in ("text", "label"))
ROWS = st.lists(st.tuples(FILLED, FILLED), min_size=1, max_size=5)


def as_csv(rows: Rows, separator: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    return text.getvalue().encode()


def as_tsv(rows: Rows) -> bytes:
    return "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]).encode()


def as_json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps([{"text": text, "label": label} for text, label in rows], ensure_ascii=False).encode()


def as_parquet(rows: Rows) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(rows, columns=["text", "label"]).to_parquet(file)
    return file.getvalue()


def as_xlsx(rows: Rows) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for number, row in enumerate([("text", "label"), *rows], start=1):
        for place, cell in enumerate(row, start=1):
            book.active.cell(number, place, cell).data_type = "s"  # no formula, no error
    book.save(file)
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", content)
    return file.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    ".csv": as_csv,
    ".tsv": as_tsv,
    ".jsonl": as_json_lines,
    ".json": as_json,
    ".parquet": as_parquet,
    ".xlsx": as_xlsx,
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zip": zipped,
}
TABLE: Rows = [(f"text {number}", "yes" if number % 2 else "no") for number in range(40)]


def can_hold(form: str, rows: Rows) -> bool:
    """Whether a form can hold the cells: a .tsv file has no quotes, and XML lacks some signs."""
    cells = [cell for row in rows for cell in row]
    if form == ".tsv":
        return not any(sign in cell for cell in cells for sign in "\t\r\n\0")
    if form == ".xlsx":  # openpyxl's writer changes line ends, and escapes written as _x000D_
        return not any(ILLEGAL_CHARACTERS_RE.search(cell) or "\r" in cell or "_x" in cell for cell in cells)
    return True


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def load(path: Path, **fields: object) -> dict[str, object]:
    return load_data(task_fields("classification", data=str(path), **fields)).describe()


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("form", WRITERS)
@FEW
@given(rows=ROWS)
@example(rows=[("NA", "null"), ("None", "n/a"), ("#N/A", "nan")])
def test_a_table_comes_back_from_every_form(tmp_path: Path, form: str, ending: str, rows: Rows) -> None:
    if not can_hold(form, rows):
        return
    path = written(tmp_path, f"data{form}{ending}", COMPRESSIONS[ending](WRITERS[form](rows)))
    table = read_table(path, {"text": "text", "label": "label"})
    assert list(table.itertuples(index=False, name=None)) == rows
    assert len(canonical_labels(table["label"])) == len(rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@FEW
@given(rows=ROWS)
def test_a_separator_that_is_named_or_recognised_reads_the_same(
    tmp_path: Path, separator: str, rows: Rows
) -> None:
    path = written(tmp_path, "data.csv", as_csv(rows, separator))
    for name in (separator, None):
        assert list(read_form(path, separator=name).rows.itertuples(index=False, name=None)) == rows


@given(
    cells=st.lists(st.one_of(CELLS, NUMBERS, st.booleans()), max_size=8), form=st.sampled_from(["NFC", "NFD"])
)
def test_a_class_has_one_name_however_its_labels_are_written(cells: list[object], form: str) -> None:
    labels = canonical_labels(cells)
    padded = [
        f" {unicodedata.normalize(form, cell)}\t" if isinstance(cell, str) else cell  # type: ignore[arg-type]
        for cell in cells
    ]
    assert canonical_labels(padded) == labels
    for number, cell in enumerate(cells):
        if isinstance(cell, int) and abs(cell) < 2**53:
            again = canonical_labels(
                [*cells, str(cell), float(cell)] if not isinstance(cell, bool) else cells
            )
            assert len({again[number], *again[len(cells) :]}) == 1


@pytest.mark.parametrize("role", ["text", "label"])
@FEW
@given(value=VALUES)
@example(value=10**400)
@example(value=["a"])
def test_a_cell_of_json_is_text_or_a_label_or_is_refused_with_its_line(
    tmp_path: Path, role: str, value: object
) -> None:
    rows = [json.dumps({"text": text, "label": label}) for text, label in TABLE]
    other = {"text": "x", "label": "no", role: value}
    path = written(tmp_path, "data.jsonl", "\n".join([*rows, json.dumps(other)]).encode())
    usable = isinstance(value, str) and value.strip() != ""
    if role == "label":
        usable |= isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if usable:
        assert read_table(path, {"text": "text", "label": "label"})[role].iloc[-1] == value
    else:
        with pytest.raises(Mistake, match="line 41"):
            load(path)


@functools.cache
def written_once(form: str) -> bytes:
    """`TABLE` in a form; an .xlsx file holds the time, so another one may have another length."""
    return WRITERS[form](TABLE)


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("form", WRITERS)
@settings(FEW, max_examples=8)
@given(data=st.data())
def test_a_damaged_file_is_a_mistake_or_a_table(
    tmp_path: Path, form: str, ending: str, data: st.DataObject
) -> None:
    content = data.draw(mutated(written_once(form)))
    packed = COMPRESSIONS[ending](content)
    path = written(tmp_path, f"data{form}{ending}", data.draw(st.just(packed) | mutated(packed)))
    before, mistake = path.read_bytes(), None
    try:
        load(path)
    except Mistake as error:
        mistake = error
    assert mistake is None or all(problem.strip() for problem in mistake.problems)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_what_follows_a_compressed_stream_is_read_or_refused(tmp_path: Path, ending: str) -> None:
    """Files may hold several streams; one with a damaged start is not left out."""
    pack = COMPRESSIONS[ending]
    whole = as_json_lines(TABLE)
    two = pack(whole[:500]) + pack(whole[500:])
    assert (
        load(written(tmp_path, f"a.jsonl{ending}", two))["sizes"]
        == load(written(tmp_path, "a.jsonl", whole))["sizes"]
    )
    start = len(pack(whole[:500]))
    broken = two[:start] + b"?" + two[start + 1 :]
    with pytest.raises(Mistake, match="cannot be decompressed"):
        load(written(tmp_path, f"b.jsonl{ending}", broken))


def test_a_zip_of_several_files_is_refused_with_their_number(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a", "b"):
            archive.writestr(name, as_csv(TABLE))
    with pytest.raises(Mistake, match="it holds 2 files; expected one"):
        load(written(tmp_path, "a.csv.zip", file.getvalue()))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"text": "x", "label": 1' + "0" * 5000 + "}", "line 41: .*too many digits"),
        ('{"text": "x", "label": "yes", "label": "no"}', "line 41: .*key 'label' occurs twice"),
        ('{"text": "x", "label": "yes", "\\ud800": 1}', "holds half of a character"),
        ("[" * 100_000, "line 41: .*nested too deeply"),
    ],
)
def test_a_line_that_is_half_read_is_refused(tmp_path: Path, line: str, sentence: str) -> None:
    path = written(tmp_path, "a.jsonl", as_json_lines(TABLE) + line.encode())
    with pytest.raises(Mistake, match=sentence):
        load(path)


def test_two_columns_of_one_name_are_refused_in_a_sheet(tmp_path: Path) -> None:
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    assert book.active is not None
    for row in [("text", "label", "label"), ("x", "yes", "no")]:
        book.active.append(row)
    book.save(path)
    with pytest.raises(Mistake, match="two columns of one name in text, label, label"):
        read_form(path)


def test_whole_numbers_beside_a_missing_one_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "id": pyarrow.array([2**60 + 1, None])}), path)
    assert read_form(path).rows["id"].iloc[0] == 2**60 + 1


def test_text_in_parquet_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    content = as_parquet([("Pelworth’s profit", "yes"), ("b", "no")])
    assert content.count("’".encode())
    path = written(tmp_path, "a.parquet", content.replace("’".encode(), b"\xe2\x80x"))
    with pytest.raises(Mistake, match=r"cannot be read as parquet \(.*UTF8"):
        read_form(path)


def test_the_index_of_a_frame_is_a_column_of_its_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame(TABLE, columns=["text", "label"]).set_index("text").to_parquet(path)
    assert len(read_table(path, {"text": "text", "label": "label"})) == len(TABLE)


@pytest.mark.parametrize("separator", ['"', "\n", "\r", "\0", "", ",,"])
def test_a_separator_that_cannot_be_one_is_refused(separator: str) -> None:
    with pytest.raises(Mistake, match=r"separator is .*; it must be one character"):
        task_fields("classification", data="a.csv", separator=separator)


@pytest.mark.parametrize("token", [*TRICKY, *(token.decode("latin-1") for token in INSERTS)])
def test_any_token_can_stand_in_a_quoted_cell(tmp_path: Path, token: str) -> None:
    rows = [*TABLE, (f"a {token} b", "yes")]
    path = written(tmp_path, "a.csv", as_csv(rows))
    assert read_table(path, {"text": "text", "label": "label"})["text"].iloc[-1] == rows[-1][0]
