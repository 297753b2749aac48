"""Runs on a Ray cluster: where they are placed, what a node must have, and what becomes of runs whose node dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray as real_ray

from lowland.ground.mistakes import Mistake
from lowland.ground.provenance import code
from lowland.ground.record_files import read_record
from lowland.ground.remote_store import open_store
from lowland.study.engines import ray_connection, ray_task
from lowland.study.engines.local import Workers
from lowland.study.engines.ray import task_options, with_absolute_paths, workers_for
from lowland.study.engines.ray_connection import check_answer
from lowland.study.engines.ray_task import Mailbox, Order, run_on_node
from lowland.study.engines.worker import Done, Raised, nothing
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.ground.s3 import use_s3
from tests.ground.test_remote_store import Machine, machine
from tests.study.engines.cluster import Cluster, cluster, environment
from tests.study.test_run import comparable, recipe

__all__ = ["machine", "recipe"]
MakeRecipe = Callable[..., Recipe]
Lowland = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("nodes", "jobs", "asked", "expected"),
    [
        ([8], 8, None, (8, 1)),
        ([8], 100, None, (8, 1)),
        ([8], 3, None, (3, 2)),
        ([8, 8], 3, None, (3, 4)),  # 5 cores each would leave room for two
        ([8, 8], 2, None, (2, 8)),
        ([8, 2], 2, None, (2, 4)),
        ([0, 4], 1, None, (1, 4)),
        ([4, 4], 9, 2, (2, 4)),
        ([4, 4], 9, 100, (8, 1)),
    ],
)
def test_runs_get_as_many_cores_as_let_all_run_at_once(
    nodes: list[int], jobs: int, asked: int | None, expected: tuple[int, int]
) -> None:
    assert workers_for([{"CPU": float(cores)} for cores in nodes], jobs, asked) == Workers(*expected)


def test_where_there_are_gpus_each_run_has_one() -> None:
    nodes = [{"CPU": 16.0, "GPU": 2.0, "memory": 3e9}, {"CPU": 4.0, "GPU": 4.0, "memory": 5e9}, {"CPU": 64.0}]
    assert workers_for(nodes, 100) == Workers(6, 1)
    assert workers_for(nodes, 2) == Workers(2, 8)
    options = task_options(nodes, Workers(2, 8), 10**10)
    assert [options[name] for name in ("num_cpus", "num_gpus", "memory")] == [8, 1, 3 * 10**9]
    assert task_options(nodes, Workers(6, 1), 10**10)["memory"] == 5 * 10**9  # the small node has room, too
    assert options["runtime_env"]["env_vars"]["OMP_WAIT_POLICY"] == "PASSIVE"
    options = task_options(nodes[2:], Workers(2, 1), 10**10)
    assert (options["num_gpus"], options["max_retries"]) == (0, 0)


def test_a_cluster_without_cores_is_a_mistake() -> None:
    for nodes in ([{"memory": 1e9}], [{"CPU": 0.0}], [{"CPU": 4.0}, {"GPU": 1.0}]):
        with pytest.raises(Mistake, match="no node of the Ray cluster has a core"):
            workers_for(nodes, 1)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", r"no Ray cluster answers at 127.0.0.1:1 \(.*refused\); start one with"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at no-such-host.invalid:6379"),
        ("ray://127.0.0.1:10001", "ray_address is ray://127.0.0.1:10001; give host:port"),
        ("nonsense", "ray_address is nonsense; give host:port"),
        ("host:port", "ray_address is host:port; give host:port"),
    ],
)
def test_an_address_that_does_not_answer_is_a_mistake(address: str, sentence: str) -> None:
    started = time.monotonic()
    with pytest.raises(Mistake, match=sentence):
        check_answer(address)
    assert time.monotonic() - started < 15


def test_a_server_that_is_not_ray_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Mistake, match="what listens there does not answer as Ray does"):
            check_answer(address)
        monkeypatch.setattr(ray_connection, "ANSWER_SECONDS", 30)
        monkeypatch.setattr(ray_connection, "ANSWERS", "raise SystemExit('no token')")
        with pytest.raises(Mistake, match=rf"no Ray cluster answers at {address} \(no token\)"):
            check_answer(address)


def test_the_command_line_says_what_is_missing(lowland: Lowland, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = lowland("train", "--ray-address", "auto")
    assert (code, "ray_address is given, and the engine is local; add --engine ray" in err) == (2, True)
    code, _, err = lowland("train", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert (code, "no Ray cluster answers at 127.0.0.1:1" in err) == (2, True)
    code, _, err = lowland("sweep", "--task", "classification", "--engine", "ray", "--trials", "2")
    assert (code, "engine is ray, and a search trains on this machine; leave --engine out" in err) == (
        2,
        True,
    )
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = lowland("train", "--engine", "ray")
    assert (code, "--engine ray needs the package ray; pip install 'lowland[ray]'" in err) == (2, True)


def test_workers_find_files_from_another_folder(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = recipe(methods=["lora"], seeds=[1], out="runs")
    (job,) = plan(asked.replace(model=os.path.relpath(asked.model)))
    sent = with_absolute_paths(job)
    assert (sent.out, sent.source.folder.resolve()) == (tmp_path / "runs", Path(asked.model).resolve())
    assert sent.source.folder.is_absolute()
    assert sent.asked() == job.asked()
    (remote,) = plan(asked.replace(out="memory://bucket/runs"))
    assert with_absolute_paths(remote).out == "memory://bucket/runs"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A mailbox in this process, with the handle's interface."""
    box = Mailbox()
    monkeypatch.setattr(real_ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray_task, "keep_large_blocks", lambda: None)
    return SimpleNamespace(put=SimpleNamespace(remote=box.put), take=box.take)


def order_of(**changes: Any) -> Order:
    values = {
        "number": 0,
        "label": "[1/1] lora",
        "fresh": False,
        "continued": False,
        "threads": 1,
        "bars": False,
        "shared": None,
    }
    values |= {"source_sha256": code()["source_sha256"], "prepare": nothing}
    return Order(**{**values, **changes})


def test_a_node_runs_a_job_and_says_what_it_says(recipe: MakeRecipe, mailbox: Any, tmp_path: Path) -> None:
    jobs = plan(recipe(seeds=[1]))
    outcome = run_on_node(jobs, order_of(number=1, shared=tmp_path), mailbox)
    assert isinstance(outcome, Done)
    assert outcome.outcome.name == jobs[1].name
    said = mailbox.take()
    assert said[-1].text.startswith("[1/1] lora: accuracy")
    assert mailbox.take() == []


def test_a_node_that_lacks_something_ends_the_study(recipe: MakeRecipe, mailbox: Any, tmp_path: Path) -> None:
    (job,) = plan(recipe(methods=["lora"], seeds=[1]))
    other_model = replace(job, source=replace(job.source, sha256="0" * 64))
    cases = {
        "has another lowland than this machine": (job, order_of(source_sha256="0")),
        "does not share with this machine; name a folder that all nodes share, or a URL": (
            job,
            order_of(shared=tmp_path / "no-such-file"),
        ),
        "is another on a node of the Ray cluster": (other_model, order_of()),
    }
    for sentence, (asked, order) in cases.items():
        outcome = run_on_node([asked], order, mailbox)
        assert isinstance(outcome, Raised), sentence
        assert isinstance(outcome.error, Mistake)
        assert sentence in str(outcome.error)
    assert not job.out.exists()  # type: ignore[union-attr]


def test_a_fresh_run_that_goes_on_keeps_its_checkpoints(recipe: MakeRecipe, mailbox: Any) -> None:
    (job,) = plan(recipe(methods=["lora"], seeds=[1]))
    seen: list[bool] = []
    for continued in (False, True):
        folder = open_store(job.out).checkpoints(job.name)
        folder.mkdir(parents=True, exist_ok=True)

        def prepare(folder: Path = folder) -> None:
            from lowland.study import run

            real = run.fit

            def fit(*arguments: Any) -> Any:
                seen.append(folder.exists())
                run.fit = real
                return real(*arguments)

            run.fit = fit

        outcome = run_on_node([job], order_of(fresh=True, continued=continued, prepare=prepare), mailbox)
        assert isinstance(outcome, Done)
    assert seen == [False, True]


PROGRAM = """
import sys
from lowland.ground.progress import Progress
from lowland.study.engines.ray import RayEngine
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.study.engines import preparations

engine = RayEngine(sys.argv[1], None, getattr(preparations, sys.argv[2]))
for folder in run_study(Recipe(**{values!r}), progress=Progress(sys.stdout), engine=engine):
    print("folder", folder)
"""


class Study:
    """A study in a process of its own, on a cluster."""

    def __init__(self, asked: Recipe, on: Cluster, prepare: str) -> None:
        program = PROGRAM.replace("{values!r}", repr(asked.as_dict()))
        command = [sys.executable, "-c", program, on.address, prepare]
        root = Path(__file__).parents[3]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment(), cwd=root
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 800
        while not condition():
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.05)

    def folders(self) -> list[Path]:
        assert self.process.wait(timeout=800) == 0, self.lines
        self.reader.join()
        return [Path(line.removeprefix("folder ")) for line in self.lines if line.startswith("folder ")]


@pytest.fixture(scope="module")
def nodes_of_one_core(s3_address: str) -> Iterator[Cluster]:
    """A cluster of a head and a node, to which tests add; nodes have credentials of their own."""
    with pytest.MonkeyPatch.context() as patch:
        use_s3(s3_address, patch)
        with cluster() as running:
            running.order("add")
            yield running


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("place", ["folder", "url"])
def test_a_run_whose_node_is_killed_is_the_run(
    place: str, recipe: MakeRecipe, nodes_of_one_core: Cluster, tmp_path: Path, machine: Machine, request: Any
) -> None:
    machine("driver")
    out = f"{request.getfixturevalue('bucket')}/runs" if place == "url" else str(tmp_path / "shared")
    asked = recipe(methods=["flat-lora"], seeds=[1], epochs=60, out=out)
    (whole,) = run_study(asked.replace(out=str(tmp_path / "undisturbed")))
    study = Study(asked, nodes_of_one_core, "checkpoint_at_every_step")
    (job,) = plan(asked)
    where = open_store(out)
    remote = getattr(where, "remote", None)
    hidden = f".{job.name}.checkpoints"

    def checkpoints() -> list[str]:
        files = remote.files(hidden) if remote else [str(path) for path in (where.root / hidden).rglob("*")]
        return [path for path in files if path.endswith("trainer_state.json")]

    study.wait_until(checkpoints)
    nodes_of_one_core.order("add")
    nodes_of_one_core.order("kill")
    assert checkpoints(), "the run was not killed in the middle"
    (folder,) = study.folders()
    goes_on = "[1/1] flat-lora, seed 1: its node died; the run goes on from its last checkpoint"
    assert next(line for line in study.lines if line.startswith("[1/1]")) == goes_on
    assert comparable(folder) == comparable(whole)
    assert not checkpoints()
    assert not list(tmp_path.glob("shared/.ray-*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_ray_a_run_that_ends_badly_is_recorded_and_the_others_go_on(
    recipe: MakeRecipe, nodes_of_one_core: Cluster
) -> None:
    study = Study(recipe(methods=["lora"], seeds=[1, 2, 4]), nodes_of_one_core, "end_by_seed")
    records = {record.seed: record for record in map(read_record, study.folders())}
    assert records[1].status == "finished"
    for seed, cause in {2: "its process died; 3 workers died over this run", 4: "it fails"}.items():
        assert records[seed].status == "failed"
        assert cause in str(records[seed].failure)
    assert (
        len([line for line in study.lines if "[2/3] lora, seed 2: its process died; the run goes on" in line])
        == 2
    )
    assert not [line for line in study.lines if "raylet" in line]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_a_ray_of_its_own_a_study_leaves_the_same_records(recipe: MakeRecipe, tmp_path: Path) -> None:
    """By the command line; and nothing of Ray is left."""
    asked = recipe(seeds=[1])
    folders = run_study(asked)
    options = "--task classification --methods lora flat-lora --seeds 1 --epochs 1 --rank 2 --dtype fp32 --engine ray"
    paths = ["--data", asked.task.data, "--model", asked.model, "--out", str(tmp_path / "ray")]
    command = [sys.executable, "-m", "lowland.cli.main", "compare", *options.split(), *map(str, paths)]
    environ = {**environment(), "LOWLAND_TEST_RAY": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=800)
    assert done.returncode == 0, done.stderr
    assert "Ray: 1 node; up to " in done.stderr
    for folder in folders:
        ours, theirs = comparable(folder), comparable(tmp_path / "ray" / folder.name)
        for part in ("weights", "answers", "history"):
            assert ours[part] == theirs[part], part
    mark = f"LOWLAND_TEST_RAY={tmp_path}".encode()
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if mark in read_or_nothing(path)]


def read_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
