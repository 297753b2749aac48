"""Runs that write text under corrupted prompts: turns before a prompt are passed on, and left as they are."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.deploy.predict import load
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_predictions, read_record
from lowland.stress.adapters.run import COLUMNS, stress_adapters
from lowland.stress.adapters.settings import AdapterStressSettings
from lowland.stress.adapters.texts import conditions_of, damaged_requests, examples_of
from lowland.tasks.table import load_data, task_fields, task_named
from tests.generation_runs import TOYS, Toy, trained

METHODS = ("lora", "flat-lora")
TRAINING: dict[str, Any] = {"epochs": 1, "lr": 0.001, "rank": 2}


@pytest.fixture(scope="module", params=TOYS)
def study(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, first_run: Callable[[str], Path]
) -> tuple[Toy, list[Path]]:
    toy, root = TOYS[request.param], tmp_path_factory.mktemp(request.param)
    return toy, trained(toy, root, first_run(request.param) / "model", METHODS, **TRAINING)


def stress(
    runs: list[Path], out: Path, log: io.StringIO | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    settings = AdapterStressSettings(
        runs=runs, corruptions=["typos", "casing"], levels=["heavy"], mitigations=["normalise"], out=out
    )
    folder = stress_adapters(settings, progress=None if log is None else Progress(log))
    return pd.read_parquet(folder / "rows.parquet"), json.loads((folder / "record.json").read_text())


def test_what_a_run_writes_is_scored_against_the_text_that_it_should_write(
    study: tuple[Toy, list[Path]], tmp_path: Path
) -> None:
    toy, runs = study
    log = io.StringIO()
    rows, record = stress(runs, tmp_path, log)
    assert tuple(rows.columns) == COLUMNS
    assert record["items"]["score"] == "exact match"
    assert [run["clean_differs"] for run in record["model"]["runs"]] == [0.0, 0.0]
    assert log.getvalue().count("lora, seed 1: exact match ") == 2
    for run in runs:
        mine = rows[(rows["model"] == read_record(run).method) & (rows["mitigation"] == "none")]
        clean = mine[mine["condition"] == "clean"].set_index("item")
        predictions = read_predictions(run).set_index("example")
        target = "target" if toy.name == "text-to-text" else "completion"
        assert clean["gold"].to_dict() == predictions[target].to_dict()
        assert clean["reply"].to_dict() == predictions["predicted"].to_dict()
        assert clean["score"].to_dict() == predictions["score"].to_dict()
        damaged = mine[mine["condition"] == "typos"]
        assert damaged["score"].mean() < clean["score"].mean()
        assert (damaged["score"] == (damaged["reply"] == damaged["gold"])).all()


def test_the_turns_before_a_prompt_are_read_and_never_damaged(
    study: tuple[Toy, list[Path]], tmp_path: Path
) -> None:
    toy, runs = study
    record = read_record(runs[0])
    data = load_data(task_fields(**record.asked["task"]))
    settings = AdapterStressSettings(runs=runs, corruptions=["typos"], levels=["heavy"])
    examples = examples_of(data, task_named(toy.name))
    requests = damaged_requests(examples, conditions_of(settings), ["none", "normalise"], 0)
    column = "source" if toy.name == "text-to-text" else "prompt"
    has_history = toy.name == "instruction"
    assert list(requests.inputs) == [column, *(["history"] if has_history else [])]
    damaged = requests.about["condition"] == "typos"
    assert (requests.inputs[column] != requests.examples[column])[damaged].any()
    assert (requests.about["prompt"] == requests.inputs[column]).all()
    split = requests.as_split()
    assert set(split.columns) == set(data.splits["test"].columns)
    assert list(split[column]) == list(requests.examples[column])  # to score by the clean question
    if not has_history:
        return
    assert (requests.inputs["history"] == requests.examples["history"]).all()
    if "messages" not in toy.rows[0]:
        assert not any(requests.inputs["history"])
        return
    assert any(requests.inputs["history"])
    rows, _ = stress(runs[:1], tmp_path)
    later = rows[(rows["condition"] == "clean") & (rows["mitigation"] == "none") & (rows["item"] % 2 == 1)]
    histories = dict(zip(data.splits["test"].examples, data.splits["test"]["history"], strict=True))
    columns = {"prompt": list(later["prompt"]), "history": [histories[item] for item in later["item"]]}
    assert list(load(runs[0]).answer(columns)["predicted"]) == list(later["predicted"])


def test_the_report_names_the_score(
    study: tuple[Toy, list[Path]], tmp_path: Path, lowland: Callable[..., tuple[int, str, str]]
) -> None:
    _, runs = study
    options = [
        "--corruptions",
        "typos",
        "--limit",
        "5",
        "--out",
        str(tmp_path),
        "--report",
        str(tmp_path / "r.md"),
    ]
    code, out, err = lowland("stress", "adapter", *map(str, runs), *options)
    assert code == 0, err
    assert "1 seed; exact match in per cent" in out
    assert "accuracy" not in out.lower()
    report = (tmp_path / "r.md").read_text()
    assert "Exact match minus lora's, paired by seed and text:" in report
    assert "accuracy" not in report.lower()
