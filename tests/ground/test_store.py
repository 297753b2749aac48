"""A run is complete or absent: after exceptions, full disks, kills at any moment, and with two processes."""

from __future__ import annotations

import errno
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.ground import store as store_module
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record, write_record, write_stress_record
from lowland.ground.records import RunRecord, StressRecord
from lowland.ground.store import Store, expand_runs, key_of

NAME = "demo-lora-s42-0123456789"
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from lowland.ground.record_files import write_record
from lowland.ground.records import RunRecord
from lowland.ground.store import Store

NAME, store = sys.argv[1], Store(sys.argv[2])

def record(key):
    asked = {"task": {"name": "toy"}, "method": {"name": "lora", "label": "lora"}, "seed": 42}
    return RunRecord(key=key, asked=asked, status="finished")

def say(word):
    print(word, flush=True)

def write(key, files=1):
    with store.writing(NAME) as folder:
        for number in range(files):
            (folder / f"{number}.txt").write_text(key)
        write_record(folder, record(key))
"""


def record_of(key: str = "new", status: str = "finished") -> RunRecord:
    asked = {"task": {"name": "toy"}, "method": {"name": "lora", "label": "lora"}, "seed": 42}
    return RunRecord(key=key, asked=asked, status=status)


def write(store: Store, key: str = "new", status: str = "finished") -> None:
    with store.claim(NAME), store.writing(NAME) as folder:
        (folder / "more").mkdir()
        (folder / "more" / "weights").write_text(key)
        write_record(folder, record_of(key, status))


def write_and_raise(store: Store, error: BaseException) -> None:
    with store.claim(NAME), store.writing(NAME) as folder:
        write_record(folder, record_of())
        raise error


def write_to_a_full_disk(store: Store) -> None:
    with store.claim(NAME), store.writing(NAME) as folder:
        (folder / "record.json").symlink_to("/dev/full")
        write_record(folder, record_of())


def tree(root: Path) -> dict[str, bytes]:
    """All files by their path, except the locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


def folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {".locks"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def start(store: Store) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start processes that run code with `store`, `write` and `say`; all are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + code, NAME, str(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def expect_word(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 40)
    assert ready, f"waited 40 seconds for '{word}'"
    assert process.stdout.readline().strip() == word


# The key of a run


def shuffled(value: Any, draw: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=5), st.data())
@settings(deadline=None, max_examples=60)
def test_the_key_does_not_depend_on_the_order_of_a_mapping(mapping, data):
    assert key_of(shuffled(mapping, data.draw)) == key_of(mapping)


@given(
    st.dictionaries(st.text(max_size=4), PLAIN, max_size=3),
    st.dictionaries(st.text(max_size=4), PLAIN, max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_keys_are_equal_exactly_when_the_json_is(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (key_of(first) == key_of(second)) == same


def test_the_key_is_sensitive_to_every_value_however_deep():
    request = {"a": 1, "b": {"c": [1, 2, {"d": None}], "e": 0.1}, "f": "ä"}
    others = [
        {**request, "a": 2}, {**request, "a": "1"}, {**request, "a": True}, {**request, "f": "a"},
        {**request, "g": None},
        {**request, "b": {"c": [2, 1, {"d": None}], "e": 0.1}},
        {**request, "b": {"c": [1, 2, {"d": 0}], "e": 0.1}},
        {**request, "b": {"c": [1, 2, {"d": None}], "e": math.nextafter(0.1, 1)}},
        {"a": 1, "b": {"c": [1, 2, {"d": None}]}, "e": 0.1, "f": "ä"},
    ]  # fmt: skip
    assert len({key_of(value) for value in [request, *others]}) == 1 + len(others)


def test_a_key_is_sixteen_hexadecimal_digits_the_same_in_every_process():
    code = "from lowland.ground.store import key_of; print(key_of({'b': 'ä', 'a': [1, 0.5, None, True]}))"
    key = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert key == key_of({"a": [1, 0.5, None, True], "b": "ä"})
    assert len(key) == 16
    assert int(key, 16) >= 0


def test_nan_has_no_key():
    with pytest.raises(ValueError, match="JSON compliant"):
        key_of({"lr": float("nan")})


# Finding


def test_nothing_is_found_where_nothing_was_written(store):
    assert store.find(NAME) is None
    assert not store.root.exists()


def test_a_finished_run_is_found(store):
    write(store)
    assert store.find(NAME) == record_of()
    assert store.find(NAME + "0") is None


def test_a_failed_run_does_not_count_as_found_and_can_be_written_again(store):
    write(store, status="failed")
    assert store.find(NAME) is None
    assert read_record(store.root / NAME).status == "failed"
    write(store)
    assert store.find(NAME) == record_of()


@pytest.mark.parametrize("text", ["", '{"key": "0', '{"version": 99}', "[]"])
def test_a_record_that_cannot_be_read_is_a_sentence_and_not_a_run_to_do_again(store, text):
    write(store)
    (store.root / NAME / "record.json").write_text(text)
    with pytest.raises(Mistake, match=NAME):
        store.find(NAME)


# Writing


def test_a_run_appears_all_at_once_when_the_block_ends(store):
    with store.claim(NAME):
        with store.writing(NAME) as folder:
            write_record(folder, record_of())
            assert store.find(NAME) is None
            assert not (store.root / NAME).exists()
        assert store.find(NAME) == record_of()
    assert folders(store.root) == {NAME}


def test_an_earlier_run_is_replaced_whole(store):
    write(store, "old")
    (store.root / NAME / "leftover").write_text("of the old run")
    write(store, "new")
    assert folders(store.root) == {NAME}
    assert set(tree(store.root)) == {f"{NAME}/more/weights", f"{NAME}/record.json"}
    assert store.find(NAME) == record_of("new")
    assert (store.root / NAME / "more" / "weights").read_text() == "new"


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        KeyboardInterrupt(),
        SystemExit(1),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_leaves_nothing_half_written_and_the_earlier_run_intact(store, earlier, error):
    if earlier:
        write(store, "old")
    before = tree(store.root)
    with pytest.raises(type(error)) as caught:
        write_and_raise(store, error)
    assert caught.value is error
    assert tree(store.root) == before
    assert folders(store.root) == ({NAME} if earlier else set())
    write(store, "again")  # and the run can be written after all
    assert store.find(NAME) == record_of("again")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
def test_a_disk_that_is_really_full_leaves_the_earlier_run_intact(store):
    write(store, "old")
    before = tree(store.root)
    with pytest.raises(OSError, match="No space left"):
        write_to_a_full_disk(store)
    assert tree(store.root) == before
    assert folders(store.root) == {NAME}


def test_files_are_on_the_disk_before_the_folder_takes_its_place(store, monkeypatch):
    """A full disk is also recognised if the error comes only when the file is synced."""
    write(store, "old")
    before = tree(store.root)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(store, "new")
    assert tree(store.root) == before
    assert folders(store.root) == {NAME}


def test_every_file_is_synced(store, monkeypatch):
    synced = set()
    fsync = os.fsync
    monkeypatch.setattr(store_module.os, "fsync", lambda d: (synced.add(os.fstat(d).st_ino), fsync(d)))
    write(store)
    files = [path for path in (store.root / NAME).rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_ino for path in files} <= synced


@pytest.mark.parametrize("below", [False, True])
def test_a_file_in_the_place_of_the_folder_is_a_sentence(tmp_path, below):
    (tmp_path / "runs").write_text("a file")
    store = Store(tmp_path / "runs" / "deeper" if below else tmp_path / "runs")
    with pytest.raises(Mistake, match="which is a file; name a folder"):
        store.prepare([NAME])
    with pytest.raises(Mistake, match=r"out is .*runs.* name a folder"), store.claim(NAME):
        pass
    assert (tmp_path / "runs").read_text() == "a file"


def test_a_store_may_be_named_by_a_text(tmp_path):
    write(Store(str(tmp_path / "a" / "b")))
    assert Store(tmp_path / "a" / "b").find(NAME) == record_of()


# Kills


@pytest.mark.parametrize("earlier", [False, True])
def test_a_process_killed_while_it_writes_leaves_nothing_that_counts(store, start, earlier):
    if earlier:
        write(store, "old")
    process = start(
        "with store.claim(NAME), store.writing(NAME) as folder:\n"
        "    write_record(folder, record('half'))\n"
        "    say('writing')\n"
        "    time.sleep(600)\n"
    )
    expect_word(process, "writing")
    process.kill()
    process.wait()
    assert (
        len(folders(store.root)) == 1 + earlier
    )  # the half-written run has a temporary name, and does not count
    assert store.find(NAME) == (record_of("old") if earlier else None)
    with store.claim(NAME):
        assert folders(store.root) == ({NAME} if earlier else set())
    write(store, "new")
    assert store.find(NAME) == record_of("new")


@pytest.mark.parametrize(("renames", "left"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_replacement_killed_at_either_rename_leaves_one_whole_run(store, start, renames, left):
    """The old run is moved away and the new one takes its place; SIGKILL comes after 0, 1 or 2 renames."""
    write(store, "old")
    process = start(
        f"rename, done = Path.rename, []\n"
        "def count(self, target):\n"
        f"    if len(done) == {renames}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(target)\n"
        "    return rename(self, target)\n"
        "Path.rename = count\n"
        "with store.claim(NAME):\n"
        "    write('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert process.wait(timeout=60) == -signal.SIGKILL
    with store.claim(NAME):
        assert store.find(NAME) == record_of(left)
        assert folders(store.root) == {NAME}
    write(store, "newer")
    assert store.find(NAME) == record_of("newer")


def test_kills_at_any_moment_leave_one_whole_run(store, start):
    write(store, "0")
    for moment in (0.0, 0.01, 0.05):
        process = start(
            "say('ready')\nfor key in range(10**6):\n    with store.claim(NAME): write(str(key), files=20)\n"
        )
        expect_word(process, "ready")
        time.sleep(moment)
        process.kill()
        process.wait()
        with store.claim(NAME):
            record = store.find(NAME)
            assert record is not None
            assert folders(store.root) == {NAME}
            texts = {path.read_text() for path in (store.root / NAME).glob("*.txt")}
            assert texts <= {record.key}


# Two processes


def test_two_processes_that_claim_a_run_wait_for_each_other(store, start):
    """The second neither deletes a run that the first writes nor repeats one that it has finished."""
    first = start(
        "with store.claim(NAME), store.writing(NAME) as folder:\n"
        "    say('writing')\n"
        "    sys.stdin.readline()\n"
        "    write_record(folder, record('first'))\n"
    )
    expect_word(first, "writing")
    second = start(
        "say('asking')\n"
        "with store.claim(NAME):\n"
        "    found = store.find(NAME)\n"
        "    say(found.key if found else 'nothing')\n"
    )
    expect_word(second, "asking")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=0.5)
    assert first.stdin is not None
    print("go on", file=first.stdin, flush=True)
    expect_word(second, "first")
    assert first.wait(timeout=60) == second.wait(timeout=60) == 0
    assert store.find(NAME) == record_of("first")


def test_the_claim_of_a_killed_process_ends_with_it(store, start):
    first = start("with store.claim(NAME):\n    say('held')\n    time.sleep(600)\n")
    expect_word(first, "held")
    second = start("say('asking')\nwith store.claim(NAME): say('claimed')\n")
    expect_word(second, "asking")
    first.kill()
    expect_word(second, "claimed")


def test_different_runs_do_not_wait_for_each_other(store, start):
    first = start("with store.claim(NAME):\n    say('held')\n    time.sleep(600)\n")
    expect_word(first, "held")
    second = start("with store.claim(NAME + 'b'): say('claimed')\n")
    expect_word(second, "claimed")
    assert first.poll() is None


def test_a_claim_is_given_back_when_its_block_raises(store):
    with pytest.raises(RuntimeError), store.claim(NAME):
        raise RuntimeError
    with store.claim(NAME):
        pass


def test_ctrl_c_between_the_two_renames_leaves_the_earlier_run_in_its_place(tmp_path, monkeypatch):
    store = Store(tmp_path)
    record = record_of("old")

    def write():
        with store.claim("run"), store.writing("run") as folder:
            write_record(folder, record)

    write()
    rename = Path.rename

    def interrupted(self, target):
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert store.find("run") == record
    assert {path.name for path in tmp_path.iterdir()} == {".locks", "run"}


def test_a_path_with_undecodable_bytes_has_a_key():
    key_of({"data": b"caf\xe9.csv".decode("utf-8", "surrogateescape")})


@pytest.mark.parametrize(
    ("status", "is_found"), [("finished", True), ("incomplete", False), ("failed", False)]
)
def test_a_finished_stress_test_is_found_and_no_other(tmp_path, status, is_found):
    store = Store(tmp_path)
    record = StressRecord(key="0" * 16, asked={}, status=status)
    with store.claim(NAME), store.writing(NAME) as folder:
        write_stress_record(folder, record)
    assert store.find(NAME, StressRecord) == (record if is_found else None)
    assert store.find("another", StressRecord) is None
    with pytest.raises(Mistake, match="holds a stress test"):
        store.find(NAME)


@pytest.mark.parametrize("content", [b"{", b'{"version": 1}', b'{"version": 2, "colour": "blue"}', None])
def test_what_cannot_be_read_in_its_place_is_replaced_by_fresh(tmp_path, content):
    """As the sentence says: a program asks `find_to_replace` there, and writes anew."""
    folder = tmp_path / NAME
    folder.mkdir()
    if content is not None:
        (folder / "record.json").write_bytes(content)
    store = Store(tmp_path)
    for kind in (RunRecord, StressRecord):
        with pytest.raises(
            Mistake,
            match=r"; remove it with lowland study rm --yes .* and run it again, or run everything",
        ):
            store.find(NAME, kind)
        assert store.find_to_replace(NAME, kind) is None


def test_a_folder_of_runs_stands_for_the_finished_runs_in_it(tmp_path):
    store = Store(tmp_path / "runs")
    for name, status in (("a-1", "finished"), ("a-2", "failed"), ("a-3", "finished")):
        with store.claim(name), store.writing(name) as folder:
            write_record(folder, record_of(name, status))
    with store.claim("messy-1"), store.writing("messy-1") as folder:
        write_stress_record(folder, StressRecord(key="0", asked={}, status="finished"))
    runs = store.root
    assert expand_runs([runs], RunRecord) == (runs / "a-1", runs / "a-3")
    assert expand_runs([runs / "a-3", runs], RunRecord) == (runs / "a-3", runs / "a-1")
    assert expand_runs([runs], StressRecord) == (runs / "messy-1",)
    for stays in (runs / "a-2", tmp_path, tmp_path / "nowhere"):  # to be refused by name
        assert expand_runs([stays], RunRecord) == (stays,)
