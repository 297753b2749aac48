"""Trackers see what a training logs, and change nothing of it. All that are installed write their files for real."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lowland.ground.progress import Progress
from lowland.models.source import ModelSource
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.examples import TaskData
from lowland.train import checkpoints
from lowland.train.fit import FittedNetwork, fit
from lowland.train.fitted import Diverged
from lowland.train.job import Job
from lowland.train.test import test as answer_test_sets
from lowland.train.trackers import TRACKERS
from tests.study.test_run import comparable, recipe
from tests.train import fake_mlflow
from tests.train.runs import small_job
from tests.train.test_checkpoints import Stop

__all__ = ["recipe"]


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in, in the place of the package."""
    monkeypatch.setitem(sys.modules, "mlflow", fake_mlflow)
    monkeypatch.setattr(fake_mlflow, "__spec__", find_spec("tests.train.fake_mlflow"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    fake_mlflow.calls.clear()
    return fake_mlflow


def noted(kind: str) -> list[Any]:
    return [content for name, content in fake_mlflow.calls if name == kind]


def tracked_job(data: TaskData, source: ModelSource, out: Path, method: str = "lora", **changes: Any) -> Job:
    job = small_job(method, data, source, out=str(out), **{"epochs": 1, **changes})
    return replace(job, trackers=("mlflow",))


def test_a_tracker_sees_what_was_asked_and_all_that_is_logged(
    mlflow: ModuleType, data: TaskData, source: ModelSource, tmp_path: Path
) -> None:
    job, before = tracked_job(data, source, tmp_path), dict(os.environ)
    fitted = fit(job)
    assert noted("store") == [(tmp_path / "trackers" / "mlflow").as_uri()]
    assert noted("start") == [job.name]
    params = {name: value for batch in noted("params") for name, value in batch.items()}
    assert params["asked/method/rank"] == "4"
    assert params["asked/task/name"] == "classification"
    history = [{name: entry[name] for name in entry} for entry in fitted.history]
    assert [entry for entry in noted("metrics") if "train_loss" not in entry] == history
    assert any("lora_adapters/mean/norm_ba" in entry for entry in history)
    assert any("eval_accuracy" in entry for entry in history)
    assert noted("end") == ["FINISHED"]
    assert dict(os.environ) == before
    count = len(mlflow.calls)
    answer_test_sets(fitted)
    assert len(mlflow.calls) == count  # of the test set, it sees nothing


def test_without_being_asked_none_begins(mlflow: ModuleType, data: TaskData, source: ModelSource) -> None:
    fitted = fit(small_job("lora", data, source, epochs=1))
    assert isinstance(fitted, FittedNetwork)
    assert fitted.trainer.args.report_to == []
    assert mlflow.calls == []


def test_a_training_that_fails_ends_its_run_as_failed(
    mlflow: ModuleType, data: TaskData, source: ModelSource, tmp_path: Path
) -> None:
    before = dict(os.environ)
    with pytest.raises(Diverged):
        fit(tracked_job(data, source, tmp_path, "full", lr=1e30, warmup=0.0, epochs=30))
    assert noted("end") == ["FAILED"]
    assert mlflow.active_run() is None
    assert dict(os.environ) == before


def test_a_run_that_goes_on_from_a_checkpoint_is_logged_from_there_on(
    mlflow: ModuleType, data: TaskData, source: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    job = tracked_job(data, source, tmp_path, batch_size=4, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(job, [Stop(55)], checkpoints=tmp_path / "checkpoints")
    assert noted("end") == ["FAILED"]
    mlflow.calls.clear()
    fitted = fit(job, checkpoints=tmp_path / "checkpoints")
    assert noted("start") == [job.name]
    assert noted("end") == ["FINISHED"]
    steps = [entry["step"] for entry in noted("metrics")]
    assert min(steps) == 60
    assert steps[:-1] == [entry["step"] for entry in fitted.history if entry["step"] > 50]


def test_a_tracked_study_leaves_the_same_runs_to_the_bit(
    mlflow: ModuleType, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"methods": ["flat-lora"], "seeds": [1], "dropout": 0.1}
    tracked = run_study(recipe(out=str(tmp_path / "tracked"), trackers=["mlflow"], **changes))
    assert noted("start") == [tracked[0].name]
    alone = run_study(recipe(**changes))
    assert [folder.name for folder in tracked] == [folder.name for folder in alone]
    assert comparable(tracked[0]) == comparable(alone[0])
    stream = io.StringIO()
    again = run_study(recipe(trackers=["mlflow"], **changes), progress=Progress(stream))
    assert again == alone  # found, and not run again
    assert "; not tracked, since it was finished before (--fresh runs it again)" in stream.getvalue()
    run_study(recipe(**changes), progress=Progress(stream))
    assert stream.getvalue().count("not tracked") == 1
    assert len(noted("start")) == 1


STUDY = """
from lowland.study.recipe import Recipe
from lowland.study.run import run_study

names = {names!r}
run_study(Recipe(**{values!r}, out="one", trackers=names))
run_study(Recipe(**{values!r}, out="two", trackers=[name for name in names if name != "trackio"]))
"""
INSTALLED = [name for name in TRACKERS if find_spec(name) is not None]
VALUES = {
    "task": "classification",
    "methods": ["lora"],
    "seeds": [1],
    "epochs": 1,
    "rank": 2,
    "dtype": "fp32",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with two studies of a run each, `one` and `two`, tracked in one process by all that is installed."""
    from tests.conftest import table_of

    if not INSTALLED:
        pytest.skip("no tracker is installed")
    folder = tmp_path_factory.mktemp("tracked")
    work, home = folder / "work", folder / "home"
    work.mkdir()
    home.mkdir()
    table_of().to_csv(folder / "texts.csv", index=False)
    values = {**VALUES, "data": str(folder / "texts.csv"), "model": str(tiny_model)}
    unset = ("WANDB_", "MLFLOW_", "TRACKIO_", "TENSORBOARD_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    subprocess.run(
        [sys.executable, "-c", STUDY.format(values=values, names=INSTALLED)],
        cwd=work,
        env={**environment, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        stdin=subprocess.DEVNULL,  # nobody answers a prompt
    )
    return folder


def run_in(study: Path) -> tuple[str, list[dict[str, Any]]]:
    """The name and the history of a study's only run."""
    (folder,) = study.glob("classification-*")
    lines = (folder / "history.jsonl").read_text().splitlines()
    return folder.name, [json.loads(line) for line in lines]


@pytest.fixture(params=["one", "two"])
def study(written: Path, request: pytest.FixtureRequest) -> Path:
    return written / "work" / str(request.param)


def expected(history: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in history if name in entry]


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name not in INSTALLED, reason=f"{name} is not installed")


def test_nothing_is_written_elsewhere(written: Path) -> None:
    assert {path.name for path in (written / "work").iterdir()} == {"one", "two"}
    assert [path for path in (written / "home").rglob("*") if path.is_file()] == []


@needs("tensorboard")
def test_tensorboard_has_an_event_file(study: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    name, history = run_in(study)
    events = EventAccumulator(str(study / "trackers" / "tensorboard" / name)).Reload()
    for ours, theirs in (
        ("lora_adapters/mean/norm_ba", "train/lora_adapters/mean/norm_ba"),
        ("eval_loss", "eval/loss"),
    ):
        logged = [(event.step, event.value) for event in events.Scalars(theirs)]
        for (step, value), (other, number) in zip(logged, expected(history, ours), strict=True):
            assert step == other
            assert value == pytest.approx(number, rel=1e-6)
    assert "asked/text_summary" in events.Tags()["tensors"]


@needs("wandb")
def test_wandb_has_an_offline_run(study: Path) -> None:
    name, history = run_in(study)
    (path,) = (study / "trackers" / "wandb").glob("offline-run-*/*.wandb")
    records = list(wandb_records(path))
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.project) == (name, "lowland")
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    for ours, theirs in (
        ("lora_adapters/mean/norm_ba", "train/lora_adapters/mean/norm_ba"),
        ("eval_loss", "eval/loss"),
    ):
        logged = [(row["train/global_step"], row[theirs]) for row in rows if theirs in row]
        assert logged == expected(history, ours)
    asked = [
        json.loads(update.value_json)
        for record in records
        for update in record.config.update
        if update.key == "asked"
    ]
    assert asked[0]["method"]["rank"] == 2
    assert [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"] == [0]


def wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of wandb's file: behind 7 bytes, chunks in blocks of 32 KiB, as in LevelDB's log."""
    from wandb.proto import wandb_internal_pb2

    raw, place, parts = path.read_bytes(), 7, b""
    while place < len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", raw[place : place + 7])
        body = raw[place + 7 : place + 7 + size]
        place += 7 + size
        parts = body if kind in (1, 2) else parts + body  # whole, first | middle, last
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


@needs("mlflow")
def test_mlflow_has_its_files(study: Path) -> None:
    name, history = run_in(study)
    (meta,) = (study / "trackers" / "mlflow" / "0").glob("*/meta.yaml")
    assert f"run_name: {name}" in meta.read_text()
    for metric in ("lora_adapters/mean/norm_ba", "eval_loss"):
        lines = (meta.parent / "metrics" / metric).read_text().splitlines()  # time, value, step
        logged = [(int(step), float(value)) for _, value, step, *_ in map(str.split, lines)]
        assert logged == expected(history, metric)
    assert (meta.parent / "params" / "asked" / "method" / "rank").read_text() == "2"


@needs("trackio")
def test_trackio_has_its_database(written: Path) -> None:
    name, history = run_in(written / "work" / "one")
    with sqlite3.connect(written / "work" / "one" / "trackers" / "trackio" / "lowland.db") as database:
        rows = database.execute("select metrics from metrics where run_name = ?", (name,)).fetchall()
    database.close()
    metrics = [json.loads(row) for (row,) in rows]
    theirs = "train/lora_adapters/mean/norm_ba"
    logged = [(row["train/global_step"], row[theirs]) for row in metrics if theirs in row]
    assert logged == expected(history, "lora_adapters/mean/norm_ba")
