"""Studies: runs are complete or absent, a repeated request runs nothing, and records are reproducible."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_predictions, read_record
from lowland.ground.study_notes import read_study_notes
from lowland.models import formats
from lowland.study import run as study
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.classification import Classification
from lowland.tasks.examples import Encoded, Purpose, Setup
from lowland.train import test as testing
from lowland.train.fitted import Fitted
from lowland.train.job import Job

MEASURED = ("runtime", "per_second", "efficiency/seconds", "peak_bytes")
"""Parts of the names of what a history measures: times and memory."""
WIDE_FIRST = ((".*", 3), ("query", 1))


@pytest.fixture
def recipe(tmp_path: Path, texts: Path, tiny_model: Path) -> Callable[..., Recipe]:
    def make(**changes: Any) -> Recipe:
        settings = {
            "task": "classification",
            "data": str(texts),
            "model": str(tiny_model),
            "methods": ["lora", "flat-lora"],
            "seeds": [1, 2],
            "epochs": 1,
            "rank": 2,
            "dtype": "fp32",
            "out": str(tmp_path / "runs"),
        }
        return Recipe(**{**settings, **changes})

    return make


def comparable(folder: Path) -> dict[str, Any]:
    """Everything in a run except measured times and memory."""
    record = dataclasses.asdict(read_record(folder))
    del record["cost"], record["when"]
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    history = [{k: v for k, v in entry.items() if not any(part in k for part in MEASURED)} for entry in lines]
    weights = {p.name: p.read_bytes() for p in (folder / "adapter").glob("*")}
    return {
        "record": record,
        "history": history,
        "weights": weights,
        "answers": read_predictions(folder).to_dict(),
    }


def test_the_plan_goes_seed_by_seed(recipe: Callable[..., Recipe]) -> None:
    jobs = plan(recipe(methods=["full", "lora"], seeds=[3, 1]))
    order = [(job.method.name, job.seed) for job in jobs]
    assert order == [("full", 3), ("lora", 3), ("full", 1), ("lora", 1)]
    assert jobs[0].settings.lr == 5e-5  # the method's default
    assert jobs[1].settings.lr == 5e-4
    assert "rank" not in jobs[0].asked()["method"]


def test_the_same_study_twice_leaves_the_same_records(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    first = run_study(recipe())
    second = run_study(recipe(out=str(tmp_path / "again")))
    assert [folder.name for folder in first] == [folder.name for folder in second]
    for a, b in zip(first, second, strict=True):
        assert comparable(a) == comparable(b)


def test_a_finished_run_is_not_run_again_but_with_fresh(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = run_study(recipe())
    stamps = [(folder / "record.json").stat().st_mtime_ns for folder in folders]
    with monkeypatch.context() as patch:
        patch.setattr(study, "fit", lambda *args: pytest.fail("trained again"))
        assert run_study(recipe()) == folders
    assert [(folder / "record.json").stat().st_mtime_ns for folder in folders] == stamps
    before = [comparable(folder) for folder in folders]
    assert run_study(recipe(), fresh=True) == folders
    assert all(
        (folder / "record.json").stat().st_mtime_ns > t for folder, t in zip(folders, stamps, strict=True)
    )
    assert [comparable(folder) for folder in folders] == before


def test_only_settings_that_affect_a_method_change_its_key(
    recipe: Callable[..., Recipe], texts: Path, tmp_path: Path
) -> None:
    def names(**changes: Any) -> list[str]:
        return [job.name for job in plan(recipe(seeds=[1], **changes))]

    lora, flat = names()
    assert names(rho=0.2)[0] == lora
    assert names(rho=0.2)[1] != flat
    assert lora != names(rank=3)[0]
    orders = [names(rank_pattern=dict(patterns))[0] for patterns in (WIDE_FIRST, reversed(WIDE_FIRST))]
    assert len({lora, *orders}) == 3  # the first entry that matches counts
    moved = tmp_path / "elsewhere.csv"
    moved.write_bytes(texts.read_bytes())
    assert names(data=str(moved)) == [lora, flat]
    moved.write_text(texts.read_text().replace("a bank", "one bank"))
    assert not {*names(data=str(moved))} & {lora, flat}


def test_equal_requests_have_equal_keys(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = run_study(recipe(methods=["flat-lora"], seeds=[1]))
    monkeypatch.setattr(study, "fit", lambda *args: pytest.fail("trained again"))
    assert run_study(recipe(methods=["flat+lora"], seeds=[1], neftune_alpha=1.0)) == row


def test_neftune_is_a_separate_run_keyed_by_its_alpha(recipe: Callable[..., Recipe]) -> None:
    def names(**changes: Any) -> list[str]:
        return [job.name for job in plan(recipe(methods=["lora", "neftune+lora"], seeds=[1], **changes))]

    lora, under = names()
    assert under.startswith("classification-neftune+lora-s1-")
    assert names(neftune_alpha=6)[0] == lora
    assert names(neftune_alpha=6)[1] != under


def test_each_run_reads_its_test_sets_once_after_training(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    chosen = recipe(seeds=[1])
    splits = plan(chosen)[0].data.splits
    real_fit, real_test, real_encode = study.fit, study.test, Classification.encode

    def counted_fit(job: Job, *rest: Any) -> Fitted:
        fitted = real_fit(job, *rest)
        calls.append(f"fitted {job.method.label}")
        return fitted

    def counted_test(fitted: Fitted, *rest: Any) -> testing.Evaluation:
        calls.append(f"test {fitted.job.method.label}")
        return real_test(fitted, *rest)

    def counted_encode(task: Classification, columns: Any, setup: Setup, purpose: Purpose) -> Encoded:
        read = [name for name in splits if splits[name].columns == columns]
        calls.append(f"read {read[0]} to {purpose}")
        return real_encode(task, columns, setup, purpose)

    monkeypatch.setattr(study, "fit", counted_fit)
    monkeypatch.setattr(study, "test", counted_test)
    monkeypatch.setattr(Classification, "encode", counted_encode)
    run_study(chosen)
    steps = (
        "read train to train",
        "read validation to evaluate",
        "fitted {}",
        "test {}",
        "read test to evaluate",
    )
    expected = [step.format(name) for name in ("lora", "flat-lora") for step in steps]
    assert calls == expected
    run_study(chosen)
    assert calls == expected  # a finished run is not tested again


def test_a_failed_run_is_recorded_reported_and_run_again(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = study.fit

    def fail(job: Job, *rest: Any) -> Any:
        if job.method.name == "flat-lora":
            raise RuntimeError("out of memory")
        return real(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(study, "fit", fail)
        folders = run_study(recipe(seeds=[1]))
    records = [read_record(folder) for folder in folders]
    assert [record.status for record in records] == ["finished", "failed"]
    assert str(records[1].failure).startswith("RuntimeError: out of memory")
    assert [read_record(folder).status for folder in run_study(recipe(seeds=[1]))] == ["finished", "finished"]


def test_a_failure_never_replaces_a_good_run(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = run_study(recipe(methods=["lora"], seeds=[1]))
    before = comparable(folder)

    def fail(*args: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(study, "fit", fail)
    (failed,) = run_study(recipe(methods=["lora"], seeds=[1]), fresh=True)
    assert comparable(folder) == before
    assert read_record(failed).status == "failed"
    monkeypatch.undo()
    assert run_study(recipe(methods=["lora"], seeds=[1])) == [folder]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), Mistake("no")]
)
def test_an_interrupted_study_leaves_nothing_half_written(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    (finished,) = run_study(recipe(methods=["lora"], seeds=[1]))

    def stop(folder: Path, history: Any) -> Any:
        (folder / "history.jsonl").write_text("half")
        raise error

    monkeypatch.setattr(study, "write_history", stop)
    with pytest.raises(type(error)):
        run_study(recipe())
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    notes = {name for name in left if name.endswith(".begun")}
    assert left == {finished.name, ".locks", *notes}
    assert len(notes) == (0 if isinstance(error, Mistake) else 1)
    for note in notes:  # of what was asked, for `lowland study retry`
        assert read_record(tmp_path / "runs" / note).status == "unfinished"
    monkeypatch.undo()
    run_study(recipe())
    assert not list((tmp_path / "runs").glob(".*.begun"))


def test_a_record_describes_the_run_and_its_data(recipe: Callable[..., Recipe], tiny_model: Path) -> None:
    (folder,) = run_study(recipe(methods=["flat-lora"], seeds=[1]))
    record = read_record(folder)
    assert record.asked["method"]["rho"] == 0.05
    assert record.model["origin"] == "folder"
    assert (
        len(record.model["sha256"]) == len(record.data["sha256"]) == len(record.code["source_sha256"]) == 64
    )
    assert record.environment["torch"]
    assert record.environment["cores"] >= 1
    assert 0 < record.parameters["share"] < 1
    assert record.cost["train_seconds"] > 0
    assert record.cost["peak_bytes"] > 10**7
    assert sum(record.data["sizes"].values()) == 216


def test_a_run_is_keyed_and_recorded_by_the_number_format_that_was_used(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(dtype: str, fast: bool) -> tuple[str, str, str]:
        monkeypatch.setattr(formats, "processor_is_faster_in_bf16", lambda: fast)
        (folder,) = run_study(recipe(methods=["lora"], seeds=[1], dtype=dtype))
        record = read_record(folder)
        return folder.name, record.asked["dtype"], record.environment["dtype"]

    slow, fast = run("auto", fast=False), run("auto", fast=True)
    assert (slow[1:], fast[1:]) == (("fp32", "fp32"), ("bf16", "bf16"))
    assert slow == run("fp32", fast=True)
    assert fast == run("bf16", fast=False)
    assert slow[0] != fast[0]


def test_a_mapping_is_refused_with_the_right_call():
    with pytest.raises(
        Mistake, match=r"^run_study takes a Recipe, .*; call run_study\(Recipe\(\*\*values\)\)$"
    ):
        run_study({"task": "financial-demo"})


def test_cut_texts_are_remarked_on_once_and_are_in_every_record(recipe: Callable[..., Recipe]) -> None:
    stream = io.StringIO()
    folders = run_study(recipe(max_length=2, seeds=[1]), progress=Progress(stream))
    said = [
        line
        for line in stream.getvalue().splitlines()
        if line.startswith("Beware: training and validation: ")
    ]
    assert len(said) == 1
    assert "are longer than 2 tokens and were cut" in said[0]
    for record in map(read_record, folders):
        assert f"Beware: {record.remarks[0]}." == said[0]
        counts = record.data["truncated"]
        assert set(counts) == {"train", "validation", "test"}
        assert counts["test"]["cut"] == counts["test"]["inputs"] == record.data["sizes"]["test"]
        assert counts["test"]["longest"] > 2
    again = io.StringIO()
    run_study(recipe(max_length=2, seeds=[1]), progress=Progress(again))
    assert said[0] in again.getvalue().splitlines()  # a run that is found says what it said


def test_a_remark_on_predictions_names_its_run(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classification, "remarks", lambda *arguments: ["they are odd"])
    folders = run_study(recipe(seeds=[1]))
    remarks = [read_record(folder).remarks[-1] for folder in folders]
    assert remarks == ["test, lora, seed 1: they are odd", "test, flat-lora, seed 1: they are odd"]


def test_the_folder_has_a_note_of_all_runs_while_they_run(recipe: Callable[..., Recipe]) -> None:
    asked = recipe()
    notes = []

    def look(jobs: Any, fresh: bool, progress: Progress) -> list[Path]:
        notes.extend(read_study_notes(Path(asked.out)))
        return []

    run_study(asked, fresh=True, engine=look)
    (note,) = notes
    assert note.fresh
    assert [(run.method, run.seed) for run in note.runs] == [
        ("lora", 1), ("flat-lora", 1), ("lora", 2), ("flat-lora", 2),
    ]  # fmt: skip
    assert [run.name for run in note.runs] == [job.name for job in plan(asked)]
    assert read_study_notes(Path(asked.out)) == []
