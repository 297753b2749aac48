"""Runs behind a URL: whole or absent for every reader, on every machine, whatever fails in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.ground.remote import RemoteFolder
from lowland.ground.remote_store import RemoteStore, fetch_runs, mirror_of, open_store
from lowland.ground.store import Store
from tests.ground.test_remote import read, url, write
from tests.ground.test_store import NAME, record_of
from tests.ground.test_store import write as write_run

__all__ = ["url"]
Machine = Callable[[str], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go to a machine: one with a cache folder of its own."""
    return lambda name: monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / name))


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote/runs"


def fail_at(number: int, monkeypatch: pytest.MonkeyPatch, name: str = "put_file") -> None:
    """Let the file system fail at its n-th call, from 1 on, and afterwards."""
    from fsspec.implementations.local import LocalFileSystem

    real, calls = getattr(LocalFileSystem, name), []

    def act(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        if len(calls) >= number:
            raise OSError("the line is cut")
        return real(*arguments, **more)

    monkeypatch.setattr(LocalFileSystem, name, act)


def test_a_place_is_a_folder_or_a_url(tmp_path: Path, machine: Machine) -> None:
    machine("a")
    assert type(open_store(tmp_path)) is type(open_store(str(tmp_path))) is Store
    store = open_store("memory://me:secret@bucket/runs")
    assert isinstance(store, RemoteStore)
    assert store.root == mirror_of("memory://bucket/runs/") != mirror_of("memory://bucket/runs2")
    assert tmp_path / "a" in store.root.parents
    assert "secret" not in str(store.root)


def test_a_run_is_the_same_on_another_machine(url: str, machine: Machine) -> None:
    machine("a")
    first = RemoteStore(url)
    write_run(first)
    machine("b")
    second = RemoteStore(url)
    assert second.root != first.root
    with second.claim(NAME):
        assert second.find(NAME) == record_of()
    assert read(second.root / NAME) == read(first.root / NAME)
    machine("c")
    assert [read(folder) for folder in fetch_runs(f"{url}/{NAME}")] == [read(first.root / NAME)]
    assert [folder.name for folder in fetch_runs(url)] == [NAME]


def test_a_run_that_is_replaced_is_replaced_on_another_machine(place: str, machine: Machine) -> None:
    machine("a")
    first = RemoteStore(place)
    write_run(first)
    machine("b")
    second = RemoteStore(place)
    assert second.find(NAME) == record_of()
    write_run(first, "newer")
    assert second.find(NAME) == record_of("newer")
    assert (second.root / NAME / "more" / "weights").read_text() == "newer"


def test_a_copy_that_lost_a_file_is_fetched_again(place: str, machine: Machine) -> None:
    machine("a")
    store = RemoteStore(place)
    write_run(store)
    (store.root / NAME / "more" / "weights").unlink()
    assert store.find(NAME) == record_of()
    assert (store.root / NAME / "more" / "weights").read_text() == "new"


def test_a_copy_that_is_up_to_date_is_not_fetched(
    place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    store = RemoteStore(place)
    write_run(store)
    monkeypatch.setattr(RemoteFolder, "download", None)
    assert store.find(NAME) == record_of()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("replaces", [False, True])
def test_a_run_whose_copying_is_cut_off_is_absent_and_copied_later(
    number: int, replaces: bool, place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    store = RemoteStore(place)
    if replaces:
        write_run(store, "older")
    with monkeypatch.context() as patch:
        fail_at(number, patch)
        with pytest.raises(Mistake, match=r"the line is cut.*; .* is kept, and the same command copies it"):
            write_run(store)
    machine("b")
    assert RemoteStore(place).find(NAME) is None
    with pytest.raises(Mistake, match="holds no run"):
        fetch_runs(place)
    machine("a")
    assert store.find(NAME) == record_of()
    machine("b")
    assert RemoteStore(place).find(NAME) == record_of()


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_whose_fetching_is_cut_off_is_fetched_later(
    number: int, place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    write_run(RemoteStore(place))
    machine("b")
    store = RemoteStore(place)
    with monkeypatch.context() as patch:
        fail_at(number, patch, "get_file")
        with pytest.raises(Mistake, match="the line is cut"):
            store.find(NAME)
    assert not (store.root / NAME).exists()
    assert store.find(NAME) == record_of()


def test_a_run_that_is_replaced_while_it_is_read_is_the_new_one(
    place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    first = RemoteStore(place)
    write_run(first, "older")
    machine("b")
    second, real = RemoteStore(place), RemoteFolder.download
    replaced: list[str] = []

    def download(self: RemoteFolder, name: str, folder: Path) -> None:
        real(self, name, folder)
        if not replaced:
            replaced.append(name)
            write_run(first, "newer")

    monkeypatch.setattr(RemoteFolder, "download", download)
    assert second.find(NAME) == record_of("newer")
    assert (second.root / NAME / "more" / "weights").read_text() == "newer"


def test_a_failed_run_elsewhere_does_not_replace_a_finished_one_here(
    place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    first = RemoteStore(place)
    with monkeypatch.context() as patch:
        fail_at(1, patch)
        with pytest.raises(Mistake):
            write_run(first)
    machine("b")
    second = RemoteStore(place)
    write_run(second, "worse", "failed")
    assert second.find(NAME) is None
    assert first.find(NAME) == record_of()
    assert second.find(NAME) == record_of()


def test_checkpoints_go_with_the_run_to_another_machine(url: str, machine: Machine, tmp_path: Path) -> None:
    def leave(store: RemoteStore, step: int, origin: bytes = b"{}") -> dict[str, bytes]:
        folder = Store.checkpoints(store, NAME)
        files = {"trainer_state.json": b"{}", "weights": str(step).encode(), "zip": b"1"}
        write(folder, {"origin.json": origin} | {f"checkpoint-{step}/{name}": files[name] for name in files})
        store.publish_checkpoints(NAME)
        return read(folder)

    machine("a")
    first = RemoteStore(url)
    assert not first.checkpoints(NAME).exists()
    leave(first, 1)
    machine("b")
    second = RemoteStore(url)
    write(
        Store.checkpoints(second, NAME), {"origin.json": b"other", "checkpoint-9/trainer_state.json": b"{}"}
    )
    assert read(second.checkpoints(NAME)) == read(Store.checkpoints(first, NAME))
    both = leave(second, 2)
    assert read(first.checkpoints(NAME)) == both
    assert "checkpoint-2/weights" in both
    second.remove_checkpoints(NAME)
    assert not second.checkpoints(NAME).exists()
    assert first.remote.files(f".{NAME}.checkpoints") == {}
    assert first.remote.folders() == []


@pytest.mark.parametrize("same_origin", [True, False])
def test_checkpoints_whose_copying_is_cut_off_are_those_before_or_of_one_origin(
    same_origin: bool, place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is never taken for one of another code or environment."""
    old = {"origin.json": b"1", "checkpoint-1/trainer_state.json": b"1", "checkpoint-1/weights": b"1"}
    new = {"origin.json": b"1" if same_origin else b"2", "checkpoint-2/trainer_state.json": b"2"}
    new["checkpoint-2/weights"] = b"2"
    for number in range(1, 5):
        machine(f"a{number}")
        store = RemoteStore(f"{place}{number}")
        folder = Store.checkpoints(store, NAME)
        write(folder, old)
        store.publish_checkpoints(NAME)
        for path in old:
            (folder / path).unlink()
        write(folder, new)
        with monkeypatch.context() as patch:
            fail_at(number, patch)
            if number < 4:
                with pytest.raises(Mistake):
                    store.publish_checkpoints(NAME)
            else:
                store.publish_checkpoints(NAME)
        machine(f"b{number}")
        seen = read(RemoteStore(f"{place}{number}").checkpoints(NAME))
        whole = {path for path in seen if path.endswith("trainer_state.json")}
        assert all(path.replace("trainer_state.json", "weights") in seen for path in whole)
        assert {seen[path] for path in whole} <= ({b"1", b"2"} if same_origin else {seen.get("origin.json")})
        if same_origin:
            assert whole


def test_a_study_that_cannot_be_stored_is_known_before_it_begins(machine: Machine, tmp_path: Path) -> None:
    machine("a")
    store = RemoteStore("file:///proc/no-such/runs")
    with pytest.raises(Mistake, match="file:///proc/no-such/runs does not exist"):
        store.prepare([NAME])
    good = RemoteStore(f"file://{tmp_path}/remote")
    assert good.prepare([NAME]) == 0
    write_run(good)
    assert good.prepare([NAME]) == 0  # it is here already
    machine("b")
    assert RemoteStore(f"file://{tmp_path}/remote").prepare([NAME]) == 1


def test_a_finished_study_needs_no_right_to_write(
    place: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    store = RemoteStore(place)
    write_run(store)
    monkeypatch.setattr(RemoteFolder, "check_writable", lambda self: 1 / 0)
    assert store.prepare([NAME]) == 0
    for names, fresh in (([NAME, "another"], False), ([NAME], True)):
        with pytest.raises(ZeroDivisionError):
            store.prepare(names, fresh=fresh)
