"""`lowland report --watch` from the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lowland.cli.main import main
from lowland.cli.watch import Follower
from lowland.ground.study_notes import PlannedRun
from tests.cli.test_main import restore_ctrl_c
from tests.report.running_studies import at_work, change, leave_note, planned, unfinish
from tests.report.whole_studies import leave_study


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=2, examples=40, steps=6)


def verdict_in(text: str) -> str:
    (sentence,) = re.findall(r'class="verdict">(.*?)</p>', text)
    return str(sentence)


def status_in(text: str) -> str:
    (sentence,) = re.findall(r'class="live" role="status">(.*?)</p>', text)
    return str(sentence)


def test_it_follows_a_study_from_before_its_folder_is_there_to_its_report(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "runs")
    assert "does not exist yet" in verdict_in(follower.look())
    root = leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=2, examples=40, steps=6)
    plans = [planned(path) for path in sorted(root.iterdir())]
    last = next(root.glob("toy-full-s2-*"))
    aside = last.rename(tmp_path / "aside")
    with at_work(root, [], plans):
        text = follower.look()
        assert "3 of 4 runs are done: 1 waiting" in verdict_in(text)
        assert "full and lora" not in text
        aside.rename(last)
        assert "4 of 4 runs are done" in verdict_in(follower.look())
    text = follower.look()
    assert "The study has ended" in status_in(text)
    assert "Run it again" in text
    assert "difference" in verdict_in(text)
    assert not (root / ".studies").exists()


def test_a_killed_study_has_no_verdict(root: Path) -> None:
    plans = [
        *(planned(path) for path in sorted(root.iterdir())),
        PlannedRun("toy-dora-s1-0123456789", "dora", 1),
    ]
    leave_note(root, plans, "2020-01-01T00:00:00+00:00")
    text = Follower(root).look()
    assert verdict_in(text) == "The study stopped before its end: 4 of 5 runs are done, 1 not begun."
    assert "Run it again" not in text


def test_nothing_is_drawn_again_if_nothing_happened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(root)
    text = follower.look()
    monkeypatch.setattr("lowland.cli.watch.render_html", lambda *_: pytest.fail("drawn again"))
    assert follower.look() is text


def test_runs_that_cannot_be_reported_keep_their_list(root: Path) -> None:
    (next(root.glob("toy-lora-s1-*")) / "record.json").write_text("{")
    text = Follower(root).look()
    assert "the runs cannot be reported" in status_in(text)
    assert "3 of 4 runs are done" in verdict_in(text)
    (next(root.glob("toy-lora-s1-*")) / "record.json").unlink()
    (next(root.glob("toy-full-s1-*")) / "predictions.parquet").write_bytes(b"damaged")
    assert "predictions.parquet is missing or damaged" in status_in(Follower(root).look())


def test_a_folder_that_vanishes_is_waited_for(root: Path, tmp_path: Path) -> None:
    follower = Follower(root)
    follower.look()
    root.rename(tmp_path / "elsewhere")
    assert "does not exist yet" in verdict_in(follower.look())


def test_a_folder_that_cannot_be_read_for_a_moment_keeps_its_page(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(root)
    text = follower.look()

    def fail(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("lowland.cli.watch.read_state", fail)
    assert follower.look() is text


def test_a_run_that_stopped_is_reported_with_a_warning(root: Path) -> None:
    unfinish(next(root.glob("toy-full-s2-*")), since=5)
    change(next(root.glob("toy-full-s1-*")), status="failed", failure="ValueError: NaN")
    text = Follower(root).look()
    assert "The study has ended" in status_in(text)
    assert "Beware: 1 run failed (full seed 1) and 1 run did not finish" in text


def test_the_command_serves_until_it_is_interrupted(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lowland", "report", "--watch", str(root)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, preexec_fn=restore_ctrl_c, **pipes)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[0]
        assert line == f"{url} follows {root}; Ctrl-C ends it\n"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert "The study has ended" in status_in(answer.read().decode())
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (130, "lowland: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_the_browser_is_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)))
    monkeypatch.setattr("lowland.cli.watch.time.sleep", stop)
    assert main(["report", "--watch", str(root), "--open"]) == 130
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])
    assert f"No browser was found; open {opened[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["s3://bucket/runs"],
            "watch is given, and s3://bucket/runs is a URL; only a folder of this machine",
        ),
        (["runs", "more"], "watch follows one folder, and 2 are given; name the one that holds the runs"),
        (["file"], "file is a file; name the folder of runs to follow"),
        (["runs", "--out", "x.html"], "watch serves a page and writes no file; leave --out out"),
        (["runs", "--format", "md"], "watch serves a page and writes no file; leave --format out"),
        (["runs", "--out", "x", "--replace"], "leave --out and --replace out"),
        (["runs", "--port", "70000"], "port is 70000; it must be"),
        (["runs", "--port", "http"], "port is"),
    ],
)
def test_mistakes_are_sentences(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["report", "--watch", *words]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_run_alone_and_a_port_alone_are_mistakes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = next(iter(root.iterdir()))
    assert main(["report", "--watch", str(run)]) == 2
    assert f"is a run; name the folder that holds it, {root}" in capsys.readouterr().err
    assert main(["report", str(root), "--port", "80"]) == 2
    assert "port is given without watch; add --watch" in capsys.readouterr().err
