"""`lowland behave` from the command line, on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stress.behaviour.toy import SUITE, write_suite


@pytest.fixture
def arguments(lowland: Callable[..., tuple], tmp_path: Path) -> list[str]:
    """The command for a trained run and a small suite."""
    assert lowland("train", "--method", "lora", "--seed", "1", "--epochs", "1")[0] == 0
    suite = write_suite(tmp_path)
    return ["behave", str(tmp_path / "runs"), "--suite", str(suite), "--out", str(tmp_path / "out")]


def test_a_suite_is_asked_reported_and_looked_after(
    lowland: Callable[..., tuple], arguments: list[str], tmp_path: Path
) -> None:
    code, out, err = lowland(*arguments, "--report", str(tmp_path / "report.md"))
    assert code == 0, err
    assert "Suite toy, firms that gain and lose: 36 cases of 3 tests, from 8 templates; 1 seed." in out
    (folder,) = (tmp_path / "out").glob("behaviour-toy-*")
    assert f"The rows are in {folder}" in out
    assert (tmp_path / "report.md").read_text().strip() in out
    code, out, err = lowland(*arguments, "--json")
    assert "found, 36 answers" in err
    assert json.loads(out)["suite"] == "toy"
    code, out, _ = lowland("stress", "report", str(folder))
    assert (code, out.startswith("# behaviour: ")) == (0, True)
    assert "Suite toy" in out
    code, out, _ = lowland("study", "ls", str(tmp_path / "out"))
    assert (code, "stress behaviour" in out) == (0, True)
    assert lowland("study", "show", str(folder))[0] == 0
    assert lowland("study", "rm", str(folder))[0] == 2
    assert lowland("study", "rm", str(folder), "--yes")[0] == 0
    assert not folder.exists()


def test_mistakes_are_sentences_and_exit_code_2(
    lowland: Callable[..., tuple], arguments: list[str], tmp_path: Path
) -> None:
    write_suite(tmp_path, SUITE.replace("invariance", "invarience").replace("{who} wins", "{whom} wins"))
    code, _, err = lowland(*arguments)
    first, second = err.splitlines()
    assert code == 2
    assert "test 'verbs': unknown slot 'whom'; did you mean 'who'?" in first
    assert "test 'names': unknown kind 'invarience'; did you mean 'invariance'?" in second
    code, _, err = lowland(
        *arguments[:2], "--suite", "finance", "--limit", "0", "--out", str(tmp_path / "out")
    )
    assert (code, "limit is 0; it must be at least 1" in err) == (2, True)
    assert not (tmp_path / "out").exists()
