"""`lowland report A B`: one study, or several beside each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lowland.cli.main import main
from lowland.ground.record_files import read_record
from tests.report.running_studies import change
from tests.report.whole_studies import leave_study


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two studies, `a` and `b`, which differ in a learning rate."""
    monkeypatch.chdir(tmp_path)
    for name, lr in (("a", 1e-4), ("b", 2e-4)):
        leave_study(
            tmp_path / name, ("lora", "full"), seeds=2, examples=40, steps=6, settings={"lora": {"lr": lr}}
        )
    return tmp_path


def title(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["report", *words, "--format", "json"]) == 0
    return str(json.loads(capsys.readouterr().out)["title"])


def test_two_studies_stand_beside_each_other_in_every_form(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert title(capsys, "a", "b") == "2 studies: a and b"
    assert main(["report", "a", "b"]) == 0
    assert "2 studies: a and b" in (roots / "report.html").read_text("utf-8")
    assert main(["report", "a", "b", "--format", "md"]) == 0
    assert main(["report", "a", "b", "--format", "csv"]) == 0
    assert (roots / "report-csv" / "differences_between_b_and_a.csv").is_file()


def test_runs_that_are_named_one_by_one_are_grouped_by_folder(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(path) for path in (*(roots / "a").iterdir(), *(roots / "b").iterdir())]
    assert title(capsys, *words) == "2 studies: a and b"


def test_folders_of_equal_names_are_told_apart(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (roots / "x").mkdir()
    shutil.move(roots / "b", roots / "x" / "a")
    assert title(capsys, "a", "x/a") == f"2 studies: {roots.name}/a and x/a"


def test_shares_of_one_study_are_one_study(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(roots / "b")
    (roots / "b").mkdir()
    for path in (roots / "a").glob("*-s2-*"):
        shutil.move(path, roots / "b")
    assert title(capsys, "a", "b").startswith("classification: ")


def test_a_run_of_one_study_in_two_folders_is_a_mistake(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(roots / "b")
    shutil.copytree(roots / "a", roots / "b")
    shutil.rmtree(next((roots / "b").glob("*-full-s2-*")))
    assert main(["report", "a", "b"]) == 2
    err = capsys.readouterr().err
    assert "hold runs of one study, and both hold toy-" in err
    assert len(err.splitlines()) == 1


def test_the_same_study_of_another_version_is_another_study(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(roots / "b")
    shutil.copytree(roots / "a", roots / "b")
    for path in (roots / "b").iterdir():
        change(path, key=read_record(path).key[::-1], code={"lowland": "0.2.0", "source_sha256": "beef"})
    assert main(["report", "a", "b", "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "0.2.0" in out
    assert "identical" in out


def test_the_reference_is_that_of_the_studies_that_have_it(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "a", "b", "--reference", "full", "--format", "md"]) == 0
    assert "Differences from full" in capsys.readouterr().out
    assert main(["report", "a", "b", "--reference", "fll"]) == 2
    assert "unknown method 'fll'; did you mean 'full'?" in capsys.readouterr().err


@pytest.mark.parametrize("second", ["a", "./a/", "link"])
def test_a_study_that_is_named_twice_is_a_mistake(
    roots: Path, capsys: pytest.CaptureFixture[str], second: str
) -> None:
    (roots / "link").symlink_to(roots / "a")
    assert main(["report", "a", second]) == 2
    assert "a is named twice; name each folder once" in capsys.readouterr().err


def test_a_folder_with_two_tasks_is_named(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((roots / "b").iterdir())
    change(path, asked={**read_record(path).asked, "task": {"name": "mrpc"}})
    assert main(["report", "a", "b"]) == 2
    assert f"{roots / 'b'}: the runs are of 2 tasks" in capsys.readouterr().err
