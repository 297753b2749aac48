"""Pool of worker processes: each does one task after another, and a death of one costs the task that it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from lowland.ground.runtime import environment_with
from lowland.study.engines.forks import PASSIVE, workers_context
from lowland.study.engines.worker import Done, Raised, Task, nothing, work
from lowland.study.messages import Moved, Said

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Workers:
    """Number of tasks at a time, and of threads for each."""

    count: int
    threads: int


@dataclass
class _Worker(Generic[T]):
    """Worker process, with the task that it does."""

    process: BaseProcess
    connection: Connection
    task: T | None = None


class Pool(Generic[T]):
    """Worker processes. A worker for which there is no task is ended; if tasks come up again, another is started.

    Args:
        workers: number of workers and of their threads.
        following: function that returns the next task; None if there is none at the moment. Once nothing is running
            and there is none, all is done.
        ended: function that is called with each task that ended, and its outcome.
        died: function that is called with each task whose worker died, and the cause in words.
        said: function that is called with what the tasks say.
        prepare: function that each worker calls first; it must be importable.
    """

    def __init__(
        self,
        workers: Workers,
        following: Callable[[], T | None],
        ended: Callable[[T, Any], None],
        died: Callable[[T, str], None],
        said: Callable[[Said | Moved], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        self.workers, self.prepare = workers, prepare
        self.following, self.ended, self.died, self.said = following, ended, died, said
        self._living: list[_Worker[T]] = []

    def run(self) -> None:
        """Run all tasks.

        Raises:
            Exception: what a task raised; the others are ended.
        """
        try:
            while True:
                self._fill()
                if not self._living:
                    return
                by_handle: dict[Any, _Worker[T]] = {worker.connection: worker for worker in self._living}
                by_handle |= {worker.process.sentinel: worker for worker in self._living}
                ready = {id(by_handle[handle]): by_handle[handle] for handle in wait(list(by_handle))}
                for worker in ready.values():
                    self._listen(worker)
        finally:
            for worker in self._living:
                worker.process.terminate()
            for worker in self._living:
                worker.process.join()

    def _fill(self) -> None:
        """Start workers while there are tasks and room for them."""
        while sum(worker.task is not None for worker in self._living) < self.workers.count:
            if (task := self.following()) is None:
                return
            worker = self._start()
            self._give(worker, task)

    def _start(self) -> _Worker[T]:
        context = workers_context()
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.workers.threads, self.prepare), daemon=True)
        with environment_with(**PASSIVE):
            process.start()
        theirs.close()
        worker: _Worker[T] = _Worker(process, ours)
        self._living.append(worker)
        return worker

    def _give(self, worker: _Worker[T], task: T | None) -> None:
        """Give a worker a task; end it if there is none."""
        worker.task = task
        worker.connection.send(task)

    def _listen(self, worker: _Worker[T]) -> None:
        """Take all messages of a worker; see what became of it if there can be no more."""
        try:
            while worker.connection.poll():
                self._take(worker, worker.connection.recv())
        except (EOFError, OSError):
            self._bury(worker)
            return
        if not worker.process.is_alive() and not worker.connection.poll():
            self._bury(worker)

    def _take(self, worker: _Worker[T], message: Said | Moved | Done | Raised) -> None:
        if isinstance(message, Raised):
            raise message.error
        if isinstance(message, Said | Moved):
            self.said(message)
            return
        task, worker.task = worker.task, None
        assert task is not None
        self.ended(task, message.outcome)
        self._give(worker, self.following())

    def _bury(self, worker: _Worker[T]) -> None:
        """Remove a worker that died."""
        self._living.remove(worker)
        worker.process.join()
        if worker.task is not None:
            self.died(worker.task, _cause(worker.process.exitcode))


def _cause(code: int | None) -> str:
    """Return why a worker died, in words."""
    if code == -9:
        return (
            "its process was killed (signal 9), as Linux does when memory runs out; fewer --workers may help"
        )
    return f"its process ended with exit code {code}"
