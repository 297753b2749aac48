"""Ray cluster on the loopback of this machine, in a process of its own, which obeys the lines of its input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "OMP_NUM_THREADS": "1",
}
"""Environment that keeps Ray on the loopback, and lets its workers have the priority of the tests."""
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


def environment() -> dict[str, str]:
    """The environment of processes that use the cluster: they import this lowland, and these tests."""
    root = Path(__file__).parents[3]
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}


class Cluster:
    """A head without cores, and nodes with one core each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.study.engines.cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=Path(__file__).parents[3],
        )
        self.address = self._answer()

    def order(self, word: str) -> None:
        """Add a node, or kill the oldest one."""
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)
        assert self._answer() == word

    def end(self) -> None:
        self.process.communicate("end\n", timeout=60)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("> "):
                return line[2:].strip()
        raise AssertionError("the cluster ended")


@contextmanager
def cluster() -> Iterator[Cluster]:
    running = Cluster()
    try:
        yield running
    finally:
        running.end()


def main() -> None:
    """Start a cluster, and obey."""
    from ray.cluster_utils import Cluster as RayCluster

    ray = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    print(f"> {ray.address}", flush=True)
    nodes = []
    for line in sys.stdin:
        word = line.strip()
        if word == "add":
            nodes.append(ray.add_node(num_cpus=1, **SMALL))
        elif word == "kill":
            ray.remove_node(nodes.pop(0), allow_graceful=False)
        else:
            break
        print(f"> {word}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
