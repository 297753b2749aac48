"""Reader of a search's trials."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from lowland.evidence.readers.trials import JOURNAL, read_trials


def search(folder: Path, name: str, scores: list[float | None]) -> None:
    """Leave a search with these scores of its trials; None is one that was stopped early."""
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        for number, score in enumerate(scores):
            trial = study.ask()
            trial.suggest_float("lr", 1e-5 * (number + 1), 1e-5 * (number + 1))
            if score is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, score)
        study.ask()


def test_trials_are_counted_and_the_best_is_found(tmp_path: Path) -> None:
    search(tmp_path, "toy-flat-lora-0123456789abcdef", [None, 0.5, 0.7, 0.6])
    before = (tmp_path / JOURNAL).read_bytes()
    (state,) = read_trials(tmp_path)
    assert (state.name, state.ended, state.running, state.stopped) == ("toy-flat-lora", 4, 1, 1)
    assert (state.best, state.best_so_far) == (0.7, (None, 0.5, 0.7, 0.7))
    assert state.settings == {"lr": pytest.approx(3e-5)}
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def test_a_folder_without_a_search_has_none_and_gets_none(tmp_path: Path) -> None:
    assert read_trials(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_being_written_does_not_stop_it(tmp_path: Path) -> None:
    search(tmp_path, "toy-lora-0123456789abcdef", [0.5])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"op_co')
    assert [state.ended for state in read_trials(tmp_path)] == [1]
    (tmp_path / JOURNAL).write_text("damaged\nlines\n")
    assert read_trials(tmp_path) == []
