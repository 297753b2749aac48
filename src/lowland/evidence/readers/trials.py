"""Reader of a search's trials, from the journal in a folder of runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JOURNAL = "sweep.journal"
"""File in a folder of runs that keeps the trials of a search."""


@dataclass(frozen=True)
class SearchState:
    """State of the search for one method's settings.

    Attributes:
        name: name of the task and label of the method, with a hyphen between them.
        ended: number of trials that have ended.
        running: number of trials that were begun and have not ended; a killed process leaves such, too.
        stopped: number of ended trials that gave no score: they were stopped early, or diverged.
        best: highest validation score so far; None if there is none.
        settings: settings of the best trial.
        best_so_far: highest score after each ended trial; None as long as there is none.
    """

    name: str
    ended: int
    running: int
    stopped: int
    best: float | None
    settings: Mapping[str, Any]
    best_so_far: tuple[float | None, ...]


def read_trials(folder: Path) -> list[SearchState]:
    """Return how far the searches in a folder of runs are; nothing is written.

    Returns:
        None of them without a journal, without Optuna, or if the journal cannot be read now.
    """
    path = folder / JOURNAL
    if not path.is_file():
        return []
    try:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls the journal experimental
            storage = JournalStorage(JournalFileBackend(str(path)))
            studies = storage.get_all_studies()
            return [_state(study.study_name, storage.get_all_trials(study._study_id)) for study in studies]
    except Exception:  # a missing package, a line that is being written, a damaged journal
        return []


def _state(study: str, trials: list[Any]) -> SearchState:
    """Return the state of one search.

    Args:
        study: Optuna's name of it, which ends in a key.
        trials: Optuna's trials.
    """
    ended = [trial for trial in trials if trial.state.is_finished()]
    scored = [trial for trial in ended if trial.state.name == "COMPLETE" and trial.value is not None]
    best = max(scored, key=lambda trial: trial.value, default=None)
    so_far: list[float | None] = []
    for trial in ended:
        scores = [so_far[-1]] if so_far else []
        scores += [trial.value] if trial in scored else []
        so_far.append(max((score for score in scores if score is not None), default=None))
    return SearchState(
        name=study.rpartition("-")[0],
        ended=len(ended),
        running=sum(trial.state.name == "RUNNING" for trial in trials),
        stopped=len(ended) - len(scored),
        best=None if best is None else best.value,
        settings={} if best is None else dict(best.params),
        best_so_far=tuple(so_far),
    )
