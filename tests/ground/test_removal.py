"""Removal takes lowland's runs alone, finished ones only on request, and all that are named or none."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lowland.ground import store as store_module
from lowland.ground.listing import list_folder
from lowland.ground.mistakes import Mistake
from lowland.ground.removal import remove_runs
from lowland.ground.store import Store
from tests.folders_of_runs import put_failure, put_run, put_stress_test, put_unfinished, tree


def left(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {".locks"}


def test_what_failed_or_was_not_finished_goes_without_a_further_word(tmp_path: Path) -> None:
    failed, unfinished = put_failure(tmp_path), put_unfinished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    removed = remove_runs([tmp_path])
    assert {entry.folder for entry in removed} == {failed, unfinished}
    assert left(tmp_path) == {"notes.txt"}


def test_finished_runs_go_only_with_yes(tmp_path: Path) -> None:
    finished, failed, stress = (
        put_run(tmp_path),
        put_failure(tmp_path),
        put_stress_test(tmp_path, "incomplete"),
    )
    before = tree(tmp_path)
    with pytest.raises(
        Mistake, match=r"2 runs that did not fail \(1 incomplete, 1 finished\): .*; add --yes"
    ):
        remove_runs([tmp_path])
    with pytest.raises(Mistake, match="this would remove 1 stress test that did not fail"):
        remove_runs([stress])
    assert tree(tmp_path) == before
    assert [entry.folder for entry in remove_runs([tmp_path], only_failed=True)] == [failed]
    assert left(tmp_path) == {finished.name, stress.name}
    assert len(remove_runs([finished, stress, finished], yes=True)) == 2
    assert left(tmp_path) == set()


def test_only_what_is_named_goes(tmp_path: Path) -> None:
    first, second = put_run(tmp_path), put_run(tmp_path, seed=2)
    assert [entry.folder for entry in remove_runs([second], yes=True)] == [second]
    assert left(tmp_path) == {first.name}
    unfinished = put_unfinished(tmp_path)
    remove_runs([unfinished])
    assert left(tmp_path) == {first.name}


def test_nothing_but_records_of_lowland_is_removed(tmp_path: Path) -> None:
    folders = [put_run(tmp_path / "runs", seed=seed) for seed in range(1, 5)]
    good, strange, linked, outside = folders
    (strange / "notes.txt").write_text("mine")
    (linked / "record.json").rename(tmp_path / "record.json")
    (linked / "record.json").symlink_to(tmp_path / "record.json")
    outside.rename(tmp_path / "outside")
    outside.symlink_to(tmp_path / "outside")
    foreign = tmp_path / "runs" / "songs"
    foreign.mkdir()
    (foreign / "record.json").write_text('{"artist": "me"}')
    before = tree(tmp_path)
    for folder, sentence in (
        (strange, "also holds notes.txt, which lowland did not write"),
        (linked, "is a link, or its record is one"),
        (outside, "is a link, or its record is one"),
        (foreign, "is not known to be a run of lowland"),
        (tmp_path / "runs", "notes.txt"),
    ):
        with pytest.raises(Mistake, match=sentence):
            remove_runs([folder], yes=True)
        with pytest.raises(Mistake, match=sentence):
            remove_runs([good, folder], yes=True)
    assert tree(tmp_path) == before


def test_links_in_a_run_are_removed_and_not_followed(tmp_path: Path) -> None:
    folder = put_run(tmp_path / "runs")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (folder / "adapter").symlink_to(precious)
    (tmp_path / "runs" / ".toy-lora-s9-0123456789.partial").symlink_to(precious)
    Store(tmp_path / "runs").checkpoints(folder.name).symlink_to(precious)
    remove_runs([tmp_path / "runs"], yes=True)
    assert not folder.exists()
    assert (precious / "file").read_text() == "mine"


def test_a_damaged_run_goes_only_with_yes(tmp_path: Path) -> None:
    folder = put_run(tmp_path)
    (folder / "record.json").write_text("{")
    with pytest.raises(Mistake, match="1 damaged"):
        remove_runs([tmp_path])
    remove_runs([tmp_path], yes=True)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("put", [put_run, put_failure, put_unfinished])
def test_a_run_that_a_process_works_on_is_refused(tmp_path: Path, put: object) -> None:
    folder = put(tmp_path)  # type: ignore[operator]
    put_failure(tmp_path, "full", 1)  # comes before it
    with Store(tmp_path).claim(folder.name):
        Store(tmp_path).begun(folder.name).mkdir(exist_ok=True)
        before = tree(tmp_path)
        with pytest.raises(Mistake, match=r"a process works on .*; wait until it has ended, or end it"):
            remove_runs([tmp_path], yes=True)
        assert tree(tmp_path) == before
    remove_runs([tmp_path], yes=True)
    assert left(tmp_path) == set()


def test_a_run_that_is_finished_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = put_failure(tmp_path)
    claim = Store.claim

    def late(store: Store, name: str, *, wait: bool = True) -> object:
        if not wait:  # another process has run it, behind the list and before the claim
            put_run(tmp_path, seed=2)
        return claim(store, name, wait=wait)

    monkeypatch.setattr(Store, "claim", late)
    with pytest.raises(Mistake, match="has been finished in the meantime; it is kept"):
        remove_runs([tmp_path])
    assert failed.is_dir()


def test_a_removal_that_is_stopped_leaves_no_half_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_run(tmp_path)

    def stop(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store_module.shutil, "rmtree", stop)
    with pytest.raises(OSError, match="Input/output error"):
        remove_runs([folder], yes=True)
    monkeypatch.undo()
    assert not folder.exists()
    assert [entry.state for entry in list_folder(tmp_path)] == ["unfinished"]
    with Store(tmp_path).claim(folder.name):
        assert left(tmp_path) == set()


def test_there_must_be_something_to_remove(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="holds no runs; nothing was removed"):
        remove_runs([tmp_path])
    put_run(tmp_path)
    assert remove_runs([tmp_path], only_failed=True) == []
