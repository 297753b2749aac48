"""Runs answer a suite: all of them the same cases, and each case once."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record, read_rows, read_stress_record, write_record
from lowland.stress.behaviour import run as behaviour
from lowland.stress.behaviour.run import COLUMNS, behave
from lowland.stress.behaviour.settings import BehaviourSettings
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.conftest import table_of
from tests.stress.behaviour.toy import PASSED, SUITE, Oracle, write_suite


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> list[Path]:
    root = tmp_path_factory.mktemp("study")
    table_of(4).to_csv(root / "texts.csv", index=False)
    fields = {
        **{"task": "classification", "data": str(root / "texts.csv"), "model": str(tiny_model)},
        **{"methods": ["lora", "bag-of-words"], "seeds": [1, 2], "dtype": "fp32", "out": str(root / "runs")},
        **{"epochs": 1, "batch_size": 4, "rank": 2, "lr": 0.01},
    }
    return run_study(Recipe(**fields))


@pytest.fixture
def ask(tmp_path: Path, trained: list[Path]) -> Callable[..., Path]:
    def call(runs: list[Path] | None = None, *, reference: str | None = None, **changes: Any) -> Path:
        progress = changes.pop("progress", None)
        own = {"suite": str(write_suite(tmp_path)), "out": tmp_path / "out"}
        settings = BehaviourSettings(**{"runs": trained if runs is None else runs, **own, **changes})
        return behave(settings, reference=reference, progress=progress)

    return call


def test_an_oracle_passes_what_it_passes_by_hand(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "load", lambda folder: Oracle())
    rows = read_rows(ask())
    assert len(rows) == 4 * 36
    passed = rows.groupby(["model", "seed", "condition"])["score"].sum()
    for (_, _, test), count in passed.items():
        assert count == PASSED[test]
    added = rows[rows["kind"] == "direction"].set_index("prompt")
    falls = added.loc["the firm gains it fails"].iloc[0]
    assert (falls["p_original"], falls["p"], falls["score"]) == (0.9, pytest.approx(0.4), 0)
    names = rows[(rows["kind"] == "invariance") & (rows["original"] == "a bank gains")].iloc[0]
    assert (names["predicted_original"], names["predicted"], names["score"]) == ("bad", "good", 0)
    assert (names["p_original"], names["p"]) == (pytest.approx(0.6), pytest.approx(0.1))  # of the label bad


def test_every_run_answers_every_case_as_by_predict(ask: Any, trained: list[Path]) -> None:
    folder = ask()
    rows, record = read_rows(folder), read_stress_record(folder)
    assert folder.name == f"behaviour-toy-{record.key[:10]}"
    assert tuple(rows.columns) == COLUMNS
    assert record.counts == {"expected": 144, "scored": 144, "failed": 0}
    assert (record.items["count"], record.items["source"]) == (36, "toy.yaml")
    assert [run["method"] for run in record.model["runs"]] == [read_record(run).method for run in trained]
    assert set(rows["eval"]) == {"behaviour"}
    for run in trained:
        asked = read_record(run)
        mine = rows[(rows["model"] == asked.method) & (rows["seed"] == asked.seed)]
        answers = load(run).predict(list(mine["prompt"]))
        assert list(answers["predicted"]) == list(mine["predicted"])
        with_label = mine["label"] == "good"
        p = answers["p_good"].to_numpy()[with_label.to_numpy()]
        assert mine.loc[with_label, "p"].to_numpy() == pytest.approx(p, abs=1e-5)
    functional = rows[rows["kind"] == "minimum functionality"]
    assert (functional["score"] == (functional["predicted"] == functional["gold"])).all()
    assert functional["p_original"].isna().all()
    written = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    assert list(written["prompt"]) == list(rows["prompt"])
    assert not list(folder.parent.glob(".unfinished/*"))


def test_a_finished_test_is_found_again_unless_fresh(
    ask: Any, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, log = ask(trained[:2]), io.StringIO()
    stamp = (folder / "record.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(behaviour, "load", lambda folder: pytest.fail("asked again"))
        assert ask(trained[1::-1], progress=Progress(log)) == folder
    assert log.getvalue().startswith("found, 72 answers in ")
    assert ask(trained[:2], fresh=True) == folder
    assert (folder / "record.json").stat().st_mtime_ns > stamp


def test_another_suite_seed_or_limit_is_another_test(ask: Any, trained: list[Path], tmp_path: Path) -> None:
    first = trained[:1]
    other = tmp_path / "other.yaml"
    other.write_text(SUITE.replace("falls", "fails"))
    folders = {
        ask(first),
        ask(first, seed=1),
        ask(first, limit=3),
        ask(first, suite=str(other)),
        ask(trained[1:2]),
    }
    assert len(folders) == 5
    assert len(read_rows(ask(first, limit=3))) == 9


def test_interrupted_it_goes_on_from_the_runs_that_are_done(
    ask: Any, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, loaded = read_rows(ask()), []

    def until_the_third(folder: Path) -> Any:
        loaded.append(folder)
        if len(loaded) == 3:
            raise KeyboardInterrupt
        return load(folder)

    monkeypatch.setattr(behaviour, "load", until_the_third)
    shutil.rmtree(place := ask())
    with pytest.raises(KeyboardInterrupt):
        ask()
    assert not place.exists()
    pd.testing.assert_frame_equal(read_rows(ask()), expected)
    assert loaded == [*trained[:3], *trained[2:]]


def test_labels_that_the_runs_do_not_predict_are_named(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(Mistake) as caught:
        ask(suite="finance")
    assert len(caught.value.problems) == 3
    assert caught.value.problems[0].startswith(
        "unknown label 'positive'; Allowed: bad, good (the runs predict these"
    )
    own = tmp_path / "own.yaml"
    own.write_text(SUITE.replace("label: good", "label: goood"))
    with pytest.raises(
        Mistake, match=r"unknown label 'goood'; did you mean 'good'?.* in 'added'; give other runs"
    ):
        ask(suite=str(own))


def test_mistakes_of_suite_runs_and_reference_are_reported_at_once(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(Mistake) as caught:
        ask([tmp_path / "nowhere"], suite="finanse")
    assert ["finanse" in caught.value.problems[0], "nowhere" in caught.value.problems[1]] == [True, True]
    with pytest.raises(Mistake, match=r"unknown method 'dora'; .*Allowed: .*lora"):
        ask(reference="dora")


def test_runs_of_a_task_without_labels_are_refused(ask: Any, trained: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "other"))
    record = read_record(run)
    asked = {**record.asked, "task": {"name": "short-answers"}}
    write_record(run, dataclasses.replace(record, asked=asked))
    with pytest.raises(
        Mistake, match="behave tests labels of single texts, and the runs are of short-answers"
    ):
        ask([run])
