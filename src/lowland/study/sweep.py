"""Sweep: search the settings of each method on validation data, with an equal budget, by Optuna.

A trial is a training run with the search's seed; test data are not used. Trials are kept in a storage, so that a sweep
that was stopped goes on where it was, and several machines can share one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

import lowland
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.progress import Progress
from lowland.ground.remote_store import open_store
from lowland.ground.rng import stream_seed
from lowland.ground.store import key_of
from lowland.study.progress import TrialsProgress
from lowland.study.run import announce
from lowland.study.search import Range, Search, settings_of, space_of
from lowland.study.training_bar import training_bar
from lowland.study.tuning import Tuning
from lowland.train.fit import check_methods_fit, fit
from lowland.train.fitted import Diverged
from lowland.train.job import Job

if TYPE_CHECKING:
    import optuna

OWN = "own"
"""Mark of the trial with the recipe's own settings."""
STORAGE_FILE = "sweep.journal"
"""File in the folder of the runs that keeps the trials."""


def sweep(jobs: Sequence[Job], search: Search, progress: Progress | None = None) -> dict[str, Tuning]:
    """Search the settings of each method that has any to search.

    The methods take turns, so that a sweep that is stopped has spent about the same on each.

    Args:
        jobs: jobs of a study; the search takes one of each method, with a seed of its own.
        search: what is searched, and how long.
        progress: reports every trial.

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
    by_label = {job.method.label: job for job in untracked}
    spaces = {label: space_of(job.method, search) for label, job in by_label.items()}
    searched = [job for label, job in by_label.items() if spaces[label]]
    if not searched:
        raise Mistake(
            f"there is nothing to search: {', '.join(spaces)} {'uses' if len(spaces) == 1 else 'use'} none of"
            f" {', '.join(search.search)}; take another method, or leave the search out"
        )
    studies = _studies(searched, spaces, search)
    trials = [
        (number, job)
        for number in range(search.trials)
        for job in searched
        if len(_ended(studies[job.method.label])) <= number
    ]
    with TrialsProgress([job.method.label for _, job in trials], progress) as counter:
        for number, job in trials:
            label, name = job.method.label, f"[{number + 1}/{search.trials}] {job.method.label}"
            # Where several machines share a storage, another may have taken the trial in the meantime.
            tried = len(_ended(studies[label])) <= number
            if tried:
                _try(studies[label], job, spaces[label], search, progress, name)
            counter.ended(
                label, was_run=tried, best={label: _best(study) for label, study in studies.items()}
            )
    return {
        job.method.label: _outcome(studies[job.method.label], job, spaces[job.method.label], search)
        for job in searched
    }


def tuned(jobs: Sequence[Job], tunings: Mapping[str, Tuning]) -> list[Job]:
    """Return jobs with the best settings that a sweep found for their methods; their records will say how."""
    return [
        replace(_with(job, tunings[job.method.label].best), tuning=tunings[job.method.label].describe())
        if job.method.label in tunings
        else job
        for job in jobs
    ]


def _studies(
    jobs: Sequence[Job], spaces: Mapping[str, Mapping[str, Range]], search: Search
) -> dict[str, optuna.Study]:
    """Open the Optuna study of each method."""
    try:
        import optuna
    except ImportError:
        raise Mistake("a search needs the package optuna; pip install 'lowland[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner() if search.prune else optuna.pruners.NopPruner()
    studies = {}
    with _storage_errors(search.storage):
        storage = _storage(search.storage, jobs[0].out)
        for job in jobs:
            label = job.method.label
            studies[label] = optuna.create_study(
                storage=storage,
                pruner=pruner,
                study_name=f"{job.fields.name}-{label}-{_key(job, spaces[label], search)}",
                direction="maximize",
                load_if_exists=True,
            )
    return studies


def _storage(url: str | None, out: Path | str) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if url is not None:
        return url
    root = open_store(out).root
    root.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(root / STORAGE_FILE)))


@contextmanager
def _storage_errors(url: str | None) -> Iterator[None]:
    """Turn any error of Optuna's storages into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls the journal experimental
            yield
    except Exception as error:
        raise Mistake(
            f"the storage of the trials, {url or STORAGE_FILE}, cannot be used ({reason_of(error)}); give an Optuna URL"
            " such as sqlite:///trials.db"
        ) from error


def _key(job: Job, space: Mapping[str, Range], search: Search) -> str:
    """Return the key of a search: equal for equal jobs, ranges and seeds, whatever the number of trials."""
    ranges = {name: [values.describe(), values.log] for name, values in space.items()}
    return key_of({"job": job.key, "space": ranges, "prune": search.prune, "lowland": lowland.__version__})


def _ended(study: optuna.Study) -> list[Any]:
    """Return the trials that have ended, in their order."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _best(study: optuna.Study) -> float | None:
    """Return the highest score of the trials so far; None if none of them has a score."""
    scores = [
        trial.value for trial in _ended(study) if trial.value is not None and trial.state.name == "COMPLETE"
    ]
    return max(scores, default=None)


def _try(
    study: optuna.Study,
    job: Job,
    space: Mapping[str, Range],
    search: Search,
    progress: Progress,
    label: str,
) -> None:
    """Train with the next values, and keep the validation score."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    # A search of one process draws again what it lost; where several share a storage, each draw is another.
    number = len(_ended(study) if search.storage is None else trials)
    study.sampler = optuna.samplers.TPESampler(seed=stream_seed(search.search_seed, "sweep", number) % 2**32)
    has_own = any(trial.user_attrs.get(OWN) and trial.state.is_finished() for trial in trials)
    if not has_own:
        study.enqueue_trial({name: getattr(job.settings, name) for name in space}, user_attrs={OWN: True})
    trial = study.ask()
    values = {name: _suggest(trial, name, allowed) for name, allowed in space.items()}
    counter = _Epochs(trial, job.task.scores[0])
    try:
        with training_bar(progress, label, job.task.scores[0]) as bars:
            fitted = fit(_with(job, settings_of(values, job.method.method)), [counter, *bars])
    except (Diverged, optuna.TrialPruned) as stop:
        pruned = isinstance(stop, optuna.TrialPruned)
        _count(trial, job, counter.epochs)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL)
        progress.say(f"{label}: {_shown(values)}: {'stopped early' if pruned else 'diverged'}")
        return
    score = fitted.validation[job.task.scores[0]]
    trial.set_user_attr("loss", fitted.validation["loss"])
    _count(trial, job, counter.epochs)
    study.tell(trial, score)
    progress.say(f"{label}: {_shown(values)}: validation {job.task.scores[0].replace('_', ' ')} {score:.4f}")


def _suggest(trial: optuna.Trial, name: str, allowed: Range) -> Any:
    if allowed.choices:
        return trial.suggest_categorical(name, allowed.choices)
    return trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)


def _with(job: Job, values: Mapping[str, Any]) -> Job:
    """Return the job with other settings of its method."""
    choice = job.method
    settings = choice.settings.replace(**values)
    return replace(job, method=choice.replace(settings=settings, own=choice.own | set(values)))


def _count(trial: optuna.Trial, job: Job, epochs: int) -> None:
    trial.set_user_attr("examples", epochs * len(job.data.splits["train"]))


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _outcome(study: optuna.Study, job: Job, space: Mapping[str, Range], search: Search) -> Tuning:
    """Return the outcome of the first trials, as many as were asked for; of equal scores, that of the smaller loss."""
    method = job.method.method
    ended = _ended(study)[: search.trials]
    scored = [trial for trial in ended if trial.state.name == "COMPLETE"]
    if not scored:
        raise Mistake(
            f"no trial of {job.method.label} gave a score: all {len(ended)} diverged or were stopped; try another range"
        )
    best = max(scored, key=lambda trial: (trial.value, -trial.user_attrs["loss"], -trial.number))
    return Tuning(
        label=job.method.label,
        space=space,
        trials=[
            {
                "settings": settings_of(trial.params, method),
                "score": trial.value if trial.state.name == "COMPLETE" else None,
                "state": trial.state.name.lower(),
            }
            for trial in ended
        ],
        best=settings_of(best.params, method),
        examples=sum(trial.user_attrs.get("examples", 0) for trial in ended),
        score=job.task.scores[0],
    )


class _Epochs(TrainerCallback):
    """Callback that counts epochs, and tells Optuna the score after each of them."""

    def __init__(self, trial: optuna.Trial, score: str) -> None:
        self.trial, self.score, self.epochs = trial, score, 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the epoch."""
        self.epochs += 1

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Stop the training if the trial is worse than the median of the earlier ones."""
        import optuna

        value = (metrics or {}).get(f"eval_{self.score}")
        if value is None:
            return
        self.trial.report(value, self.epochs)
        if self.trial.should_prune():
            raise optuna.TrialPruned
