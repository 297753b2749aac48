"""Progress of a study: runs done, running and failed, the best method so far, and the time left."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowland.ground import progress as ground
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record, write_record
from lowland.study import progress as module
from lowland.study.messages import Began, Moved
from lowland.study.plan import plan
from lowland.study.progress import StudyProgress, TrialsProgress
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.train.job import Job


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(ground, "time", clock)
    return clock


@pytest.fixture
def study(tmp_path: Path, texts: Path, tiny_model: Path) -> tuple[list[Job], list[Path]]:
    """The jobs of a small study, and the folders of their runs."""
    recipe = Recipe(
        task={"name": "classification", "data": str(texts)},
        model=str(tiny_model),
        methods=["lora", {"flat-lora": {"label": "flat"}}],
        seeds=[1, 2],
        epochs=1,
        rank=2,
        dtype="fp32",
        keep_weights=False,
        out=str(tmp_path / "runs"),
    )
    return plan(recipe), run_study(recipe)


def changed(folder: Path, place: Path, **changes: Any) -> Path:
    """A folder with the record of another, changed."""
    place.mkdir()
    write_record(place, replace(read_record(folder), **changes))
    return place


def test_a_study_counts_runs_and_names_the_best_method_on_validation_data(
    study: tuple[list[Job], list[Path]], clock: Clock, tmp_path: Path
) -> None:
    jobs, folders = study
    stream = io.StringIO()
    with StudyProgress(jobs, 2, Progress(stream)) as progress:
        progress.began(0)
        progress.began(1)
        assert progress.summary() == "2 running"
        clock.now = 40.0
        progress.ended(0, changed(folders[0], tmp_path / "a", validation={"accuracy": 0.5}))
        assert (
            progress.summary() == "1 running; best so far: lora, validation accuracy 0.500"
        )  # flat takes its own time
        progress.ended(1, changed(folders[1], tmp_path / "b", validation={"accuracy": 0.75}))
        progress.take(Began(2))
        assert progress.summary().startswith("1 running; best so far: flat, validation accuracy 0.750")
        progress.ended(2, changed(folders[2], tmp_path / "c", failure="RuntimeError: no memory"))
        assert progress.summary().startswith("1 failed; best so far: flat")
        progress.ended(3, changed(folders[3], tmp_path / "d", validation={"accuracy": 0.1}))
        # flat's mean is 0.425 now
        assert progress.summary() == "1 failed; best so far: lora, validation accuracy 0.500"


def test_runs_that_were_found_say_nothing_of_the_time(
    study: tuple[list[Job], list[Path]], clock: Clock
) -> None:
    jobs, folders = study
    with StudyProgress(jobs, 1, Progress()) as progress:
        progress.began(0)
        clock.now += 0.001  # a training takes longer
        progress.ended(0, folders[0])
        assert "left" not in progress.summary()
        progress.began(1)
        clock.now += 50
        progress.ended(1, folders[1])
        assert "left" not in progress.summary()  # no lora was timed
        progress.began(2)
        clock.now += 30
        progress.ended(2, folders[2])
        assert progress.summary().endswith("; about 50 s left")  # a run of flat


def test_a_run_whose_worker_died_waits_again(study: tuple[list[Job], list[Path]]) -> None:
    with StudyProgress(study[0], 2, Progress()) as progress:
        progress.began(0)
        progress.began(1)
        progress.stopped(0)
        assert progress.summary() == "1 running"


def test_the_lines_of_a_study_in_one_process(
    study: tuple[list[Job], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lowland.study.run import run_one_after_another

    monkeypatch.setattr(ground, "SECONDS", 0.0)
    stream = io.StringIO()
    assert run_one_after_another(study[0], False, Progress(stream)) == study[1]
    lines = [line for line in stream.getvalue().splitlines() if not line.startswith("Beware")]
    assert lines[0].startswith("[1/4] lora, seed 1: found")
    assert lines[1].startswith("1 of 4 runs, 0 s; best so far: lora, validation accuracy 0.")


def test_trials_report_the_best_scores_and_the_time_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "SECONDS", 0.0)
    stream = io.StringIO()
    with TrialsProgress(["lora", "full", "lora", "full"], Progress(stream)) as trials:
        trials.began("lora")
        clock.now = 10
        trials.ended("lora", {"lora": 0.8, "full": None})
        trials.began("full")
        clock.now = 40
        trials.ended("full", {"lora": 0.8, "full": 0.7})
        trials.began("lora")
        clock.now = 45
        trials.ended("lora", {"lora": 0.9, "full": 0.7}, was_run=False)  # another machine made it
        trials.began("full")
        clock.now = 75
        trials.ended("full", {"lora": 0.9, "full": 0.7})
    assert stream.getvalue().splitlines() == [
        "1 of 4 trials, 10 s; best so far on validation data: lora 0.800",
        "2 of 4 trials, 40 s; best so far on validation data: lora 0.800, full 0.700; about 40 s left",
        "3 of 4 trials, 45 s; best so far on validation data: lora 0.900, full 0.700; about 30 s left",
    ]


class Bars(Progress):
    """Progress that keeps what its bars show."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, Any] = {}

    def bar(self, total: int, *, unit: str = "questions", label: str = "") -> Any:
        bar = super().bar(total, unit=unit, label=label)
        self.shown[label] = bar
        bar.end = lambda: self.shown.pop(label)  # type: ignore[method-assign]
        return bar


def test_the_trainings_of_workers_are_bars_until_they_end(
    study: tuple[list[Job], list[Path]],
) -> None:
    jobs, folders = study
    progress, label = Bars(), "[1/4] lora, seed 1"
    with StudyProgress(jobs, 2, progress) as shown:
        shown.began(0)
        shown.take(Moved(label, 3, 8, "steps", "loss 0.5", ended=False))
        shown.take(Moved(label, 5, 8, "steps", "loss 0.4", ended=False))
        bar = progress.shown[label]
        assert (bar.done, bar.total, bar.text) == (5, 8, "loss 0.4")
        shown.ended(0, folders[0])  # a worker that was killed does not end its bar
        assert list(progress.shown) == [""]
        shown.take(Moved("[2/4] flat, seed 1", 1, 8, "steps", "", ended=False))
        shown.take(Moved("[2/4] flat, seed 1", 8, 8, "steps", "", ended=True))
        assert list(progress.shown) == [""]
    assert not progress.shown


def test_a_single_run_has_no_bar_of_runs(study: tuple[list[Job], list[Path]]) -> None:
    progress = Bars()
    with StudyProgress(study[0][:1], 1, progress) as shown:
        shown.began(0)
        assert not progress.shown
        shown.ended(0, study[1][0])
