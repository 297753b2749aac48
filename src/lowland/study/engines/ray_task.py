"""Task of Ray: one run on a node of a cluster, which need not be the machine that asked for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake
from lowland.ground.provenance import code
from lowland.ground.runtime import keep_large_blocks
from lowland.models.find import find_model
from lowland.models.source import files_hash, weights_hash
from lowland.study.engines.worker import Done, Raised
from lowland.study.messages import Began, Moved, Relay, Said
from lowland.train.job import Job


@dataclass(frozen=True)
class Order:
    """Request for one run: which job of the study, and how a node runs it.

    Attributes:
        number: number of the job in the study.
        label: label of the run in reports.
        fresh: whether a finished run is replaced.
        continued: whether an earlier worker of this study has begun the run.
        threads: number of threads of torch.
        source_sha256: hash of lowland's source on the machine that asks.
        bars: whether trainings can be shown as bars.
        shared: file that the node sees if it shares the folder of the runs; None where that is behind a URL.
        prepare: function to call first.
    """

    number: int
    label: str
    fresh: bool
    continued: bool
    threads: int
    source_sha256: str
    bars: bool
    shared: Path | None
    prepare: Callable[[], None]


class Mailbox:
    """Messages of all nodes, for the process that asks. It lives in a process of its own, as an actor of Ray."""

    def __init__(self) -> None:
        self.messages: list[Said | Began | Moved] = []

    def put(self, message: Said | Began | Moved) -> None:
        """Add a message."""
        self.messages.append(message)

    def take(self) -> list[Said | Began | Moved]:
        """Return all messages since the last call."""
        messages, self.messages = self.messages, []
        return messages


def run_on_node(jobs: Sequence[Job], order: Order, mailbox: Any) -> Done | Raised:
    """Run one job on this node.

    Args:
        jobs: all jobs of the study; Ray sends them to a node once.
        order: which of them, and how.
        mailbox: handle of a `Mailbox`.
    """
    import ray

    order.prepare()
    import torch

    from lowland.study.run import run_job

    torch.set_num_threads(order.threads)
    keep_large_blocks()
    progress = Relay(lambda message: ray.get(mailbox.put.remote(message)), order.bars)
    ray.get(mailbox.put.remote(Began(order.number)))
    try:
        _check_node(order, ray.util.get_node_ip_address())
        job = _with_model_of_node(jobs[order.number])
        folder = run_job(
            job, fresh=order.fresh, continued=order.continued, progress=progress, label=order.label
        )
    except (Mistake, OSError) as error:
        return Raised(error)
    return Done(folder)


def _check_node(order: Order, node: str) -> None:
    """Check that this node has the code of the machine that asks, and shares the folder of the runs with it."""
    if code()["source_sha256"] != order.source_sha256:
        raise Mistake(
            f"the node {node} of the Ray cluster has another lowland than this machine; install the same version on all"
        )
    if order.shared is not None and not order.shared.exists():
        raise Mistake(
            f"out is {order.shared.parent}, which the node {node} of the Ray cluster does not share with this machine;"
            " name a folder that all nodes share, or a URL such as s3://bucket/runs"
        )


def _with_model_of_node(job: Job) -> Job:
    """Return the job with its model where this node has it: in the same folder, or found by name."""
    folder = job.source.folder if job.source.folder.is_dir() else find_model(job.model, job.revision).folder
    if _hashes(folder) != (job.source.sha256, job.source.files_sha256):
        raise Mistake(
            f"model {job.model} is another on a node of the Ray cluster, in {folder}: its weights have SHA-256"
            f" {_hashes(folder)[0]} there and {job.source.sha256} here; put the same model on all"
        )
    return replace(job, source=replace(job.source, folder=folder))


@functools.cache
def _hashes(folder: Path) -> tuple[str, str]:
    return weights_hash(folder), files_hash(folder)
