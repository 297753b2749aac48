"""The table of trackers: their folders, what is missing, and what the user's environment says."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from lowland.ground.mistakes import Mistake
from lowland.models.source import ModelSource
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.tasks.examples import TaskData
from lowland.train import trackers
from lowland.train.trackers import TRACKERS, tracker_environment, tracker_problems
from tests.train.runs import small_job

ALL = tuple(TRACKERS)
VARIABLES = ("WANDB_MODE", "WANDB_DIR", "TENSORBOARD_LOGGING_DIR", "TRACKIO_DIR", "MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_each_writes_into_the_folder_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables, folder = tracker_environment(ALL, Path("runs"), "name"), tmp_path / "runs" / "trackers"
    assert variables["WANDB_MODE"] == "offline"
    assert variables["WANDB_DIR"] == str(folder)
    assert variables["TENSORBOARD_LOGGING_DIR"] == str(folder / "tensorboard" / "name")
    assert variables["TRACKIO_DIR"] == str(folder / "trackio")
    assert variables["MLFLOW_TRACKING_URI"] == (folder / "mlflow").as_uri()
    assert tracker_environment((), Path("runs"), "name") == {}


def test_what_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "of the user")
    variables = tracker_environment(ALL, tmp_path, "name")
    assert not variables.keys() & {*VARIABLES}
    assert "WANDB_SILENT" not in variables  # the address of the run is for the user to see
    assert "MLFLOW_ALLOW_FILE_STORE" not in variables


def test_missing_packages_are_named_together_and_with_the_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "_is_installed", lambda name: name == "tensorboard")
    (sentence,) = tracker_problems(ALL, tmp_path)
    assert "wandb, trackio, mlflow" in sentence
    assert "pip install 'lowland[trackers]'" in sentence
    assert tracker_problems(["tensorboard"], tmp_path) == []
    recipe = Recipe(task="classification", data=str(tmp_path / "none.csv"), trackers=ALL)
    with pytest.raises(Mistake) as caught:
        plan(recipe)
    assert sentence in caught.value.problems
    assert any("none.csv" in problem for problem in caught.value.problems)


def test_a_missing_package_alone_stops_the_plan(
    texts: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "_is_installed", lambda name: False)
    recipe = Recipe(task="classification", data=str(texts), model=str(tiny_model), trackers="mlflow")
    with pytest.raises(Mistake, match="not installed: mlflow;"):
        plan(recipe)


def test_a_folder_in_the_working_directory_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "tracker_that_nobody_has"
    (tmp_path / name).mkdir()  # wandb leaves a folder called wandb behind
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not trackers._is_installed(name)
    (tmp_path / name / "__init__.py").touch()
    sys.path_importer_cache.clear()
    assert trackers._is_installed(name)


def test_trackio_in_another_folder_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "_is_installed", lambda name: True)
    utils = ModuleType("trackio.utils")
    utils.TRACKIO_DIR = tmp_path / "trackers" / "trackio"
    assert tracker_problems(["trackio"], tmp_path) == []  # not imported yet
    monkeypatch.setitem(sys.modules, "trackio.utils", utils)
    assert tracker_problems(["trackio"], tmp_path) == []
    assert tracker_problems(["wandb"], tmp_path / "other") == []
    (sentence,) = tracker_problems(["trackio"], tmp_path / "other")
    assert str(tmp_path / "trackers" / "trackio") in sentence
    monkeypatch.setenv("TRACKIO_DIR", str(utils.TRACKIO_DIR))
    assert tracker_problems(["trackio"], tmp_path / "other") == []


def test_a_recipe_takes_any_of_them() -> None:
    assert Recipe().trackers == ()
    assert Recipe(trackers="wandb").trackers == ("wandb",)
    assert Recipe(trackers=["mlflow", "wandb", "mlflow"]).trackers == ("mlflow", "wandb")
    assert Recipe(trackers=["none"]).trackers == ()
    assert Recipe(**Recipe(trackers=ALL).as_dict()).trackers == ALL
    with pytest.raises(Mistake, match="unknown tracker 'wnadb'; did you mean 'wandb'"):
        Recipe(trackers=["wnadb", "mlflow"])


def test_they_are_no_part_of_the_key(data: TaskData, source: ModelSource) -> None:
    from dataclasses import replace

    job = small_job("lora", data, source)
    tracked = replace(job, trackers=ALL)
    assert (tracked.key, tracked.name, tracked.asked()) == (job.key, job.name, job.asked())
