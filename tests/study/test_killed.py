"""Studies and runs that are killed go on, and end as if they had not been killed, to the bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.study.test_run import comparable, recipe

__all__ = ["recipe"]


@pytest.mark.slow
def test_killed_at_any_time_and_started_again_the_study_is_the_same(
    recipe: Callable[..., Recipe], tmp_path: Path, texts: Path, tiny_model: Path
) -> None:
    expected = [
        comparable(folder) for folder in run_study(recipe(out=str(tmp_path / "undisturbed"), epochs=8))
    ]
    asked = "--task classification --methods lora flat-lora --seeds 1 2 --epochs 8 --rank 2 --dtype fp32 --workers 1"
    paths = ["--data", str(texts), "--model", str(tiny_model), "--out", str(tmp_path / "killed")]
    command = [sys.executable, "-m", "lowland.cli.main", "compare", *asked.split(), *paths]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # until the second run is being written
        whole = list((tmp_path / "killed").glob("classification-*"))
        if whole and list((tmp_path / "killed").glob(".*.partial")):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = list((tmp_path / "killed").glob("classification-*"))
    assert 1 <= len(left) < 4, "the study was not killed in the middle"
    stamp = (left[0] / "record.json").stat().st_mtime_ns
    folders = run_study(recipe(out=str(tmp_path / "killed"), epochs=8))
    for folder, other in zip(folders, expected, strict=True):
        actual = comparable(folder)
        for part in other:
            assert actual[part] == other[part], part
    assert (left[0] / "record.json").stat().st_mtime_ns == stamp
    assert not list((tmp_path / "killed").glob(".*.partial"))


KILLED = """
import sys
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.train import checkpoints

checkpoints.EVERY_SECONDS = 0.0
run_study(Recipe(**{values!r}))
"""


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=str
)
def test_a_run_that_is_killed_again_and_again_is_the_run(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """It goes on from its last checkpoint each time, and leaves the same weights."""
    asked = recipe(methods=["flat-lora"], seeds=[1], epochs=20 * kills, out=str(tmp_path / "killed"))
    (whole,) = run_study(asked.replace(out=str(tmp_path / "undisturbed")))
    script = tmp_path / "study.py"
    script.write_text(KILLED.format(values=asked.as_dict()))
    steps = 20 * kills * 10  # ten in an epoch
    for step in sorted(random.Random(0).sample(range(20, steps - 20), kills)):
        process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
        while process.poll() is None and last_checkpoint(tmp_path / "killed") < step:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was not killed in the middle"
    assert last_checkpoint(tmp_path / "killed") > 0
    (folder,) = run_study(asked)
    assert comparable(folder) == comparable(whole)
    assert not list((tmp_path / "killed").glob(".*.checkpoints"))


def last_checkpoint(root: Path) -> int:
    """The step of the last whole checkpoint; 0 if there is none."""
    steps = [
        int(path.parent.name.rpartition("-")[2]) for path in root.glob(".*.checkpoints/*/trainer_state.json")
    ]
    return max(steps, default=0)
