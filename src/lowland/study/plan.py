"""Turn a recipe into jobs, and note them in their folder while they run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.remote import is_url
from lowland.ground.remote_store import open_store
from lowland.ground.study_notes import PlannedRun, study_note
from lowland.models.find import find_model
from lowland.models.formats import number_format
from lowland.models.source import ModelSource
from lowland.study.recipe import Recipe
from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_named
from lowland.train.job import Job
from lowland.train.processes import is_first
from lowland.train.trackers import tracker_problems


def plan(recipe: Recipe) -> list[Job]:
    """Return one job per method and seed, ordered by seed, so that an interrupted study has complete pairs.

    Data and model are loaded and resolved once. `dtype: auto` is resolved to fp32 or bf16, so that a run's key contains
    the actual format.

    Raises:
        Mistake: if the data or the model cannot be loaded, a tracker's package is missing, or this machine does not
            support the number format.
    """
    data, source = _look_up(recipe)
    dtype = number_format(recipe.dtype)  # imports torch, and takes seconds
    return [
        Job(
            fields=recipe.task,
            method=method,
            seed=seed,
            model=source.name,
            revision=recipe.revision,
            max_length=recipe.max_length or task_named(recipe.task.name).usual_length,
            dtype=dtype,
            compile=recipe.compile,
            keep_weights=recipe.keep_weights,
            data=data,
            source=source,
            out=recipe.out if is_url(recipe.out) else Path(recipe.out),
            trackers=recipe.trackers,
        )
        for seed in recipe.seeds
        for method in recipe.methods
    ]


def noted(jobs: Sequence[Job], fresh: bool) -> AbstractContextManager[None]:
    """Leave a note of a study's jobs in their folder while they run; of several processes, the first does."""
    planned = [PlannedRun(job.name, job.method.label, job.seed) for job in jobs]
    return study_note(open_store(jobs[0].out).root, planned, fresh=fresh) if is_first() else nullcontext()


def _look_up(recipe: Recipe) -> tuple[TaskData, ModelSource]:
    """Load the data, and find the model; report the mistakes of both, and those with the trackers."""
    problems = tracker_problems(recipe.trackers, recipe.out)
    data = source = None
    try:
        data = load_data(recipe.task)
    except Mistake as mistake:
        problems += _with_missing_files(recipe, mistake.problems)
    try:
        source = find_model(recipe.model, recipe.revision)
    except Mistake as mistake:
        problems += mistake.problems
    if data is None or source is None or problems:
        raise Mistake(*problems)
    return data, source


def _with_missing_files(recipe: Recipe, problems: Sequence[str]) -> list[str]:
    """Return what is wrong with the data; files that do not exist are named together."""
    paths = [path for path in (recipe.task.data, recipe.task.test_data) if path is not None]
    missing = [path for path in paths if not Path(path).exists()]
    others = [problem for problem in problems if not any(path in problem.split() for path in missing)]
    kind = "folder" if task_named(recipe.task.name).reads == "image" else "file"
    return [*(f"the data {kind} {path} does not exist; name a {kind}" for path in missing), *others]
