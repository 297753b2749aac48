"""Runs side by side in worker processes: the same records, and what becomes of workers that die."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record
from lowland.study.engines import forks, local
from lowland.study.engines.local import LocalEngine, workers_for
from lowland.study.engines.pool import Workers, _cause
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.study.search import Search
from lowland.study.sweep import sweep
from lowland.train.job import Job
from tests.study.engines.preparations import end_by_seed, kill_first_trial_of_full
from tests.study.test_run import comparable, recipe

__all__ = ["recipe"]
MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_workers_leave_the_same_records_as_one_process(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "workers_for", lambda jobs, asked, most=None: Workers(asked, 1))
    stream = io.StringIO()
    trackers = ["tensorboard"] if find_spec("tensorboard") else []
    apart = run_study(recipe(seeds=[1], trackers=trackers), progress=Progress(stream), engine=LocalEngine(2))
    together = run_study(recipe(seeds=[1], out=str(tmp_path / "together")))
    assert [folder.name for folder in apart] == [folder.name for folder in together]
    for first, second in zip(apart, together, strict=True):
        assert comparable(first) == comparable(second)
        for events in (first.parent / "trackers").glob(f"tensorboard/{first.name}/*"):
            assert b"lora_adapters/mean/norm_ba" in events.read_bytes()
    assert len(list((apart[0].parent / "trackers").glob("tensorboard/*/*"))) == 2 * len(trackers)
    lines = stream.getvalue().splitlines()
    assert "2 runs at a time, each with 1 of the cores" in lines
    assert len([line for line in lines if line.startswith("[") and "accuracy" in line]) == 2
    again = io.StringIO()
    run_study(recipe(seeds=[1]), progress=Progress(again), engine=LocalEngine(2))
    assert again.getvalue().count("found") == 2


def test_a_run_that_ends_badly_is_recorded_and_the_others_go_on(recipe: MakeRecipe) -> None:
    asked, stream = recipe(methods=["lora"], seeds=[1, 2, 4, 5]), io.StringIO()
    folders = run_study(asked, progress=Progress(stream), engine=LocalEngine(2, end_by_seed))
    records = {record.seed: record for record in map(read_record, folders)}
    assert [records[seed].status for seed in (1, 5)] == ["finished"] * 2
    causes = {
        2: "its process was killed (signal 9), as Linux does when memory runs out",
        4: "it fails",
    }
    for seed, cause in causes.items():
        assert records[seed].status == "failed"
        assert cause in str(records[seed].failure)
        assert f"/4] lora, seed {seed}: FAILED, " in stream.getvalue()
    assert not list(Path(asked.out).glob(".*.begun"))  # they are not unfinished
    assert [read_record(folder).status for folder in run_study(asked)] == ["finished"] * 4
    assert _cause(3) == "its process ended with exit code 3"


def test_a_mistake_ends_the_study_with_its_sentences(recipe: MakeRecipe) -> None:
    with pytest.raises(Mistake, match="it does not fit\nnor does anything else"):
        run_study(recipe(methods=["lora"], seeds=[9, 1]), engine=LocalEngine(2, end_by_seed))
    assert not multiprocessing.active_children()


def test_an_interrupt_ends_the_workers(recipe: MakeRecipe) -> None:
    class Interrupting(Progress):
        def say(self, line: str) -> None:
            if line.startswith("[1/4]"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(recipe(), progress=Interrupting(), engine=LocalEngine(2))
    assert not multiprocessing.active_children()
    assert [read_record(folder).status for folder in run_study(recipe())] == ["finished"] * 4


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(recipe: MakeRecipe, tmp_path: Path) -> None:
    asked = recipe()
    program = (
        "from lowland.study.engines.local import LocalEngine\n"
        "from lowland.study.recipe import Recipe\n"
        "from lowland.study.run import run_study\n"
        "if __name__ == '__main__':\n"
        f"    run_study(Recipe(**{asked.as_dict()!r}).replace(epochs=1000), engine=LocalEngine(2))\n"
    )
    script = tmp_path / "study.py"
    script.write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        children: list[psutil.Process] = []
        deadline = time.monotonic() + 120
        # The server of the forks, and two workers, which are its forks.
        while len([child for child in children if "forkserver" in " ".join(child.cmdline())]) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
            children = [
                child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()
            ]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    _, living = psutil.wait_procs(children, timeout=60)
    assert not living


def test_the_number_of_workers_follows_cores_memory_and_runs(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan(recipe(seeds=[1, 2, 3, 4]))
    free = 10**12

    def workers(jobs: list[Job] = jobs, asked: int | None = None, cores: int = 8) -> tuple[int, int]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
        answer = workers_for(jobs, asked)
        return answer.count, answer.threads

    monkeypatch.setattr(forks, "FEWEST", 4)
    assert workers() == (8, 1)
    assert workers(cores=20) == (8, 2)
    assert workers(cores=2) == (2, 1)
    assert workers(jobs[:3]) == (1, 8)  # to start workers takes as long
    assert workers(asked=3) == (3, 2)
    assert workers(asked=100) == (8, 1)
    free = 3 * 10**9
    assert workers() == (2, 4)  # a little over 1 GB each
    free = 10
    assert workers() == (1, 8)
    free = 10**12
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert workers() == (1, 8)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    free = 10**12
    assert workers() == (1, 8)


def test_it_is_an_option_of_the_command_line(
    lowland: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr(local, "workers_for", lambda jobs, count: asked.append(count) or Workers(1, 1))
    for options in ((), ("--workers", "2")):
        code, _, err = lowland("compare", "--methods", "lora", "--seeds", "1", "2", *options)
        assert code == 0, err
    assert asked == [None, 2]
    code, _, err = lowland("compare", "--workers", "0")
    assert (code, "workers is 0" in err) == (2, True)


@pytest.fixture
def trial_jobs(recipe: MakeRecipe) -> list[Job]:
    return plan(recipe(methods=["lora", "full", "bag-of-words"], seeds=[1], epochs=1))


@pytest.mark.usefixtures("one_thread")
def test_trials_side_by_side_find_what_trials_in_turns_find(
    trial_jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cores_here", lambda: 2)
    search, stream = Search(trials=3, search=("lr", "rank")), io.StringIO()
    apart = sweep(trial_jobs, search, Progress(stream), LocalEngine(2).run_trials)
    together = sweep([replace(job, out=tmp_path / "together") for job in trial_jobs], search)
    assert apart == together
    assert {label: len(tuning.trials) for label, tuning in apart.items()} == {"lora": 3, "full": 3}
    lines = stream.getvalue().splitlines()
    assert "2 trials at a time, each with 1 of the cores" in lines
    assert sorted(line.split(":")[0] for line in lines if line.startswith("[")) == [
        f"[{number}/3] {label}" for number in (1, 2, 3) for label in ("full", "lora")
    ]
    again = io.StringIO()
    assert sweep(trial_jobs, search, Progress(again), LocalEngine(2).run_trials) == apart
    assert "trials at a time" not in again.getvalue()


def test_trials_of_one_method_have_no_one_beside_them(trial_jobs: list[Job]) -> None:
    stream = io.StringIO()
    lora = [job for job in trial_jobs if job.method.label == "lora"]
    sweep(lora, Search(trials=4), Progress(stream), LocalEngine(2).run_trials)
    assert "trials at a time" not in stream.getvalue()


def test_a_trial_whose_worker_dies_ends_the_search_and_the_others_are_kept(trial_jobs: list[Job]) -> None:
    search = Search(trials=2)
    with pytest.raises(
        Mistake, match=r"^\[1/2\] full: its process was killed \(signal 9\).*repeat the command to go on$"
    ):
        sweep(trial_jobs, search, engine=LocalEngine(2, kill_first_trial_of_full).run_trials)
    assert not multiprocessing.active_children()
    stream = io.StringIO()
    again = sweep(trial_jobs, search, Progress(stream), LocalEngine(2).run_trials)
    assert again["full"].trials[0]["settings"]["lr"] == 5e-5  # the recipe's own
    assert {len(tuning.trials) for tuning in again.values()} == {2}
