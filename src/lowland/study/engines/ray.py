"""Engine of a cluster: every run is a task of Ray, on whichever node has room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from lowland.ground.mistakes import Mistake, plural, reason_of
from lowland.ground.progress import Progress
from lowland.ground.provenance import code
from lowland.ground.remote import is_url
from lowland.ground.remote_store import open_store
from lowland.study.engines.forks import PASSIVE
from lowland.study.engines.local import needed_bytes
from lowland.study.engines.pool import Workers
from lowland.study.engines.ray_connection import connected
from lowland.study.engines.ray_task import Mailbox, Order, run_on_node
from lowland.study.engines.worker import Raised, nothing
from lowland.study.progress import StudyProgress, label_of
from lowland.study.run import record_death
from lowland.train.job import Job

MOST_DEATHS = 3
"""Number of workers that may die over one run; then it is recorded as failed."""
REPORT_SECONDS = 1.0
"""Seconds between two looks at what the nodes say."""
CAUSES = {
    "NodeDiedError": "its node died",
    "WorkerCrashedError": "its process died",
    "OutOfMemoryError": "its node had no memory left (fewer --workers may help)",
}
"""Why a run ended, by the class of Ray's error."""


@dataclass(frozen=True)
class RayEngine:
    """Runs jobs as tasks of Ray.

    A run whose worker or node dies is run again, where it goes on from its last checkpoint; `MOST_DEATHS` in all. The
    folder of the runs must be one that all nodes share, or behind a URL.

    Args:
        address: host:port of a cluster, or "auto" for the one that this machine belongs to; None takes RAY_ADDRESS from
            the environment, or starts Ray on this machine. A process that is connected to Ray stays so.
        asked: number of runs at a time; None lets Ray start as many as fit.
        prepare: function that each worker calls first; it must be importable.
    """

    address: str | None = None
    asked: int | None = None
    prepare: Callable[[], None] = nothing

    def __call__(self, jobs: Sequence[Job], fresh: bool, progress: Progress) -> list[Path]:
        """Run jobs, and return the folders of their records in the jobs' order.

        Raises:
            Mistake: if Ray is not installed or does not answer, its nodes lack what a run needs, or a method does not
                fit the model.
            OSError: if a record cannot be written.
        """
        with connected(self.address), _shared_file(jobs[0].out) as shared:
            nodes = _nodes()
            workers = workers_for(nodes, len(jobs), self.asked)
            count = sum(_room(node, 1, has_gpus(nodes)) > 0 for node in nodes)
            progress.say(
                f"Ray: {plural(count, 'node')}; up to {plural(workers.count, 'run')} at a time, each with"
                f" {plural(workers.threads, 'core')}{' and a GPU' if has_gpus(nodes) else ''}"
            )
            order = Order(
                number=0,
                label="",
                fresh=fresh,
                continued=False,
                threads=workers.threads,
                source_sha256=code()["source_sha256"],
                bars=progress.on_terminal,
                shared=shared,
                prepare=self.prepare,
            )
            options = task_options(nodes, workers, max(map(needed_bytes, jobs)))
            with StudyProgress(jobs, workers.count, progress) as study:
                return _Study(jobs, order, options, self.asked or len(jobs), study).run()


def _nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that are alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def with_absolute_paths(job: Job) -> Job:
    """Return a job that means the same in another folder, where workers may be."""
    out = job.out if is_url(job.out) else Path(job.out).absolute()
    return replace(job, out=out, source=replace(job.source, folder=job.source.folder.absolute()))


def has_gpus(nodes: Sequence[Mapping[str, float]]) -> bool:
    """Return whether a cluster has GPUs, from the resources of its nodes."""
    return any(node.get("GPU", 0) >= 1 for node in nodes)


def workers_for(nodes: Sequence[Mapping[str, float]], jobs: int, asked: int | None = None) -> Workers:
    """Return the number of runs at a time, and the cores for each: as many cores as let all of them run at once.

    Args:
        nodes: resources of the nodes, by Ray's names.
        jobs: number of runs.
        asked: the number at a time that the user wants; None takes as many as fit.

    Raises:
        Mistake: if no node has room for a run.
    """

    def room(cores: int) -> int:
        return sum(_room(node, cores, has_gpus(nodes)) for node in nodes)

    if not room(1):
        raise Mistake(
            "no node of the Ray cluster has a core for a run; start one with: ray start --num-cpus N"
        )
    count = min(asked or jobs, jobs, room(1))
    most = int(max(node.get("CPU", 0) for node in nodes))
    return Workers(count, max(cores for cores in range(1, most + 1) if room(cores) >= count))


def _room(node: Mapping[str, float], cores: int, by_gpu: bool) -> int:
    """Return the number of runs with this number of cores, and perhaps a GPU, that a node has room for."""
    fitting = int(node.get("CPU", 0) // cores)
    return min(fitting, int(node.get("GPU", 0))) if by_gpu else fitting


def task_options(nodes: Sequence[Mapping[str, float]], workers: Workers, needed: int) -> dict[str, Any]:
    """Return what Ray is told of each run: what it takes of a node, and the environment of its process.

    Args:
        nodes: resources of the nodes.
        workers: cores of a run.
        needed: bytes of memory of a run; Ray is told at most what the largest node has.
    """
    largest = max(node.get("memory", 0) for node in nodes if _room(node, workers.threads, has_gpus(nodes)))
    return {
        "num_cpus": workers.threads,
        "num_gpus": 1 if has_gpus(nodes) else 0,
        "memory": min(needed, int(largest)),
        "max_retries": 0,  # the engine counts the deaths
        "runtime_env": {"env_vars": dict(PASSIVE)},
    }


@contextmanager
def _shared_file(out: Path | str) -> Iterator[Path | None]:
    """Make a file in the folder of the runs, by which nodes know that they share it; yield None for a URL."""
    if is_url(out):
        yield None
        return
    path = Path(out).absolute() / f".ray-{uuid4().hex}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@dataclass
class _Study:
    """Tasks that run, and jobs that wait."""

    jobs: Sequence[Job]
    order: Order
    options: Mapping[str, Any]
    most: int
    study: StudyProgress
    waiting: list[int] = field(default_factory=list)
    running: dict[Any, int] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)

    def run(self) -> list[Path]:
        """Run all jobs."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox: Any = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        task: Any = ray.remote(run_on_node).options(**self.options)
        jobs = ray.put([with_absolute_paths(job) for job in self.jobs])
        self.waiting = list(range(len(self.jobs)))
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.most:
                    order = self._order(self.waiting.pop(0))
                    self.running[task.remote(jobs, order, mailbox)] = order.number
                ended, _ = ray.wait(list(self.running), timeout=REPORT_SECONDS)
                for message in ray.get(mailbox.take.remote()):
                    self.study.take(message)
                for reference in ended:
                    self._take(reference)
        finally:
            with suppress(ray.exceptions.RayError):
                for reference in self.running:
                    ray.cancel(reference, force=True)
                ray.kill(mailbox)
        return [self.folders[number] for number in range(len(self.jobs))]

    def _order(self, number: int) -> Order:
        label = label_of(self.jobs[number], number, len(self.jobs))
        return replace(self.order, number=number, label=label, continued=number in self.deaths)

    def _take(self, reference: Any) -> None:
        """Take what a task left."""
        import ray

        number = self.running.pop(reference)
        try:
            outcome = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise Mistake(
                f"a node of the Ray cluster cannot run lowland ({reason_of(error.cause)}); install the same version on"
                " all"
            ) from error
        except ray.exceptions.RayError as error:
            self._count_death(number, CAUSES.get(type(error).__name__) or reason_of(error))
            return
        if isinstance(outcome, Raised):
            raise outcome.error
        self._finish(number, self._fetched(number, outcome.outcome.name))

    def _count_death(self, number: int, reason: str) -> None:
        """Run a job again whose worker died, or record it as failed."""
        deaths = self.deaths[number] = self.deaths.get(number, 0) + 1
        job, progress = self.jobs[number], self.study.progress
        label = label_of(job, number, len(self.jobs))
        if deaths < MOST_DEATHS:
            self.study.stopped(number)
            progress.say(f"{label}: {reason}; the run goes on from its last checkpoint")
            self.waiting.insert(0, number)
            cores, by_gpu = self.options["num_cpus"], bool(self.options["num_gpus"])
            if not any(_room(node, cores, by_gpu) for node in _nodes()):
                progress.say(f"no node of the Ray cluster has {plural(cores, 'core')} now; waiting for one")
            return
        cause = f"{reason}; {deaths} workers died over this run"
        self._finish(number, record_death(job, cause, progress, label))

    def _fetched(self, number: int, name: str) -> Path:
        """Return the folder of a run on this machine."""
        store = open_store(self.jobs[number].out)
        with store.claim(name):
            store.fetch(name)
        return store.root / name

    def _finish(self, number: int, folder: Path) -> None:
        self.folders[number] = folder
        self.study.ended(number, folder)
