"""Tables of every form, as users have them: compressed, with other separators, with long cells, without a header."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.forms import FORMS, read_form
from lowland.tasks.readers.tables import read_columns, read_table

WANTED = {"text": "text", "label": "label"}
CSV = "text,label\nsales rose,good\n\nsales fell,bad\n"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems_of(path: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        read_table(path, WANTED, **options)
    return caught.value.problems


def zipped(content: bytes) -> bytes:
    import io

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("data.csv", content)
    return memory.getvalue()


def zstandard(content: bytes) -> bytes:
    compressed: bytes = pytest.importorskip("zstandard").compress(content)
    return compressed


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zip", zipped),
        (".zst", zstandard),
    ],
)
def test_a_compressed_file_is_read(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    path = written(tmp_path, f"data.csv{ending}", compress(CSV.encode()))
    assert list(read_table(path, WANTED)["label"]) == ["good", "bad"]
    damaged = written(tmp_path, f"damaged.csv{ending}", compress(CSV.encode())[:-9])
    (problem,) = problems_of(damaged)
    assert problem.startswith(f"{damaged} cannot be decompressed")


def test_a_truncated_archive_is_never_read_in_part(tmp_path: Path) -> None:
    import random

    letters = random.Random(0).choices("abcdefgh", k=1_000_000)
    content = b"text,label\n" + b"".join(f"{letter * 3},x\n".encode() for letter in letters)
    for ending, compress in ((".gz", gzip.compress), (".zst", zstandard), (".xz", lzma.compress)):
        compressed = compress(content)
        path = written(tmp_path, f"data.csv{ending}", compressed[: len(compressed) // 2])
        assert "cannot be decompressed" in problems_of(path)[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_recognised_by_the_first_line(tmp_path: Path, separator: str) -> None:
    lines = [["id", "text", "label"], ["1", '"rose, or fell; or | neither"', "good"], ["2", "x", "bad"]]
    path = written(tmp_path, "data.csv", "".join(separator.join(line) + "\n" for line in lines))
    assert list(read_table(path, WANTED)["text"]) == ["rose, or fell; or | neither", "x"]


def test_a_separator_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", "text~label\na, b; c~good\nd~bad\n")
    assert list(read_table(path, WANTED, separator="~")["text"]) == ["a, b; c", "d"]
    (problem,) = problems_of(written(tmp_path, "semi.csv", "text;label\na; b;good\n"))
    assert "line 2: 3 fields, where the first line has 2; the fields are separated by semicolons" in problem


def test_a_cell_may_be_a_long_document(tmp_path: Path) -> None:
    import csv

    limit = csv.field_size_limit()
    path = written(tmp_path, "data.csv", f'text,label\n"{"word " * 40_000}",good\n')
    assert len(read_table(path, WANTED)["text"][0]) == 200_000
    assert csv.field_size_limit() == limit


def test_a_json_array_is_read_under_either_ending(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0, "more": [1]}]
    for name in ("data.json", "data.jsonl"):
        path = written(tmp_path, name, "  " + json.dumps(rows, indent=1))
        assert list(read_table(path, WANTED)["text"]) == ["a", "b"]
    assert "row 2: expected an object" in problems_of(written(tmp_path, "bad.json", '[{"text": "a"}, 3]'))[0]
    assert "cannot be read as a JSON array" in problems_of(written(tmp_path, "cut.json", '[{"text": "a"}'))[0]
    deep = written(tmp_path, "deep.json", "[" * 100_000)
    assert "cannot be read as a JSON array" in problems_of(deep)[0]


def test_xlsx_is_read(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    path = tmp_path / "data.xlsx"
    pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}).to_excel(path, index=False)
    assert list(read_table(path, WANTED)["text"]) == ["a", "b"]
    table = read_table(path, {"text": "1", "label": "1"} | {"label": "2"}, header=False)
    assert list(table["text"]) == ["text", "a", "b"]
    assert "cannot be read as .xlsx" in problems_of(written(tmp_path, "junk.xlsx", b"junk"))[0]


@pytest.mark.parametrize("form", [".csv", ".tsv"])
def test_a_file_without_a_header_has_numbered_columns(tmp_path: Path, form: str) -> None:
    separator = "," if form == ".csv" else "\t"
    rows = [("sales rose", "good"), ("sales fell", "bad"), ("sales doubled", "good")]
    path = written(tmp_path, f"data{form}", "".join(f"{separator.join(row)}\n" for row in rows))
    table = read_table(path, {"text": "1", "label": "2"}, header=False)
    assert list(zip(table["text"], table["label"], strict=True)) == rows
    with pytest.raises(Mistake, match=r"add --no-header and name columns by number"):
        read_table(path, WANTED)
    with pytest.raises(Mistake, match=r"seems to have no header: its first line .* holds the label 'good'"):
        read_table(path, {"text": "sales rose", "label": "good"})


def test_a_repeated_header_is_not_taken_for_data(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", "text,label\na,good\ntext,label\nb,bad\n")
    assert len(read_table(path, WANTED)) == 3


def test_all_problems_of_cells_come_at_once_with_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "data.csv", 'text,label\n"two\nlines",good\n\n ,bad\nx,\n,\n')
    assert problems_of(path) == (
        f"{path} has 2 rows without a text, the first is line 5; fill them in or remove them",
        f"{path} has 2 rows without a label, the first is line 6; fill them in or remove them",
    )


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ([{"role": "user", "content": "hi"}], "a list"),
        ({"role": "user"}, "an object"),
        ([1, 2], "a list"),
        (7, "a number"),
        (True, "a truth value"),
    ],
)
def test_a_cell_that_is_not_text_is_refused_by_its_line(tmp_path: Path, cell: object, kind: str) -> None:
    rows = [{"text": "a", "label": "x"}, {"text": cell, "label": "y"}, {"text": cell, "label": "y"}]
    path = written(tmp_path, "data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert problems_of(path) == (f"{path}, line 2: the text is {kind}; it must be text (2 rows of the kind)",)
    with pytest.raises(Mistake, match=f"the text is {kind}"):
        read_columns(path, {"text": "text"})


@pytest.mark.parametrize("cell", [["a"], {"a": 1}, b"a", np.array([1, 2]), float("inf")])
def test_a_cell_that_cannot_be_a_label_is_refused(tmp_path: Path, cell: object) -> None:
    path = tmp_path / "data.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [cell, cell]}).to_parquet(path)
    (problem,) = problems_of(path)
    assert "row 1: the label is" in problem


def test_bytes_are_not_taken_for_text(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pd.DataFrame({"text": [b"a", b"b"], "label": [0, 1]}).to_parquet(path)
    assert problems_of(path) == (f"{path}, row 1: the text is bytes; it must be text (2 rows of the kind)",)


@pytest.mark.parametrize("role", ["text", "label"])
def test_half_of_a_character_is_refused_by_its_line(tmp_path: Path, role: str) -> None:
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y", role: "cut \ud83d"}]
    path = written(tmp_path, "data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}, line 2: the {role} holds half of a character")


def test_every_form_is_known() -> None:
    assert len(set(FORMS)) == 6
    with pytest.raises(Mistake, match="unknown ending"):
        read_form(Path("data.docx"))
