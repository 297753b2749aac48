"""State of a folder in which a study runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lowland.evidence import running as module
from lowland.evidence.running import best_so_far, histories_so_far, read_state, time_left
from lowland.ground.mistakes import Mistake
from lowland.ground.study_notes import PlannedRun
from tests.report.running_studies import (
    NOW,
    at,
    at_work,
    change,
    finish,
    leave_checkpoint,
    leave_four_runs,
    leave_note,
    planned,
    run,
    unfinish,
)
from tests.report.whole_studies import history


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return leave_four_runs(tmp_path / "runs")


def content(root: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    state = read_state(tmp_path / "no")
    assert (state.exists, state.runs, state.is_running) == (False, (), False)


def test_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match="is a file"):
        read_state(tmp_path / "file")


def test_runs_are_done_running_failed_and_waiting(root: Path) -> None:
    plans = [planned(path) for path in sorted(root.iterdir())]
    waiting = PlannedRun("toy-dora-s1-0123456789", "dora", 1)
    change(
        run(root, "full", 2),
        status="failed",
        failure="ValueError: NaN",
        when={"ended": "2999-01-01T00:00:00+00:00"},
    )
    running = run(root, "lora", 2)
    unfinish(running, since=5)
    with at_work(root, [running.name], [*plans, waiting]):
        before = content(root)
        state = read_state(root)
        assert content(root) == before
        counts = {each: len(state.of(each)) for each in ("finished", "running", "failed", "unfinished")}
        assert counts == {"finished": 2, "running": 1, "failed": 1, "unfinished": 0}
        assert state.waiting == (waiting,)
        assert state.is_running
    state = read_state(root)
    assert not state.is_running
    assert len(state.of("unfinished")) == 1
    assert state.waiting == ()


def test_of_a_killed_study_the_runs_are_known_that_never_began(root: Path) -> None:
    plans = [planned(path) for path in sorted(root.iterdir())]
    never = PlannedRun("toy-dora-s1-0123456789", "dora", 1)
    unfinish(run(root, "lora", 2), since=5)
    leave_note(root, [*plans, never], "2020-01-01T00:00:00+00:00")
    state = read_state(root)
    assert (state.is_running, state.is_cut_short) == (False, True)
    assert state.waiting == (never,)
    assert len(state.of("unfinished")) == 1
    with at_work(root, [], [*plans, never]):  # it goes on
        state = read_state(root)
        assert (state.is_running, state.is_cut_short) == (True, False)
        assert never in state.waiting


def test_a_killed_study_is_forgotten_when_another_study_has_ended_since(root: Path) -> None:
    plans = [planned(path) for path in sorted(root.iterdir())]
    never = PlannedRun("toy-dora-s1-0123456789", "dora", 1)
    for path in list(root.iterdir()):
        finish(path, took=5, ended=0)
    leave_note(root, [*plans[1:], never], at(1000))
    state = read_state(root)
    assert (state.is_cut_short, state.waiting) == (False, ())
    finish(root / plans[0].name, took=5, ended=2000)
    assert read_state(root).is_cut_short


def test_runs_that_failed_before_the_study_wait_to_be_run_again(root: Path) -> None:
    failed = change(
        run(root, "full", 2), status="failed", failure="x", when={"ended": "2020-01-01T00:00:00+00:00"}
    )
    plans = [planned(path) for path in sorted(root.iterdir())]
    with at_work(root, [], plans):
        state = read_state(root)
        assert [(each.method, each.seed) for each in state.waiting] == [(failed.method, failed.seed)]
        assert len(state.runs) == 3


def test_a_fresh_study_runs_all_of_them_again(root: Path) -> None:
    plans = [planned(path) for path in sorted(root.iterdir())]
    for path in root.iterdir():
        finish(path, took=5, ended=10**7)
    with at_work(root, [], plans, fresh=True):
        assert set(read_state(root).waiting) == set(plans)
    with at_work(root, [], plans):
        assert read_state(root).waiting == ()


def test_a_run_that_vanishes_meanwhile_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = run(root, "lora", 1)
    listed = module.list_folder

    def list_and_remove(folder: Path) -> object:
        (gone / "record.json").write_text("{")
        entries = listed(folder)
        shutil.rmtree(gone)
        return entries

    monkeypatch.setattr(module, "list_folder", list_and_remove)
    assert len(read_state(root).runs) == 3


@pytest.mark.parametrize(
    ("took", "since", "methods", "left"),
    [
        (100, 30, ("lora", "full"), "about 2 min left"),  # lora 100 - 30, and full 40
        (100, 30, ("lora",), "about 70 s left"),
        (
            10,
            500,
            ("lora", "full"),
            "about 40 s left",
        ),  # it takes longer than others did, so it counts as over
    ],
)
def test_the_time_left_is_that_of_the_same_methods(
    root: Path, took: float, since: float, methods: tuple[str, ...], left: str
) -> None:
    finish(run(root, "lora", 1), took=took)
    finish(run(root, "full", 1), took=40)
    running = run(root, "lora", 2)
    plans = [planned(path) for path in sorted(root.iterdir())]
    unfinish(running, since=since)
    shutil.rmtree(run(root, "full", 2))
    with at_work(root, [running.name], [plan for plan in plans if plan.method in methods]):
        assert time_left(read_state(root), NOW) == left
    assert time_left(read_state(root), NOW) == ""


def test_the_best_so_far_is_by_validation_scores(root: Path) -> None:
    for method, seed, accuracy in (("lora", 1, 0.5), ("lora", 2, 0.7), ("full", 1, 0.65)):
        change(
            run(root, method, seed),
            validation={"accuracy": accuracy, "loss": 1.0},
            scores={"test": {"accuracy": 0.0}},
        )
    unfinish(run(root, "full", 2), since=1)
    name, means = best_so_far(read_state(root)) or ("", {})
    assert name == "accuracy"
    assert [(method, round(spread.mean, 6), count) for method, (spread, count) in means.items()] == [
        ("full", 0.65, 1), ("lora", 0.6, 2),
    ]  # fmt: skip


def test_nothing_is_best_before_a_run_has_ended(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert best_so_far(read_state(tmp_path / "runs")) is None


def test_the_curve_of_a_run_goes_to_its_last_whole_checkpoint(root: Path) -> None:
    running = run(root, "lora", 2)
    unfinish(running, since=1)
    log = history("lora", 2, 6)
    leave_checkpoint(root, running.name, log[:2], step=9)
    leave_checkpoint(root, running.name, log[:4], step=10)
    (root / f".{running.name}.checkpoints" / "checkpoint-11").mkdir()
    with at_work(root, [running.name], []):
        finished, so_far = histories_so_far(read_state(root))
    assert len(finished) == 3
    assert so_far == {running: log[:4]}


def test_the_signature_changes_when_something_happens_and_not_with_time(root: Path) -> None:
    running = run(root, "lora", 2)
    plans = [planned(path) for path in sorted(root.iterdir())]
    begun = unfinish(running, since=30)
    with at_work(root, [running.name], plans):
        first = read_state(root).signature
        assert read_state(root).signature == first
        leave_checkpoint(root, running.name, [])
        second = read_state(root).signature
        assert second != first
    assert read_state(root).signature != second
    shutil.rmtree(begun)
    assert len(read_state(root).signature) < len(second)
