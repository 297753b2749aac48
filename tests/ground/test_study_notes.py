"""Notes of running studies: there while the study runs, and gone with it."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from lowland.ground.listing import list_folder
from lowland.ground.study_notes import FOLDER, PlannedRun, read_study_notes, study_note

RUNS = (PlannedRun("toy-lora-s1-0123456789", "lora", 1), PlannedRun("toy-full-s1-0123456789", "full", 1))


def test_a_note_is_there_while_the_study_runs_and_leaves_nothing(tmp_path: Path) -> None:
    with study_note(tmp_path / "runs", RUNS, fresh=True):
        (note,) = read_study_notes(tmp_path / "runs")
        assert (note.runs, note.fresh) == (RUNS, True)
        assert list_folder(tmp_path / "runs") == []
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_study_that_raises_leaves_no_note(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), study_note(tmp_path, RUNS):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_studies_have_notes_of_their_own(tmp_path: Path) -> None:
    with study_note(tmp_path, RUNS[:1]):
        with study_note(tmp_path, RUNS[1:]):
            assert {note.runs for note in read_study_notes(tmp_path)} == {RUNS[:1], RUNS[1:]}
        assert [note.runs for note in read_study_notes(tmp_path)] == [RUNS[:1]]


def test_the_same_study_in_a_second_process_goes_on_without_a_note_of_its_own(tmp_path: Path) -> None:
    with study_note(tmp_path, RUNS):
        with study_note(tmp_path, RUNS):
            assert len(read_study_notes(tmp_path)) == 1
        assert len(read_study_notes(tmp_path)) == 1


def _stay(folder: Path) -> None:
    with study_note(folder, RUNS):
        time.sleep(60)


def test_the_note_of_a_killed_study_stays_and_says_so(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_stay, args=(tmp_path,))
    process.start()
    until = time.monotonic() + 20
    while not any(note.is_held for note in read_study_notes(tmp_path)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [note.is_held for note in read_study_notes(tmp_path)] == [True]
    process.kill()
    process.join()
    assert [(note.runs, note.is_held) for note in read_study_notes(tmp_path)] == [(RUNS, False)]
    with study_note(tmp_path, RUNS):
        assert [note.is_held for note in read_study_notes(tmp_path)] == [True]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"started": "x", "fresh": 1, "runs": [{"a": 1}]}'])
def test_a_note_that_cannot_be_read_does_not_count(tmp_path: Path, text: str) -> None:
    with study_note(tmp_path, RUNS):
        (path,) = (tmp_path / FOLDER).glob("*.json")
        path.write_text(text)
        assert read_study_notes(tmp_path) == []
