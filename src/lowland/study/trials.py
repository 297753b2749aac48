"""Trials of one method: training runs with the search's seed, whose settings Optuna chooses by validation scores.

Test data are not used. Trials are kept in a storage, so that a sweep that was stopped goes on where it was, and several
processes or machines can share one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

import lowland
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.progress import Progress
from lowland.ground.remote_store import open_store
from lowland.ground.rng import stream_seed
from lowland.ground.store import key_of
from lowland.study.search import Range, Search, settings_of, space_of
from lowland.study.training_bar import training_bar
from lowland.study.tuning import Tuning
from lowland.train.fit import fit
from lowland.train.fitted import Diverged
from lowland.train.job import Job

if TYPE_CHECKING:
    import optuna

OWN = "own"
"""Mark of the trial with the recipe's own settings."""
STORAGE_FILE = "sweep.journal"
"""File in the folder of the runs that keeps the trials."""


@dataclass
class Trials:
    """The trials of one method. A copy in another process sees the same trials.

    Attributes:
        job: a job of the method, with the search's seed.
        search: what is searched, and how long.
    """

    job: Job
    search: Search

    @property
    def label(self) -> str:
        """Label of the method."""
        return self.job.method.label

    @cached_property
    def space(self) -> dict[str, Range]:
        """Range of each searched setting; empty if the method uses none of them."""
        return space_of(self.job.method, self.search)

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's study of the method, which is opened or begun.

        Raises:
            Mistake: if Optuna is not installed, or the storage cannot be used.
        """
        try:
            import optuna
        except ImportError:
            raise Mistake("a search needs the package optuna; pip install 'lowland[sweep]'") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = optuna.pruners.MedianPruner() if self.search.prune else optuna.pruners.NopPruner()
        with _storage_errors(self.search.storage):
            return optuna.create_study(
                storage=_storage(self.search.storage, self.job.out),
                pruner=pruner,
                study_name=f"{self.job.fields.name}-{self.label}-{self._key}",
                direction="maximize",
                load_if_exists=True,
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process needs; it opens the study itself."""
        return {name: value for name, value in vars(self).items() if name != "study"}

    def open(self) -> None:
        """Open the study, or begin it.

        Raises:
            Mistake: if Optuna is not installed, or the storage cannot be used.
        """
        self.study  # noqa: B018  # opens it

    def name(self, number: int) -> str:
        """Return the name of a trial in reports; trials are counted from 0 on."""
        return f"[{number + 1}/{self.search.trials}] {self.label}"

    def ended(self) -> list[optuna.trial.FrozenTrial]:
        """Return the trials that have ended, in their order."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def best(self) -> float | None:
        """Return the highest score of the trials so far; None if none of them has a score."""
        return max(
            (score for trial in self._scored(self.ended()) if (score := trial.value) is not None),
            default=None,
        )

    def run_next(self, progress: Progress, name: str) -> None:
        """Train with the next settings, and keep the validation score.

        Args:
            progress: reports the trial.
            name: name of the trial in these reports.
        """
        import optuna

        job, score_name = self.job, self.job.task.scores[0]
        trial = self._ask()
        values = {setting: _suggest(trial, setting, allowed) for setting, allowed in self.space.items()}
        shown = ", ".join(f"{setting} {value:.3g}" for setting, value in values.items())
        counter = _Epochs(trial, score_name)
        try:
            with training_bar(progress, name, score_name) as bars:
                fitted = fit(job.with_settings(**settings_of(values, job.method.method)), [counter, *bars])
        except (Diverged, optuna.TrialPruned) as stop:
            pruned = isinstance(stop, optuna.TrialPruned)
            state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
            self._tell(trial, counter.epochs, state=state)
            progress.say(f"{name}: {shown}: {'stopped early' if pruned else 'diverged'}")
            return
        score = fitted.validation[score_name]
        trial.set_user_attr("loss", fitted.validation["loss"])
        self._tell(trial, counter.epochs, values=score)
        progress.say(f"{name}: {shown}: validation {score_name.replace('_', ' ')} {score:.4f}")

    def outcome(self) -> Tuning:
        """Return the outcome of the first trials, as many as were asked for; of equal scores, that of the smaller loss.

        Raises:
            Mistake: if no trial gave a score.
        """
        ended = self.ended()[: self.search.trials]
        if not (scored := self._scored(ended)):
            raise Mistake(
                f"no trial of {self.label} gave a score: all {len(ended)} diverged or were stopped; try another range"
            )
        method = self.job.method.method
        best = max(scored, key=lambda trial: (trial.value, -trial.user_attrs["loss"], -trial.number))
        return Tuning(
            label=self.label,
            space=self.space,
            trials=[
                {
                    "settings": settings_of(trial.params, method),
                    "score": trial.value if trial in scored else None,
                    "state": trial.state.name.lower(),
                }
                for trial in ended
            ],
            best=settings_of(best.params, method),
            examples=sum(trial.user_attrs.get("examples", 0) for trial in ended),
            score=self.job.task.scores[0],
        )

    @property
    def _key(self) -> str:
        """Key of the search: equal for equal jobs, ranges and seeds, whatever the number of trials."""
        ranges = {name: [values.describe(), values.log] for name, values in self.space.items()}
        prune, version = self.search.prune, lowland.__version__
        return key_of({"job": self.job.key, "space": ranges, "prune": prune, "lowland": version})

    @staticmethod
    def _scored(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]

    def _ask(self) -> optuna.Trial:
        """Begin a trial: the first one has the recipe's own settings."""
        import optuna

        trials = self.study.get_trials(deepcopy=False)
        # A search of one process draws again what it lost; where several share a storage, each draw is another.
        number = len(self.ended() if self.search.storage is None else trials)
        seed = stream_seed(self.search.search_seed, "sweep", number) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        if not any(trial.user_attrs.get(OWN) and trial.state.is_finished() for trial in trials):
            own = {name: getattr(self.job.settings, name) for name in self.space}
            self.study.enqueue_trial(own, user_attrs={OWN: True})
        return self.study.ask()

    def _tell(self, trial: optuna.Trial, epochs: int, **outcome: Any) -> None:
        """Keep the outcome of a trial, and the number of examples that it was trained on."""
        trial.set_user_attr("examples", epochs * len(self.job.data.splits["train"]))
        self.study.tell(trial, **outcome)


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


def _suggest(trial: optuna.Trial, name: str, allowed: Range) -> Any:
    if allowed.choices:
        return trial.suggest_categorical(name, allowed.choices)
    return trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)


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
