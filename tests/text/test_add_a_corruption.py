"""The section "Add a corruption" of CONTRIBUTING.md: its code is short, and it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lowland.text import corruptions

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
SECTION = re.compile(r"^## Add a corruption\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
MOST_LINES = 15


def test_the_code_adds_a_corruption_and_uses_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = SECTION.search(CONTRIBUTING.read_text("utf-8"))
    if section is None:
        pytest.skip("CONTRIBUTING.md has no section 'Add a corruption'")
    (code,) = re.findall(r"```python\n(.*?)```", section[1], flags=re.DOTALL)
    assert len(code.splitlines()) <= MOST_LINES
    rows = dict(corruptions.CORRUPTIONS)
    monkeypatch.setattr(corruptions, "CORRUPTIONS", rows)
    before = set(rows)

    exec(compile(code, CONTRIBUTING.name, "exec"), {"__name__": "contributing"})

    (name,) = set(rows) - before
    (clean,) = re.findall(rf'corrupt\("([^"]*)", "{name}"', code)
    damaged = capsys.readouterr().out.strip()
    assert damaged != clean
    corrupted = corruptions.corrupt(clean, name, "heavy", seed=0)
    assert corrupted.text == damaged
    assert {edit.kind for edit in corrupted.edits} == {name}
