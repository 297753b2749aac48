"""Run the jobs of a study and store their records."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lowland.ground.asked import check_kind
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.progress import Progress
from lowland.ground.provenance import hashes_in
from lowland.ground.record_files import write_history, write_predictions, write_record
from lowland.ground.records import RunRecord
from lowland.ground.remote import shown
from lowland.ground.remote_store import open_store
from lowland.ground.store import Store
from lowland.study.plan import noted, plan
from lowland.study.progress import StudyProgress, label_of, outcome_of
from lowland.study.recipe import Recipe
from lowland.study.run_record import begun_record, failed_record, finished_record
from lowland.study.training_bar import training_bar
from lowland.tasks.examples import TaskData
from lowland.train.check_fit import check_methods_fit
from lowland.train.fit import fit
from lowland.train.job import Job
from lowland.train.test import test

Engine = Callable[[Sequence[Job], bool, Progress], list[Path]]
"""Runs jobs, and returns the folders of their records in the order of the jobs."""


def run_study(
    recipe: Recipe, *, fresh: bool = False, progress: Progress | None = None, engine: Engine | None = None
) -> list[Path]:
    """Run everything that a recipe asks for; a finished run that is found in the store is not run again.

    Args:
        recipe: recipe of the study.
        fresh: run everything again, and replace what is found.
        progress: reports every run.
        engine: function that runs the jobs; default: one after another, in this process.

    Returns:
        The folders of the runs, failed ones too, in the order of `plan`.

    Raises:
        Mistake: if the data or the model cannot be loaded, or a method does not fit the model.
    """
    check_kind(recipe, Recipe, "run_study({})")
    return run_jobs(plan(recipe), fresh=fresh, progress=progress, engine=engine)


def run_jobs(
    jobs: Sequence[Job],
    *,
    fresh: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> list[Path]:
    """Run the jobs of one study; see `run_study`.

    Raises:
        Mistake: if a method does not fit the model, or the runs cannot be stored.
    """
    progress = progress or Progress()
    announce(jobs, progress)
    check_methods_fit(jobs)
    prepare_store(jobs, fresh, progress)
    with noted(jobs, fresh):
        return (engine or run_one_after_another)(jobs, fresh, progress)


def prepare_store(jobs: Sequence[Job], fresh: bool, progress: Progress) -> None:
    """Check that the runs can be stored, before any of them is begun, and fetch finished ones from a URL.

    Raises:
        Mistake: if they cannot be stored.
    """
    if count := open_store(jobs[0].out).prepare([job.name for job in jobs], fresh=fresh):
        progress.say(f"{plural(count, 'finished run')} fetched from {shown(str(jobs[0].out))}")


def announce(jobs: Sequence[Job], progress: Progress) -> None:
    """Report what the jobs of a study train on, and what a person should know of it."""
    data, source = jobs[0].data, jobs[0].source
    progress.say(f"task {data.task}, model {source.title}")
    origin = f"model from: {source.origin} ({source.sha256[:12]})"
    progress.say(f"data: {_sizes(data)}; {origin}; number format: {jobs[0].dtype}")
    if source.terms is not None:
        progress.say(f"terms of the model: {source.terms}")
    for remark in data.remarks:
        progress.remark(remark)


def run_one_after_another(
    jobs: Sequence[Job], fresh: bool, progress: Progress, check: Callable[[Path], None] | None = None
) -> list[Path]:
    """Run jobs in this process.

    Args:
        jobs: the jobs.
        fresh: run everything again.
        progress: reports every run.
        check: function that is called with the folder of each run; it may raise `Mistake` to stop the study.
    """
    folders = []
    with StudyProgress(jobs, 1, progress) as study:
        for number, job in enumerate(jobs):
            study.began(number)
            label = label_of(job, number, len(jobs))
            folders.append(run_job(job, fresh=fresh, progress=progress, label=label))
            study.ended(number, folders[-1])
            if check is not None:
                check(folders[-1])
    return folders


def run_job(
    job: Job,
    *,
    fresh: bool = False,
    continued: bool = False,
    progress: Progress | None = None,
    label: str = "",
) -> Path:
    """Train and test one job, and write its record; return the record's folder.

    A run that raises leaves a record with status "failed"; it does not stop the others.

    Args:
        job: the job.
        fresh: run again, and replace a finished run that is found.
        continued: the run was begun by the same study, so a fresh one goes on from its checkpoints, too.
        progress: reports the run.
        label: label of the run, in these reports.

    Raises:
        Mistake: if the method does not fit the model.
        OSError: if the record cannot be written.
    """
    store, name, progress = open_store(job.out), job.name, progress or Progress()
    with store.claim(name):
        finished = store.find_to_replace(name) if fresh else store.find(name)
        if finished is not None and not fresh:
            for sentence in finished.remarks:
                progress.remark(sentence)
            untracked = (
                "; not tracked, since it was finished before (--fresh runs it again)" if job.trackers else ""
            )
            progress.say(f"{label}: found, {outcome_of(finished)}{untracked}")
            return store.root / name
        begun = begun_record(job)
        if fresh and not continued:
            store.remove_checkpoints(name)
        try:
            with _noted(store.begun(name), begun), store.writing(name) as folder:
                record = _train_and_test(job, begun, folder, store, progress, label)
            progress.say(f"{label}: {outcome_of(record)}, {record.cost['train_seconds']:.0f} s")
        except (Mistake, OSError):
            raise
        except Exception as error:
            name = _leave_failure(
                store, name, failed_record(begun, error), finished is not None, progress, label
            )
        store.remove_checkpoints(name)
    return store.root / name


@contextmanager
def _noted(folder: Path, begun: RunRecord) -> Iterator[None]:
    """Leave a note of what was asked while a run lasts; it stays if the process is killed or the disk is full."""
    folder.mkdir(exist_ok=True)
    try:
        write_record(folder, replace(begun, status="unfinished"))
        yield
    except OSError:
        raise
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Died(RuntimeError):
    """The process of a run ended before the run did."""


def record_death(job: Job, cause: str, progress: Progress, label: str) -> Path:
    """Leave the record of a run whose process died; return its folder.

    Args:
        job: the job.
        cause: why it died, as a sentence.
        progress: reports the run.
        label: label of the run, in these reports.

    Raises:
        OSError: if the record cannot be written.
    """
    store = open_store(job.out)
    with store.claim(job.name):
        exists = store.find_to_replace(job.name) is not None
        shutil.rmtree(store.begun(job.name), ignore_errors=True)
        return store.root / _leave_failure(
            store, job.name, failed_record(begun_record(job), Died(cause)), exists, progress, label
        )


def _leave_failure(
    store: Store, name: str, record: RunRecord, exists: bool, progress: Progress, label: str
) -> str:
    """Write the record of a failed run, beside an earlier good one; return the name of its folder."""
    if exists:
        name = f"{name}-failed"
    with store.writing(name) as folder:
        write_record(folder, record)
    progress.say(f"{label}: FAILED, {str(record.failure).splitlines()[0]}")
    return name


def _train_and_test(
    job: Job, begun: RunRecord, folder: Path, store: Store, progress: Progress, label: str
) -> RunRecord:
    """Train, test, and write everything into the run's folder."""
    remarks = list(job.data.remarks)

    def remark(sentence: str) -> None:
        remarks.append(sentence)
        progress.remark(sentence)

    def publish() -> None:
        try:
            store.publish_checkpoints(job.name)
        except Mistake as mistake:  # the training goes on: the next one may be copied
            progress.say(f"{label}: its checkpoint was not copied: {mistake}")

    with training_bar(progress, label, job.task.scores[0]) as callbacks:
        fitted = fit(job, callbacks, remark, store.checkpoints(job.name), publish)
    evaluation = test(fitted, remark)
    record = replace(finished_record(begun, fitted, evaluation), remarks=remarks)
    if job.keep_weights:
        fitted.save(folder)
        record = replace(record, files=hashes_in(folder))
    write_predictions(folder, evaluation.predictions)
    write_history(folder, fitted.history)
    write_record(folder, record)
    return record


def _sizes(data: TaskData) -> str:
    order = ("train", "validation", *data.test_sets)
    return ", ".join(f"{len(data.splits[name])} {name}" for name in order)
