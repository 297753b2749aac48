"""Lists of folders of runs: everything is listed with its state, and nothing in a folder stops the list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lowland.ground.listing import entries_at, entry_at, finished_runs, is_stress, list_folder, no_such_run
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from lowland.ground.store import Store
from tests.folders_of_runs import put_failure, put_run, put_stress_test, put_unfinished, tree


def states(root: Path) -> dict[str, str]:
    return {entry.folder.name: entry.state for entry in list_folder(root)}


def damage(folder: Path) -> Path:
    (folder / "record.json").write_text((folder / "record.json").read_text()[:40])
    return folder


def change(folder: Path, **values: object) -> Path:
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_every_run_is_listed_with_its_state(tmp_path: Path) -> None:
    expected = {
        put_run(tmp_path): "finished",
        put_failure(tmp_path): "failed",
        put_unfinished(tmp_path): "unfinished",
        put_unfinished(tmp_path, seed=4, noted=False): "unfinished",
        damage(put_run(tmp_path, seed=5)): "damaged",
        change(put_run(tmp_path, seed=6), version=1): "other version",
        change(put_run(tmp_path, seed=7), version="2"): "damaged",
        change(put_run(tmp_path, seed=8), status="resting"): "damaged",
        put_stress_test(tmp_path, "incomplete"): "incomplete",
    }
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / ".hidden.partial").mkdir()  # not lowland's: the name does not end in a key
    before = tree(tmp_path)
    assert states(tmp_path) == {folder.name: state for folder, state in expected.items()}
    assert tree(tmp_path) == before
    assert [entry.folder.name for entry in list_folder(tmp_path)] == sorted(states(tmp_path))


def test_an_unfinished_run_says_what_was_asked_and_whether_it_goes_on(tmp_path: Path) -> None:
    folder = put_unfinished(tmp_path)
    (entry,) = list_folder(tmp_path)
    assert entry.folder == folder
    assert not folder.exists()
    assert entry.record == read_record(Store(tmp_path).begun(folder.name))
    assert entry.has_checkpoints
    assert entries_at(folder) == [entry]
    assert entry_at(folder) == entry


def test_a_run_that_a_process_works_on_is_running(tmp_path: Path) -> None:
    for folder in (put_unfinished(tmp_path), put_failure(tmp_path)):
        with Store(tmp_path).claim(folder.name):
            Store(tmp_path).begun(folder.name).mkdir(exist_ok=True)
            assert states(tmp_path)[folder.name] == "running"
        assert states(tmp_path)[folder.name] != "running"


def test_a_finished_run_that_is_run_again_stays_finished(tmp_path: Path) -> None:
    folder = put_run(tmp_path)
    (tmp_path / f".{folder.name}.partial").mkdir()
    assert states(tmp_path) == {folder.name: "finished"}


def test_a_path_is_that_of_a_run_or_of_a_folder_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put_run(tmp_path), put_run(tmp_path, seed=2)
    assert [entry.folder for entry in entries_at(tmp_path)] == sorted([first, second])
    assert [entry.folder for entry in entries_at(first)] == [first]
    assert entry_at(second).record == read_record(second)
    monkeypatch.chdir(second)
    assert entry_at(Path()).folder == second
    monkeypatch.chdir(tmp_path)
    assert entry_at(Path(second.name)).folder.name == second.name
    with pytest.raises(Mistake, match=f"is a folder of runs; name one of them: {min(first, second).name}, "):
        entry_at(tmp_path)


def test_one_run_in_a_folder_is_not_taken_for_the_folder(tmp_path: Path) -> None:
    put_run(tmp_path)
    with pytest.raises(Mistake, match="is a folder of runs"):
        entry_at(tmp_path)


def test_what_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, sentence in (
        ("nowhere", "does not exist"),
        ("file", "is a file"),
        ("no\nwhere", "no‹U+000A›where"),
    ):
        with pytest.raises(Mistake, match=re.escape(sentence)):
            entries_at(tmp_path / name)
    assert list_folder(tmp_path) == []
    with pytest.raises(Mistake, match="holds no record"):
        entry_at(tmp_path)


def test_names_are_shown_without_what_they_hide(tmp_path: Path) -> None:
    folder = damage(put_run(tmp_path).rename(tmp_path / "two\nlines\x1b[31m"))
    (entry,) = list_folder(tmp_path)
    assert entry.folder == folder
    assert entry.name == "two‹U+000A›lines‹U+001B›[31m"
    assert "\n" not in str(entry) + entry.reason
    assert "\x1b" not in str(entry) + entry.reason


def test_unfinished_stress_tests_are_told_from_runs(tmp_path: Path) -> None:
    work = tmp_path / ".unfinished" / "adapter-toy-0123456789"
    work.mkdir(parents=True)
    run = put_run(tmp_path)
    stress = put_stress_test(tmp_path)
    kinds = {entry.folder.name: is_stress(entry) for entry in list_folder(tmp_path)}
    assert kinds == {run.name: False, stress.name: True, work.name: True}
    assert list(finished_runs(list_folder(tmp_path))) == [run]


def test_a_run_that_is_unfinished_is_not_said_to_be_missing(tmp_path: Path) -> None:
    put_run(tmp_path)
    folder = put_unfinished(tmp_path, seed=4)
    sentence = no_such_run(folder)
    assert sentence is not None
    assert (
        f"the run {folder.name} in {tmp_path} is unfinished; lowland study retry {tmp_path} runs" in sentence
    )
    assert "has no run nothing" in (no_such_run(tmp_path / "nothing") or "")
