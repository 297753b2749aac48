"""Sweep: search the settings of each method on validation data, with an equal budget, by Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.remote_store import open_store
from lowland.study.progress import TrialsProgress
from lowland.study.run import announce
from lowland.study.search import Search
from lowland.study.trials import Trials
from lowland.study.tuning import Tuning
from lowland.train.check_fit import check_methods_fit
from lowland.train.job import Job

TrialsEngine = Callable[[Sequence[Trials], Progress], None]
"""Runs the trials of some methods until each has as many as were asked for."""


def sweep(
    jobs: Sequence[Job],
    search: Search,
    progress: Progress | None = None,
    engine: TrialsEngine | None = None,
) -> dict[str, Tuning]:
    """Search the settings of each method that has any to search.

    Args:
        jobs: jobs of a study; the search takes one of each method, with a seed of its own.
        search: what is searched, and how long.
        progress: reports every trial.
        engine: function that runs the trials; default: one after another, in this process.

    Returns:
        The outcome for each label.

    Raises:
        Mistake: if Optuna is not installed, the storage cannot be reached, or no trial of a method gave a score.
    """
    progress = progress or Progress()
    announce(jobs, progress)
    check_methods_fit(jobs)
    open_store(jobs[0].out).prepare([])
    untracked = [replace(job, seed=search.search_seed, keep_weights=False, trackers=()) for job in jobs]
    by_label = {job.method.label: Trials(job, search) for job in untracked}
    searched = [trials for trials in by_label.values() if trials.space]
    if not searched:
        raise Mistake(
            f"there is nothing to search: {', '.join(by_label)} {'uses' if len(by_label) == 1 else 'use'} none of"
            f" {', '.join(search.search)}; take another method, or leave the search out"
        )
    for trials in searched:
        trials.open()
    (engine or run_trials_in_turns)(searched, progress)
    return {trials.label: trials.outcome() for trials in searched}


def run_trials_in_turns(searched: Sequence[Trials], progress: Progress) -> None:
    """Run trials in this process.

    The methods take turns, so that a sweep that is stopped has spent about as much on each.

    Args:
        searched: the trials of each method.
        progress: reports every trial.
    """
    waiting = [
        (number, trials)
        for number in range(searched[0].search.trials)
        for trials in searched
        if len(trials.ended()) <= number
    ]
    with TrialsProgress([trials.label for _, trials in waiting], progress) as counter:
        for number, trials in waiting:
            counter.began(trials.label)
            # Where several machines share a storage, another may have taken the trial in the meantime.
            was_missing = len(trials.ended()) <= number
            if was_missing:
                trials.run_next(progress, trials.name(number))
            best = {each.label: each.best() for each in searched}
            counter.ended(trials.label, best, was_run=was_missing)


def tuned(jobs: Sequence[Job], tunings: Mapping[str, Tuning]) -> list[Job]:
    """Return jobs with the best settings that a sweep found for their methods; their records will say how."""
    return [
        replace(
            job.with_settings(**tunings[job.method.label].best), tuning=tunings[job.method.label].describe()
        )
        if job.method.label in tunings
        else job
        for job in jobs
    ]
