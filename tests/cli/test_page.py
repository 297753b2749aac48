"""`lowland report` from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland.cli.main import main
from lowland.ground.record_files import read_record, write_record, write_rows, write_stress_record
from tests.evidence.test_stress_adapters import runs as damaged_rows
from tests.report.measured_files import leave_measurements, runs_in
from tests.report.test_stress import record_of as stress_record
from tests.report.whole_studies import leave_study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=2, examples=40)


def test_a_page_is_written_and_written_again(study, tmp_path, capsys):
    assert main(["report", "runs"]) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    out = capsys.readouterr().out
    assert re.match(r"report\.html \(\d+ kB\): ", out)
    assert main(["report", "runs"]) == 0
    assert (tmp_path / "report.html").read_text("utf-8") == text


def test_the_json_inside_is_the_json_that_is_printed(study, tmp_path, capsys):
    assert main(["report", "runs", "--out", "page.html"]) == 0
    capsys.readouterr()
    assert main(["report", "runs", "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    text = (tmp_path / "page.html").read_text("utf-8")
    (inside,) = re.findall(
        r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL
    )
    assert json.loads(inside) == printed
    assert main(["report", "runs", "--out", "page.json"]) == 0
    assert json.loads((tmp_path / "page.json").read_text("utf-8")) == printed


def test_csv_is_a_folder_with_every_table(study, tmp_path, capsys):
    assert main(["report", "runs", "--out", "tables"]) == 0
    assert main(["report", "runs", "--format", "json"]) == 0
    values = json.loads(capsys.readouterr().out.partition("\n")[2])
    files = {path.stem: path for path in (tmp_path / "tables").glob("*.csv")}
    assert set(files) == set(values["tables"])
    for name, table in values["tables"].items():
        read = pd.read_csv(files[name])
        assert list(read.columns) == table["columns"]
        assert len(read) == len(table["rows"])
    row = pd.read_csv(files["differences_test"]).iloc[0]
    assert (
        row["difference"]
        == dict(
            zip(
                values["tables"]["differences_test"]["columns"],
                values["tables"]["differences_test"]["rows"][0],
                strict=True,
            )
        )["difference"]
    )


def test_csv_holds_no_formula(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave_study(
        tmp_path / "runs", ("lora",), seeds=1, examples=30, text=lambda number: f"=HYPERLINK({number})"
    )
    assert main(["report", "runs", "--format", "csv"]) == 0
    texts = pd.read_csv(tmp_path / "report-csv" / "errors.csv")["text"]
    assert len(texts)
    assert texts.str.startswith("'=HYPERLINK").all()


def test_markdown_is_printed(study, capsys):
    assert main(["report", "runs", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("# classification: ")


def test_stress_tests_and_failed_runs_are_found_among_the_runs(study, tmp_path, capsys):
    rows = damaged_rows()
    folder = study / "adapter-toy-0123456789"
    folder.mkdir()
    write_stress_record(folder, stress_record(rows, asked={"eval": "adapter"}))
    write_rows(
        folder, rows.assign(**dict.fromkeys(("topic", "prompt", "gold", "reply", "language", "edits"), ""))
    )
    failed = next(study.glob("toy-full-s2-*"))
    record = read_record(failed)
    write_record(failed, type(record)(**{**vars(record), "status": "failed", "failure": "ValueError: NaN"}))
    assert main(["report", "runs"]) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Damaged texts" in text
    assert "1 run failed (full seed 2)" in text
    assert main(["report", str(folder), "--out", "stress.html"]) == 0
    assert "Scores on damaged texts" in capsys.readouterr().out


def test_the_browser_is_asked_for(study, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or len(opened) == 1)
    assert main(["report", "runs", "--open"]) == 0
    assert re.fullmatch(r"file:///.*/report\.html", opened[0])
    capsys.readouterr()
    assert main(["report", "runs", "--open"]) == 0
    assert "No browser was found; open file:///" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "empty holds no finished run; lowland study ls empty says what it holds"),
        (
            ["runs", "empty"],
            "empty holds no runs and no stress tests; leave it out, and name measurements by",
        ),
        (["runs", "--out", "page.docx"], "out is page.docx, whose ending names no form"),
        (["runs", "--out", "no/page.html"], "no/page.html cannot be written: the folder no does not exist"),
        (
            ["runs", "--out", "runs", "--format", "html"],
            "runs is a folder; name a file to write, such as runs/report.html",
        ),
        (["runs", "--out", "runs"], "runs exists; name another place with --out, or add --replace"),
        (
            ["runs", "--out", "notes.html"],
            "notes.html exists; name another place with --out, or add --replace",
        ),
        (["runs", "--out", "LICENSE", "--format", "csv"], "LICENSE is a file; name a folder"),
        (
            ["runs", "--out", "page.html", "--format", "csv"],
            "format is csv, and page.html is named like html",
        ),
        (["runs", "--out", "-"], "out is -; to print a report"),
        (
            ["runs", "--open", "--format", "md"],
            "open is given, and the form is md; only html opens in a browser",
        ),
        (["runs", "--format", "pdf"], "unknown form 'pdf'; Allowed: html, md, json, csv"),
        (["runs", "--reference", "lroa"], "unknown method 'lroa'; did you mean 'lora'?"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(study, tmp_path, capsys, words, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.html").write_text("mine")
    (tmp_path / "LICENSE").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["report", *words]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "notes.html").read_text() == "mine"


def test_what_is_no_report_is_replaced_if_asked_for(study, tmp_path):
    (tmp_path / "notes.html").write_text("mine")
    assert main(["report", "runs", "--out", "notes.html", "--replace"]) == 0
    assert "<!doctype html>" in (tmp_path / "notes.html").read_text("utf-8")


def test_demo_ends_with_its_page(lowland: Run, tmp_path: Path, tiny_model: Path) -> None:
    options = (
        "--model",
        str(tiny_model),
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--max-train",
        "30",
        "--rank",
        "2",
    )
    code, out, err = lowland("demo", *options, "--out", str(tmp_path / "runs"), small=False)
    assert code == 0, err
    page = tmp_path / "runs" / "report.html"
    assert out.splitlines()[-1].startswith(f"{page} (")
    for command in ("report", "errors"):
        assert f"lowland {command} {tmp_path}/runs/financial-demo-*" in out
    assert "lowland predict " in out
    text = page.read_text("utf-8")
    assert all(method in text for method in ("full", "lora", "flat-lora", "bag-of-words"))
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_file()] == ["report.html"]


def test_tables_of_an_earlier_page_are_replaced_and_other_files_are_kept(tmp_path: Path) -> None:
    folders = sorted(leave_study(tmp_path / "runs", seeds=2, examples=40).iterdir())
    out = tmp_path / "tables"
    assert main(["report", *map(str, folders), "--out", str(out)]) == 0
    first = {path.name for path in out.glob("*.csv")}
    (out / "mine.csv").write_text("a,b\n")
    alone = [str(folder) for folder in folders if read_record(folder).method == "lora"]
    assert main(["report", *alone, "--out", str(out), "--replace"]) == 0
    second = {path.name for path in out.glob("*.csv")}
    assert "mine.csv" in second
    assert second - {"mine.csv"} < first
    assert set((out / "tables.txt").read_text().split()) == second - {"mine.csv"}


@pytest.fixture
def measured(study: Path, tmp_path: Path) -> list[str]:
    """Measurements of the study, by path."""
    return [str(path) for path in leave_measurements(tmp_path / "measured", runs_in(study))]


def test_measurements_stand_in_a_page_of_their_runs(study, measured, tmp_path, capsys):
    assert main(["report", "runs", *measured]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("report.html (")
    assert out[1] == "report-surface.html: the planes of the loss, to be turned"
    text = (tmp_path / "report.html").read_text("utf-8")
    for title in ("Flatness", "Curvature", "Slices", "Adapters"):
        assert f'<a href="#{title.lower()}">{title}</a>' in text
    assert '<a href="report-surface.html">' in text
    assert '<a href="report.html">' in (tmp_path / "report-surface.html").read_text("utf-8")
    assert main(["report", "runs", *measured]) == 0  # both files are lowland's, and are replaced


def test_measurements_stand_in_every_form(study, measured, tmp_path, capsys):
    assert main(["report", "runs", *measured, "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "## Flatness\n" in text
    assert "## Adapters\n" in text
    assert main(["report", "runs", *measured, "--format", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    names = {
        "sharpness_full_test",
        "curvature_full",
        "density",
        "barriers",
        "plane_1",
        "adapters_by_layer",
        "drift",
    }
    assert names < set(values["tables"])
    assert main(["report", "runs", *measured, "--format", "csv"]) == 0
    files = {path.stem for path in (tmp_path / "report-csv").glob("*.csv")}
    assert files == set(values["tables"])
    assert not list(tmp_path.glob("*surface*"))


def test_measurements_make_a_page_without_their_runs(study, measured, tmp_path, capsys):
    assert main(["report", *measured, "--out", "measured.html"]) == 0
    out = capsys.readouterr().out
    assert "Measured at the weights of 4 runs: flatness, curvature, slices and adapters." in out
    assert (tmp_path / "measured-surface.html").is_file()
    assert main(["report", measured[0], "--reference", "full", "--format", "md"]) == 0
    assert "between lora and full" in capsys.readouterr().out


def test_without_planes_there_is_no_second_file(study, measured, tmp_path):
    assert main(["report", "runs", *measured[:3]]) == 0
    assert not (tmp_path / "report-surface.html").exists()
    assert "report-surface" not in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["RUNS", "notes.csv"], "notes.csv is no measurement; give files that lowland measure"),
        (["RUNS", "gone.parquet"], "gone.parquet does not exist; name a file that lowland measure"),
        (
            ["ONE", "measured/sharpness.parquet"],
            "which is not among the runs of this page; name its folder, too",
        ),
        (["ONE", "measured/slices"], "measured/slices measures toy-full-s"),
        (["measured/adapters.csv", "--reference", "lroa"], "unknown method 'lroa'; did you mean 'lora'?"),
        (["RUNS", "measured/slices", "--out", "mine.html"], "mine-surface.html exists; name another place"),
    ],
)
def test_mistakes_about_measurements_leave_nothing(study, measured, tmp_path, capsys, words, sentence):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine-surface.html").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    places = {"RUNS": "runs", "ONE": str(next(study.glob("toy-lora-s1-*")))}
    assert main(["report", *(places.get(word, word) for word in words)]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "mine-surface.html").read_text() == "mine"
