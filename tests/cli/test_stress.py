"""`lowland stress …` from the command line, on a fake Messages API on loopback."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lowland.cli.main import main
from lowland.ground.record_files import read_rows, read_stress_record
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, items_file, own_machine  # noqa: F401 - a fixture

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]
MODEL = "anthropic/claude-sonnet-5"


def capital_of(text: str) -> str:
    """Answer with the capital of France or Japan, and otherwise with "None"."""
    return next(
        (city for country, city in (("France", "Paris"), ("Japan", "Tokyo")) if country in text), "None"
    )


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """The command of a small messy test."""
    command = ["stress", "messy", "--items", str(items_file(tmp_path)), "--out", str(tmp_path / "runs")]
    command += ["--corruptions", "casing", "--levels", "heavy", "--mitigations", "none", "--epochs", "2"]
    return command


def run_of(folder: Path) -> Path:
    (run,) = (folder / "runs").glob("messy-*")
    return run


def test_a_stress_test_is_run_once_reported_and_found_again(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MessagesAPI(answer=capital_of) as api:
        command = [
            *arguments,
            "--model",
            MODEL,
            "--base-url",
            api.url,
            "--report",
            str(tmp_path / "story.md"),
        ]
        assert main(command) == 0
        assert len(api.bodies) == 4 * 2 * 2  # items, conditions, epochs
        assert main([*command, "--replace"]) == 0
        assert len(api.bodies) == 16
    run = run_of(tmp_path)
    assert read_stress_record(run).counts == {"expected": 16, "scored": 16, "failed": 0}
    out = capsys.readouterr().out
    assert f"The rows are in {run}" in out
    assert "casing" in out
    assert (tmp_path / "story.md").read_text().startswith("# messy: anthropic/claude-sonnet-5")
    rows = read_rows(run)
    assert set(rows.loc[rows["score"] == 1.0, "item"]) <= {"capital-france", "capital-japan"}
    assert rows.loc[(rows["condition"] == "clean") & (rows["item"] == "capital-japan"), "score"].eq(1.0).all()


def test_a_run_that_is_not_complete_exits_with_1_and_goes_on(arguments: list[str], tmp_path: Path) -> None:
    with MessagesAPI(answer=capital_of) as api:
        command = [*arguments, "--model", MODEL, "--base-url", api.url]
        assert main([*command, "--max-requests", "5"]) == 1
        assert read_stress_record(run_of(tmp_path)).status == "incomplete"
        assert main(command) == 0
        assert len(api.bodies) == 16


def test_the_way_from_a_sheet_to_rated_rows(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MessagesAPI(answer=capital_of) as api:
        assert main([*arguments, "--model", MODEL, "--base-url", api.url]) == 0
    run, path = run_of(tmp_path), tmp_path / "ratings.csv"
    assert main(["stress", "report", str(run.parent)]) == 0  # the folder that holds the tests
    assert main(["stress", "sheet", str(run), "--count", "6", "--out", str(path)]) == 0
    assert main(["stress", "sheet", str(run), "--out", str(path)]) == 2  # it may hold ratings
    merge = ["stress", "merge-back", str(path), "--runs", str(run), "--out", str(tmp_path / "rated.csv")]
    assert main(merge) == 2  # nobody has rated
    sheet = pd.read_csv(path)
    assert len(sheet) == 6
    sheet.assign(fluency=[1, 2, 3, 4, 5, 3]).to_csv(path, index=False)
    capsys.readouterr()
    assert main(merge) == 0
    out = capsys.readouterr().out
    assert "fluency 6" in out
    assert MODEL in out
    rated = pd.read_csv(tmp_path / "rated.csv")
    assert sorted(rated["fluency"]) == [1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["messy", "--corruptions", "typo"], "did you mean 'typos'"),
        (["messy", "--levels", "3"], "level is 3"),
        (["messy", "--extra-body", "[1]"], "extra_body is [1]; it must be JSON such as"),
        (["messy", "--model", "claude"], "model is 'claude'; it must be provider/name"),
        (["messy", "--model", "gemma-3-270m"], "it must be provider/name: lowland/gemma-3-270m"),
        (["messy", "--model", "lowland/oracle"], "model oracle cannot be loaded"),
        (["messy", "--temperature", "3"], "temperature is 3; it must be in [0, 2]"),
        (["multilingual", "--languages", "klingon"], "unknown language 'klingon'"),
        (["adapter", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere does not exist; name the folder of a run"),
        (["report", __file__], "is a file; name the folder of a run"),
        (["merge-back", "nowhere.csv", "--runs", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stress", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "lowland.cli.verbs.find_spec", lambda name: None if name == "inspect_ai" else object()
    )
    assert main(["stress", "messy"]) == 2
    assert 'need inspect_ai; install with pip install "lowland[stress]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["messy", "--report", "nowhere/story.md"],
        ["adapter", "run", "--report", "nowhere/story.md"],
        ["report", "run", "--out", "nowhere/story.md"],
        ["sheet", "run", "--out", "nowhere/sheet.csv"],
        ["merge-back", "sheet.csv", "--runs", "run", "--out", "nowhere/rated.csv"],
    ],
)
def test_an_unwritable_output_is_reported_before_anything_is_asked(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stress", *options]) == 2
    assert "the folder nowhere does not exist; make it first" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["messy", "--report", "old.md"],
        ["report", "run", "--out", "old.md"],
        ["merge-back", "sheet.csv", "--runs", "run", "--out", "old.md"],
    ],
)
def test_a_file_that_exists_is_kept_unless_it_may_be_replaced(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "old.md").write_text("mine")
    assert main(["stress", *options]) == 2
    assert f"old.md exists; name another file with {options[-2]}, or add --replace" in capsys.readouterr().err
    assert (tmp_path / "old.md").read_text() == "mine"


def test_ratings_are_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress", "merge-back", "a.csv", "--runs", "run", "--out", "./a.csv"]) == 2
    assert "which holds the ratings" in capsys.readouterr().err
