"""Worker processes begin with the libraries imported, and with threads that do not spin."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

import pytest

from lowland.ground.runtime import environment_with
from lowland.study.engines import forks
from lowland.study.engines.forks import CAN_FORK, PASSIVE, may_have_workers, workers_context


def tell(connection: Connection) -> None:
    connection.send(("lowland.study.run" in sys.modules, {name: os.environ.get(name) for name in PASSIVE}))


@pytest.mark.skipif(not CAN_FORK, reason="this system cannot fork")
def test_a_worker_begins_with_its_libraries() -> None:
    context = workers_context()
    ours, theirs = context.Pipe()
    with environment_with(**PASSIVE):
        process = context.Process(target=tell, args=(theirs,))
        process.start()
    assert ours.recv() == (True, PASSIVE)
    process.join()


@pytest.mark.parametrize(
    ("runs", "asked", "processes", "expected"),
    [
        (3, None, 1, False),
        (4, None, 1, True),
        (4, None, 2, False),
        (2, 2, 1, True),
        (9, 1, 1, False),
        (1, 5, 1, False),
    ],
)
def test_workers_are_expected_for_several_runs(
    runs: int, asked: int | None, processes: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "FEWEST", 4)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    assert may_have_workers(runs, asked) == expected
