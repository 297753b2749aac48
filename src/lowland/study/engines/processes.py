"""Engine of several processes that train each run together (torchrun, accelerate launch): data parallelism by DDP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record
from lowland.ground.remote_store import open_store
from lowland.study.run import run_one_after_another
from lowland.train.fit import fit
from lowland.train.fitted import Diverged
from lowland.train.job import Job
from lowland.train.processes import from_first, part_ways, process_count
from lowland.train.test import test


def lead(jobs: Sequence[Job], fresh: bool, progress: Progress) -> list[Path]:
    """Run jobs in the first process, one after another; the others `follow`.

    Raises:
        Mistake: if a run fails for a reason that the other processes do not share.
    """
    progress.say(f"{process_count()} processes train each run together")
    folders = run_one_after_another(jobs, fresh, progress, _check_shared_fate)
    from_first(None)
    part_ways()
    return folders


def follow(jobs: Sequence[Job]) -> None:
    """Train and test what the first process trains and tests, until it is done. Nothing is written."""
    by_name = {job.name: job for job in jobs}
    while (name := from_first(None)) is not None:
        job = replace(by_name[name], trackers=())
        try:
            test(fit(job, checkpoints=open_store(job.out).checkpoints(name)))
        except Diverged:  # in all processes alike
            continue
    part_ways()


def _check_shared_fate(folder: Path) -> None:
    """Check that a run which failed has failed in all processes; otherwise the others wait for this one for ever."""
    failure = read_record(folder).failure
    if failure is not None and not failure.startswith(f"{Diverged.__name__}:"):
        raise Mistake(
            f"a run failed ({failure.splitlines()[0]}; see {folder}), and the other processes may still be at it;"
            " start again: finished runs are kept"
        )
