"""Runs that are tested together are of one study."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lowland.deploy.study_runs import read_runs
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from tests.folders_of_runs import put_run


def test_runs_of_several_tasks_are_named_by_their_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {put_run(tmp_path, seed=1): "image-classification", put_run(tmp_path, seed=2): "classification"}
    for folder in tasks:
        (folder / "adapter").mkdir()

    def record_of(folder: Path) -> object:
        record = read_record(folder)
        asked = {**record.asked, "task": {"name": tasks[folder]}, "max_length": 8}
        return dataclasses.replace(
            record,
            asked=asked,
            data={**record.data, "sha256": folder.name},
            model={"name": "m", "sha256": "0"},
        )

    monkeypatch.setattr("lowland.deploy.study_runs.finished_record", record_of)
    with pytest.raises(
        Mistake, match=r"^the runs differ in their task: image-classification in .*, classification in"
    ):
        read_runs(list(tasks), "stress adapter damages texts")
    with pytest.raises(Mistake, match="the runs are of image-classification, which reads images"):
        read_runs(list(tasks)[:1], "stress adapter damages texts")
