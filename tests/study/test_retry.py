"""Runs that failed or were not finished are run again with exactly what was asked, or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.listing import list_folder
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record, write_record
from lowland.ground.store import Store
from lowland.study import run as study
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.retry import Moved, Retry, plan_retry
from lowland.study.run import run_jobs, run_study
from tests.conftest import table_of
from tests.folders_of_runs import put_stress_test, put_unfinished
from tests.ground.test_record_files import SEARCH
from tests.study.test_run import comparable, recipe

__all__ = ["recipe"]
MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def stopped(recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs a study in which the first run ends with an error; returns the folder of the runs."""

    def stop(error: BaseException, **changes: Any) -> Path:
        asked = recipe(**{"methods": ["lora"], "seeds": [1], **changes})
        with monkeypatch.context() as patch:

            def fit(*arguments: object) -> None:
                raise error

            patch.setattr(study, "fit", fit)
            try:
                run_study(asked)
            except type(error):
                pass
        return Path(asked.out)

    return stop


def retry_of(root: Path, **moved: Any) -> Retry:
    return plan_retry(list_folder(root), Moved(**moved))


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt(), OSError(28, "full")])
def test_a_run_that_failed_or_was_stopped_becomes_the_run_that_it_would_have_been(
    stopped: Callable[..., Path], recipe: MakeRecipe, tmp_path: Path, error: BaseException
) -> None:
    root = stopped(error)
    (whole,) = run_study(recipe(methods=["lora"], seeds=[1], out=str(tmp_path / "undisturbed")))
    (entry,) = list_folder(root)
    assert entry.state == ("failed" if isinstance(error, RuntimeError) else "unfinished")
    retry = retry_of(root)
    assert retry.left == []
    assert run_jobs(retry.jobs) == [root / whole.name]
    assert comparable(root / whole.name) == comparable(whole)
    assert [entry.state for entry in list_folder(root)] == ["finished"]
    assert {path.name for path in root.iterdir()} == {".locks", whole.name}
    assert retry_of(root) == Retry([], [])


METHODS: list[Any] = [
    "full",
    {"lora": {"rank_pattern": {"query": 1, ".*": 3}, "targets": ["query", "value"], "label": "patterns"}},
    {
        "lora": {
            "rank_pattern": {".*": 3, "query": 1},
            "alpha_pattern": {"query": 4.5},
            "label": "other-order",
        }
    },
    {"flat-lora": {"rho": 0.3, "lr": 1e-3, "epochs": 2}},
    "neftune+flat+lora-plus",
    "rslora",
    "vera",
    "bag-of-words",
]


def test_every_request_is_made_again_from_its_record(
    stopped: Callable[..., Path], recipe: MakeRecipe
) -> None:
    """The key of a job is a hash of all that it depends on, so equal keys are equal jobs."""
    changes = {"methods": METHODS, "seeds": [5, 3], "max_length": 17, "keep_weights": False, "warmup": 0.07}
    jobs = {job.name: job for job in plan(recipe(**changes))}
    again = {job.name: job for job in retry_of(stopped(RuntimeError("no"), **changes)).jobs}
    assert set(again) == set(jobs)
    for name, job in jobs.items():
        assert again[name].key == job.key
        assert json.dumps(again[name].asked()) == json.dumps(job.asked())  # with the order of patterns
        assert again[name].out == job.out
    assert [job.seed for job in retry_of(jobs[name].out).jobs] == [3] * len(METHODS) + [5] * len(METHODS)


def test_the_search_that_chose_the_settings_is_kept(stopped: Callable[..., Path]) -> None:
    root = stopped(RuntimeError("no"))
    (folder,) = root.glob("classification-*")
    write_record(folder, dataclasses.replace(read_record(folder), tuning=SEARCH))
    (job,) = retry_of(root).jobs
    assert job.tuning == SEARCH


def test_changed_data_are_refused_and_moved_data_are_taken(
    stopped: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    root = stopped(RuntimeError("no"))
    (name,) = (job.name for job in retry_of(root).jobs)
    moved = texts.rename(tmp_path / "moved.csv")
    with pytest.raises(Mistake, match="say with --data") as raised:
        retry_of(root)
    assert str(texts) in str(raised.value)
    (job,) = retry_of(root, data=moved).jobs
    assert (job.name, job.asked()["task"]["data"]) == (name, str(moved))
    table_of(5).to_csv(moved, index=False)
    with pytest.raises(Mistake, match=r"have SHA-256 .* give them with --data as they were then"):
        retry_of(root, data=moved)


def test_another_model_is_refused_and_a_moved_one_is_taken(
    stopped: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    root = stopped(RuntimeError("no"))
    copy = tmp_path / "model"
    copy.mkdir()
    for path in tiny_model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (job,) = retry_of(root, model=str(copy)).jobs
    assert (job.model, job.source.folder) == (str(copy), copy)
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    with pytest.raises(Mistake, match="the config and tokenizer of the base model"):
        retry_of(root, model=str(copy))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 8}, "was changed: it does not have the key"),
        ({"dtype": "fp16"}, "does not hold a request that can be run"),
        ({"surplus": 1}, "unknown field 'surplus'"),
        ({"method": {"name": "lora", "label": "lora", "rank": 0}}, "rank is 0; it must be at least 1"),
        ({"method": {"label": "lora"}}, "does not hold a request that can be run"),
        ({"task": {"name": "classification", "columns": 3}}, "does not hold a request that can be run"),
    ],
)
def test_a_request_that_was_changed_is_refused(
    stopped: Callable[..., Path], change: dict[str, Any], sentence: str
) -> None:
    root = stopped(RuntimeError("no"))
    (folder,) = root.glob("classification-*")
    record = read_record(folder)
    write_record(folder, dataclasses.replace(record, asked={**record.asked, **change}))
    with pytest.raises(Mistake, match=sentence):
        retry_of(root)


def test_runs_of_another_version_of_lowland_are_refused(
    stopped: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = stopped(RuntimeError("no"))
    monkeypatch.setattr("lowland.__version__", "9.0")
    with pytest.raises(Mistake, match=r"was made by lowland 0\.1\.0, and this is 9\.0: its runs are others"):
        retry_of(root)


def test_what_is_not_run_again_is_said(stopped: Callable[..., Path], tmp_path: Path) -> None:
    root = stopped(RuntimeError("no"), seeds=[1, 2])
    damaged, running = sorted(root.glob("classification-*"))
    (damaged / "record.json").write_text("{")
    put_stress_test(root, "failed")
    put_unfinished(root, noted=False)
    with Store(root).claim(running.name):
        retry = retry_of(root)
    assert retry.jobs == []
    sentences = [
        f"{damaged / 'record.json'} is damaged in line 1; remove it with lowland study rm --yes {damaged}, and",
        f"{running}: a process works on it",
        "a stress test; repeat its command, lowland stress …",
        "it left no note of what was asked; repeat the study's command",
    ]
    assert len(retry.left) == len(sentences)
    for said, sentence in zip(retry.left, sentences, strict=True):
        assert sentence in said


def test_a_failed_attempt_beside_a_finished_run_is_not_run_again(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(methods=["lora"], seeds=[1])
    (finished,) = run_study(asked)
    monkeypatch.setattr(study, "fit", lambda *arguments: 1 / 0)
    (failed,) = run_study(asked, fresh=True)
    assert failed != finished
    retry = retry_of(finished.parent)
    assert (retry.jobs, retry.left) == ([], [f"{failed}: a finished run of the same request is there"])


def test_two_retries_of_a_folder_run_each_run_once(
    stopped: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = stopped(RuntimeError("no"), seeds=[1, 2])
    first, second = retry_of(root), retry_of(root)
    folders = run_jobs(first.jobs)
    monkeypatch.setattr(study, "fit", lambda *arguments: pytest.fail("trained twice"))
    assert run_jobs(second.jobs) == folders
