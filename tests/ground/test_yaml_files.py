"""Reading YAML: every mistake names the file and the line, in words of lowland's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.ground.mistakes import Mistake
from lowland.ground.yaml_files import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"count: 3\nname: [", r"cannot be read as YAML: .*, in line 2, column 8$"),
        (b"a: 1\n\tb: 2", r"cannot be read as YAML: .*, in line 2, column 1$"),
        (b"a: 1\nb: x\x07", r"cannot be read as YAML: remove '\\x07' from line 2$"),
        (b"a: 1\nb: 2\na: 3", r", line 3: the key 'a' occurs twice in one mapping; remove one$"),
        (b"a:\n  b: 1\n  c: 2\n  b: 3", r", line 4: the key 'b' occurs twice in one mapping; remove one$"),
        (b"a: 1\nname: gr\xfcn", r"is not UTF-8 in line 2; save it as UTF-8$"),
        ("a: 1".encode("utf-16"), r"is not UTF-8 in line 1; save it as UTF-8$"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(Mistake, match=rf"^the order {path}.*{sentence}") as caught:
        read_yaml(path, "order")
    assert "<unicode string>" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"the order .* is a folder; name a file$"):
        read_yaml(tmp_path, "order")
    with pytest.raises(Mistake, match=r"the order .*b\.yaml does not exist$"):
        read_yaml(tmp_path / "b.yaml", "order")


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("\ufeffcount: 3\n", encoding="utf-8")  # with the mark that some editors write
    assert read_yaml(path, "order") == {"count": 3}
    assert parse_yaml("a: &x {k: 1}\nb: {<<: *x, k: 2}", "it")["b"] == {"k": 2}
