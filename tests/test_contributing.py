"""The snippets of CONTRIBUTING.md are short, and the rows that they add work like any other row."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowland.models.source import ModelSource
from lowland.tasks import table
from lowland.tasks.examples import TaskData
from lowland.text import corruptions
from lowland.train import methods
from tests.conftest import table_of
from tests.train.runs import run

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
MOST_LINES = 15


def snippet(title: str) -> str:
    """The Python of a section."""
    text = CONTRIBUTING.read_text("utf-8")
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return code


def add_row(monkeypatch: pytest.MonkeyPatch, rows: dict[str, Any], title: str) -> str:
    """Run a section's snippet, and return the name of the row that it added; it is removed after the test."""
    for name in rows:
        monkeypatch.setitem(rows, name, rows[name])
    before = set(rows)
    exec(compile(snippet(title), CONTRIBUTING.name, "exec"), {"__name__": "contributing"})
    (name,) = set(rows) - before
    row = rows.pop(name)
    monkeypatch.setitem(rows, name, row)
    return name


@pytest.mark.parametrize("title", ["Add a task", "Add a method", "Add a corruption"])
def test_every_snippet_is_short(title: str) -> None:
    assert len(snippet(title).splitlines()) <= MOST_LINES


def test_a_task(lowland: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = add_row(monkeypatch, table.TASKS, "Add a task")
    rows = table_of(2)
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{label}\t{text}\n" for text, label in rows[["text", "label"]].to_numpy()))
    data = table.load_data(table.task_fields(name, data=str(path)))
    assert data.label_names == ("bad", "good")
    assert sum(len(split) for split in data.splits.values()) == len(rows)
    code, out, err = lowland("train", "--task", name, "--data", str(path), "--epochs", "1")
    assert code == 0, err
    assert "accuracy" in out
    assert name in lowland("tasks")[1]


def test_a_method(
    lowland: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch, data: TaskData, source: ModelSource
) -> None:
    """The method trains only the layer norms and the head."""
    name = add_row(monkeypatch, methods.METHODS, "Add a method")
    trained = run(name, data, source, epochs=8, lr=0.05)
    assert trained.losses[-1] < trained.losses[0]
    learns = {key for key, value in trained.fitted.adapted.model.named_parameters() if value.requires_grad}
    assert {key for key in learns if "LayerNorm" not in key} <= {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    }
    assert {"classifier.weight", "bert.embeddings.LayerNorm.weight"} <= learns
    assert name in lowland("methods")[1]
    with pytest.raises(methods.Mistake, match=f"flat.{name}' cannot be used"):
        methods.method_named(f"flat+{name}")
    assert methods.method_named(f"neftune+{name}").prefixes == ("neftune",)


def test_a_corruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = add_row(monkeypatch, corruptions.CORRUPTIONS, "Add a corruption")
    (clean,) = re.findall(rf'corrupt\("([^"]*)", "{name}"', snippet("Add a corruption"))
    damaged = capsys.readouterr().out.strip()
    assert damaged != clean
    corrupted = corruptions.corrupt(clean, name, "heavy", seed=0)
    assert corrupted.text == damaged
    assert {edit.kind for edit in corrupted.edits} == {name}
