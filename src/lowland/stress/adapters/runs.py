"""Fine-tuned runs for a stress test, and the data that they were tested on: both as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.deploy.runs import data_of
from lowland.deploy.study_runs import TrainedRun
from lowland.deploy.study_runs import read_runs as read_runs_of_texts
from lowland.tasks.examples import TaskData


def read_runs(folders: Sequence[Path]) -> list[TrainedRun]:
    """Read the runs of some folders, which must be of one study, without a method and seed twice.

    Raises:
        Mistake: naming each folder without a finished run, and everything that sets the runs apart.
    """
    return read_runs_of_texts(folders, "stress adapter damages texts")


def read_data(
    runs: Sequence[TrainedRun], data: Path | None = None, test_data: Path | None = None
) -> TaskData:
    """Read the data that the runs were tested on.

    Args:
        runs: runs of one study.
        data: the data file, if it has moved.
        test_data: the file with the test set, if it has moved.

    Raises:
        Mistake: if the data cannot be read, or their content has changed.
    """
    return data_of(runs[0].folder, runs[0].record, data, test_data)
