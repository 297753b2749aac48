"""Runs under corrupted texts: the same texts for all runs, and each is answered once."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress, duration
from lowland.ground.record_files import read_predictions, read_record, write_predictions, write_record
from lowland.stress.adapters import run as adapters
from lowland.stress.adapters.run import COLUMNS, stress_adapters
from lowland.stress.adapters.settings import AdapterStressSettings
from lowland.stress.adapters.texts import (
    Condition,
    Examples,
    Requests,
    conditions_of,
    damaged_requests,
    examples_of,
)
from lowland.stress.questions.mitigations import prepared
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.table import load_data, task_fields, task_named
from lowland.text.corruptions import CORRUPTIONS
from lowland.text.levels import LADDER
from lowland.text.protection import vital
from tests.conftest import table_of

METHODS, SEEDS = ("full", "lora", "flat-lora"), (1, 2)
FEW: dict[str, Any] = {"corruptions": ["typos", "casing"], "levels": ["light", "heavy"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, list[Path]]:
    """The runs of a study, and the file of its data beside them."""
    root = tmp_path_factory.mktemp("study")
    table_of(6).to_csv(root / "texts.csv", index=False)
    fields = {
        **{"task": "classification", "data": str(root / "texts.csv"), "model": str(tiny_model)},
        **{"seeds": list(SEEDS), "dtype": "fp32", "out": str(root / "runs")},
        **{"epochs": 2, "batch_size": 4, "rank": 2, "lr": 0.01},
        "methods": [{"full": {"lr": 0.01}} if method == "full" else method for method in METHODS],
    }
    return root, run_study(Recipe(**fields))


@pytest.fixture
def runs(trained: tuple[Path, list[Path]], tmp_path: Path) -> list[Path]:
    """The runs, copied: a test may change them."""
    return [Path(shutil.copytree(run, tmp_path / "runs" / run.name)) for run in trained[1]]


@pytest.fixture
def stress(tmp_path: Path) -> Callable[..., Path]:
    def call(folders: list[Path], **changes: Any) -> Path:
        progress = changes.pop("progress", None)
        settings = AdapterStressSettings(**{"runs": folders, "out": tmp_path / "out", **FEW, **changes})
        return stress_adapters(settings, progress=progress)

    return call


def conditions(**changes: Any) -> list[Condition]:
    return conditions_of(AdapterStressSettings(runs="none", **changes))


def requests_of(texts: pd.DataFrame, conditions: list[Condition]) -> Requests:
    """Return requests for texts, from a table of texts and their other columns."""
    examples = Examples(
        texts.drop(columns="text"), texts[["text"]], pd.DataFrame({"label": ["up"] * len(texts)})
    )
    return damaged_requests(examples, conditions, ["none"], 0)


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "rows.parquet")


def change(run: Path, **changes: Any) -> None:
    write_record(run, dataclasses.replace(read_record(run), **changes))


def test_every_run_answers_every_text_in_every_condition(runs: list[Path], stress: Any) -> None:
    folder = stress(runs)
    rows, record = rows_of(folder), json.loads((folder / "record.json").read_text())
    sizes = read_record(runs[0]).data["sizes"]
    assert folder.name == f"adapter-classification-{record['key'][:10]}"
    assert tuple(rows.columns) == COLUMNS
    assert len(rows) == len(METHODS) * len(SEEDS) * sizes["test"] * (1 + 2 * 2)
    assert not rows.duplicated(["model", "seed", "item", "condition", "level"]).any()
    assert record["counts"] == {"expected": len(rows), "scored": len(rows), "failed": 0}
    assert record["items"]["count"] == sizes["test"]
    assert [run["method"] for run in record["model"]["runs"]] == [read_record(run).method for run in runs]
    assert (rows["score"] == (rows["predicted"] == rows["label"])).all()
    assert set(map(tuple, rows[["condition", "level", "rate"]].drop_duplicates().to_numpy())) == {
        ("clean", "", 0.0),
        *((kind, level, rate) for kind in FEW["corruptions"] for level, rate in (("light", 0.05), ("heavy", 0.2))),
    }  # fmt: skip
    written = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    assert list(written["prompt"]) == list(rows["prompt"])
    assert not list(folder.parent.glob(".unfinished/*"))


def test_all_methods_and_seeds_meet_the_same_texts(runs: list[Path], stress: Any, tmp_path: Path) -> None:
    rows = rows_of(stress(runs))
    assert (rows.groupby(["item", "condition", "level"])["prompt"].nunique() == 1).all()
    alone = rows_of(stress(runs[-1:], out=tmp_path / "alone"))
    both = rows.merge(alone, on=["model", "seed", "item", "condition", "level"], suffixes=("", "_alone"))
    assert len(both) == len(alone)
    assert (both["prompt"] == both["prompt_alone"]).all()
    assert (both["predicted"] == both["predicted_alone"]).all()
    others = rows_of(stress(runs[-1:], seed=1))
    assert (others["prompt"].to_numpy() != alone["prompt"].to_numpy()).mean() > 0.3


def test_clean_answers_are_those_of_the_record(runs: list[Path], stress: Any) -> None:
    folder = stress(runs)
    rows = rows_of(folder)
    for run in runs:
        record = read_record(run)
        of = (rows["model"] == record.method) & (rows["seed"] == record.seed) & (rows["condition"] == "clean")
        clean, tested = rows[of].set_index("item"), read_predictions(run).set_index("example")
        assert clean["predicted"].to_dict() == tested["predicted"].to_dict()
        assert clean["label"].to_dict() == tested["label"].to_dict()
        assert clean["group"].to_dict() == tested["group"].to_dict()
        assert clean["score"].mean() == pytest.approx(record.scores["test"]["accuracy"])
    recorded = json.loads((folder / "record.json").read_text())["model"]["runs"]
    assert [run["clean_differs"] for run in recorded] == [0.0] * len(runs)


def test_clean_answers_that_differ_from_the_record_are_counted_and_reported(
    runs: list[Path], stress: Any
) -> None:
    tested, log = read_predictions(runs[1]), io.StringIO()
    tested.loc[[0, 3], "predicted"] = tested.loc[[0, 3], "predicted"].map({"good": "bad", "bad": "good"})
    write_predictions(runs[1], tested)
    folder = stress(runs[:2], progress=Progress(log))
    recorded = json.loads((folder / "record.json").read_text())["model"]["runs"]
    assert [run["clean_differs"] for run in recorded] == [0.0, pytest.approx(2 / len(tested))]
    (beware,) = [line for line in log.getvalue().splitlines() if "BEWARE" in line]
    assert beware.startswith("lora, seed 1: ")


def test_each_text_is_answered_as_by_predict(runs: list[Path], stress: Any) -> None:
    rows = rows_of(stress(runs[:3]))
    assert rows["predicted"].nunique() == 2
    for run in runs[:3]:
        mine = rows[rows["model"] == read_record(run).method]
        assert list(load(run).predict(list(mine["prompt"]))["predicted"]) == list(mine["predicted"])


def test_a_finished_test_is_found_again_unless_fresh(
    runs: list[Path], stress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, log = stress(runs[:2]), io.StringIO()
    stamp = (folder / "record.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(adapters, "load", lambda folder: pytest.fail("asked again"))
        assert stress(runs[:2], progress=Progress(log)) == folder
        assert stress(runs[1::-1]) == folder
    assert log.getvalue().splitlines()[-1].startswith("found, ")
    assert (folder / "record.json").stat().st_mtime_ns == stamp
    assert stress(runs[:2], fresh=True) == folder
    assert (folder / "record.json").stat().st_mtime_ns > stamp


def test_a_retrained_run_is_tested_again(runs: list[Path], stress: Any) -> None:
    before = stress(runs[:1])
    change(runs[0], when={"ended": "later"})
    assert stress(runs[:1]) != before


KILLED = """
import os, signal, sys
from pathlib import Path
from lowland.stress.adapters import run as adapters
asked, ask = [], adapters._ask
def until_the_third(*args):
    asked.append(args)
    if len(asked) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(*args)
adapters._ask = until_the_third
from lowland.stress.adapters.settings import AdapterStressSettings
settings = AdapterStressSettings(runs=sys.argv[2:], corruptions=["typos", "casing"], out=sys.argv[1])
adapters.stress_adapters(settings)
"""


def test_killed_in_the_middle_it_goes_on_from_there(
    runs: list[Path], stress: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(stress(runs[:4], out=tmp_path / "undisturbed"))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), *map(str, runs[:4])]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not list((tmp_path / "out").glob("adapter-*"))
    loaded = []
    monkeypatch.setattr(adapters, "load", lambda folder: loaded.append(folder) or load(folder))
    folder = stress(runs[:4])
    assert loaded == runs[2:4]
    pd.testing.assert_frame_equal(rows_of(folder), expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".locks", ".unfinished", folder.name]


def test_answers_left_damaged_or_of_other_texts_are_not_taken(
    runs: list[Path], stress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> Any:
        raise KeyboardInterrupt

    expected = rows_of(whole := stress(runs[:3]))
    shutil.rmtree(whole)
    with monkeypatch.context() as patch:
        patch.setattr("lowland.stress.run_answers.write_rows", stop)
        with pytest.raises(KeyboardInterrupt):
            stress(runs[:3])
    parts = sorted((whole.parent / ".unfinished" / whole.name).glob("*.parquet"))
    assert len(parts) == 3
    parts[0].write_bytes(parts[0].read_bytes()[:100])
    pd.read_parquet(parts[1]).assign(text="else").to_parquet(parts[1])
    loaded = []
    monkeypatch.setattr(adapters, "load", lambda folder: loaded.append(folder) or load(folder))
    pd.testing.assert_frame_equal(rows_of(stress(runs[:3])), expected)
    assert {read_record(run).key for run in loaded} == {part.stem for part in parts[:2]}


def test_the_remaining_time_is_estimated_after_the_first_texts(
    runs: list[Path], stress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "time", Clock(1.5))
    monkeypatch.setattr(adapters, "BATCH", 1)
    monkeypatch.setattr(adapters, "SAMPLE", 10)
    log = io.StringIO()
    folder = stress(runs[:3], progress=Progress(log))
    lines = log.getvalue().splitlines()
    texts = rows_of(folder)["prompt"].nunique()
    assert lines[0].startswith("3 runs of classification: corrupting ")
    assert lines[0].endswith(" in 4 ways")
    assert lines[1] == f"{texts} different texts a run; 3 runs left to test"
    first = [duration(1.5 / 10 * texts * runs_left) for runs_left in (1, 3, 2, 1)]
    estimates = [line for line in lines if " in total for the rest" in line]
    assert estimates[0] == f"full, seed 1: about {first[0]}, {first[1]} in total for the rest"
    assert estimates[1] == f"lora, seed 1: about {first[0]}, {first[2]} in total for the rest"
    assert estimates[2] == f"flat-lora, seed 1: about {first[0]}, {first[3]} in total for the rest"
    assert sum("clean" in line for line in lines) == 3


class Clock:
    """Clock that moves on by some seconds whenever it is read."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def perf_counter(self) -> float:
        self.now += self.seconds
        return self.now


def test_a_limit_draws_the_same_texts_and_more_of_them(trained: Any, runs: list[Path], stress: Any) -> None:
    rows = {n: rows_of(stress(runs[:2], limit=n)) for n in (4, 9)}
    items = {n: set(table["item"]) for n, table in rows.items()}
    assert [len(items[4]), len(items[9])] == [4, 9]
    assert items[4] < items[9]
    whole = rows_of(stress(runs[:1], limit=10**6))
    assert set(whole["item"]) == set(read_predictions(runs[0])["example"])


def test_protect_asks_both_ways(runs: list[Path], stress: Any) -> None:
    rows = rows_of(stress(runs[:1], protect="both"))
    assert not rows[rows["condition"] == "clean"]["protected"].any()
    corrupted = rows[rows["condition"] != "clean"]
    assert corrupted["protected"].mean() == 0.5


def test_numbers_and_names_are_protected_on_request() -> None:
    text = "Profit of Nokia Oyj rose 12.5% to EUR 3,200 mn in 2009 , said H&M ."
    assert vital(text) == ("Nokia", "Oyj", "12.5%", "EUR", "3,200", "2009", "H&M")
    example = {"split": "test", "item": 3, "group": "a", "topic": "", "label": "up", "text": text}
    cases = conditions(corruptions=["typos"], levels=[0.9], protect="both")
    clean, free, spared = requests_of(pd.DataFrame([example]), cases).inputs["text"]
    assert clean == text
    assert all(span in spared for span in vital(text))
    assert not all(span in free for span in vital(text))


def test_normalise_is_tried_on_the_same_damage_and_on_clean_texts(runs: list[Path], stress: Any) -> None:
    rows = rows_of(stress(runs[:1], corruptions=["confusables"], mitigations=["normalise"]))
    keys = ["item", "condition", "level"]
    none, after = (rows[rows["mitigation"] == name].set_index(keys) for name in ("none", "normalise"))
    assert list(none.index) == list(after.index)
    assert (none["edits"] == after["edits"]).all()
    assert [prepared(text, "normalise") for text in none["prompt"]] == list(after["prompt"])
    assert (none["prompt"] != after["prompt"]).any()
    every = stress(runs[:1], corruptions=["confusables"], mitigations=["all"])
    assert stress(runs[:1], corruptions=["confusables"], mitigations=["none", "normalise"]) == every


def test_all_corruptions_and_the_ladder_are_spelt_out() -> None:
    cases = conditions(corruptions=["all"], levels=["ladder", "heavy"])
    assert {condition.condition for condition in cases} == {"clean", *CORRUPTIONS}
    assert {condition.level: condition.rate for condition in cases if condition.condition == "ocr"} == {
        f"{rate:g}": rate for rate in LADDER
    }  # heavy is one of them, and is not repeated


def test_the_command_line_asks_and_reports(runs: list[Path], lowland: Any, tmp_path: Path) -> None:
    options = [*map(str, runs), "--corruptions", "typos", "--limit", "12", "--out", str(tmp_path / "out")]
    code, out, err = lowland("stress", "adapter", *options)
    assert code == 0, err
    assert "typos" in out
    assert "flat-lora" in out
    code, _, err = lowland("stress", "adapter", *options)
    assert code == 0
    assert "found, " in err
    code, _, err = lowland("stress", "adapter", *options, "--corruptions", "typoes")
    assert code == 2
    assert "did you mean 'typos'" in err


def test_texts_of_all_test_sets_are_damaged_each_in_its_own_way(tmp_path: Path) -> None:
    table = table_of(6)
    table["split"] = (["train", "test", "abroad"] * len(table))[: len(table)]
    table.to_csv(tmp_path / "sets.csv", index=False)
    data = load_data(task_fields("classification", data=str(tmp_path / "sets.csv"), split_column="split"))
    examples = examples_of(data, task_named("classification"))
    sizes = {name: len(data.splits[name]) for name in ("test", "abroad")}
    assert dict(examples.about["split"].value_counts()) == sizes
    first = pd.concat([examples.about, examples.inputs], axis=1).iloc[[0]]
    same = pd.concat([first, first.assign(split="abroad"), first.assign(item=10**6)], ignore_index=True)
    requests = requests_of(same, conditions(corruptions=["typos"], levels=[0.5]))
    assert requests.about["prompt"].nunique() == 1 + 3


def test_all_levels_of_a_text_share_one_seed(trained: Any) -> None:
    """The seed depends only on the example and the corruption, so that a ladder of rates is paired, too."""
    seen = []
    texts = pd.DataFrame([{"split": "test", "item": 1, "text": "the firm gains"}])
    cases = conditions(corruptions=["typos", "casing"], levels=["light", "heavy"], protect="both")
    with pytest.MonkeyPatch.context() as patch:
        real = damaged_requests.__globals__["corrupt"]
        patch.setitem(
            damaged_requests.__globals__,
            "corrupt",
            lambda *args, seed, protect: seen.append(seed) or real(*args, seed=seed, protect=protect),
        )
        requests_of(texts, cases)
    assert len(seen) == 8
    assert len(set(seen)) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruptions": ["typoes"]}, "unknown corruption 'typoes'; did you mean 'typos'"),
        ({"corruptions": []}, "corruptions is empty"),
        ({"levels": []}, "levels is empty"),
        ({"levels": ["lite"]}, "lite"),
        ({"levels": [7.0]}, "7"),
        ({"mitigations": ["prompt"]}, "unknown mitigation 'prompt'"),
        ({"protect": "yeah"}, "unknown protect 'yeah'; did you mean 'yes'"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_an_unknown_or_impossible_setting_is_a_mistake(
    runs: list[Path], stress: Any, settings: Any, message: str
) -> None:
    with pytest.raises(Mistake, match=message):
        stress(runs[:1], **settings)


def test_all_mistakes_are_reported_at_once(runs: list[Path], stress: Any) -> None:
    with pytest.raises(Mistake) as caught:
        stress(runs, corruptions=["typoes"], mitigations=["prompt"], limit=0)
    assert len(caught.value.problems) == 3


def test_folders_that_hold_no_finished_run_are_named(runs: list[Path], stress: Any, tmp_path: Path) -> None:
    change(runs[1], status="failed", failure="RuntimeError: out of memory")
    shutil.rmtree(runs[2] / "adapter")
    with pytest.raises(Mistake) as caught:
        stress([tmp_path / "nowhere", *runs])
    problems = dict(zip(("nowhere", runs[1].name, runs[2].name), caught.value.problems, strict=True))
    assert all(name in problem for name, problem in problems.items())
    assert "out of memory" in problems[runs[1].name]
    assert "kept no weights" in problems[runs[2].name]
    with pytest.raises(Mistake, match=r"runs is .*; it must not be empty"):
        stress([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"asked": {"task": {"name": "financial-demo"}}},
            "differ in their task: classification in .* financial-demo in",
        ),
        ({"data": {"sha256": "0" * 64}}, "differ in their data"),
        ({"model": {"sha256": "0" * 64}}, "differ in their base model"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    runs: list[Path], stress: Any, changes: dict[str, Any], message: str
) -> None:
    record = read_record(runs[1])
    change(runs[1], **{name: {**getattr(record, name), **new} for name, new in changes.items()})
    with pytest.raises(Mistake, match=message):
        stress(runs)


def test_seeds_of_a_method_with_other_settings_are_refused(runs: list[Path], stress: Any) -> None:
    """The mean over seeds would mix two methods under one name; other methods may have other settings."""
    own = [run for run in runs if read_record(run).method == "lora"]
    request = read_record(own[1]).asked
    change(own[1], asked={**request, "method": {**request["method"], "rank": 8}})
    with pytest.raises(Mistake, match=r"runs of lora in .* different settings \(rank 2 and 8\)"):
        stress(runs)


def test_a_method_and_seed_given_twice_are_refused(runs: list[Path], stress: Any) -> None:
    with pytest.raises(Mistake, match="lora, seed 1 is given 2 times"):
        stress([*runs, runs[1]])


def test_data_are_known_by_their_content(
    trained: tuple[Path, list[Path]], runs: list[Path], stress: Any, tmp_path: Path
) -> None:
    folder, moved = stress(runs[:1]), tmp_path / "moved.csv"
    request = read_record(runs[0]).asked
    change(runs[0], asked={**request, "task": {**request["task"], "data": str(tmp_path / "gone.csv")}})
    with pytest.raises(Mistake, match=r"gone\.csv does not exist") as caught:
        stress(runs[:1])
    assert "--data" in caught.value.problems[-1]
    moved.write_bytes((trained[0] / "texts.csv").read_bytes())
    assert stress(runs[:1], data=moved) == folder
    moved.write_text(moved.read_text().replace("a bank", "one bank"))
    with pytest.raises(Mistake, match="as they were then"):
        stress(runs[:1], data=moved)


def test_the_folder_of_a_study_stands_for_its_finished_runs(runs: list[Path]) -> None:
    (folder,) = {run.parent for run in runs}
    assert set(AdapterStressSettings(runs=folder).runs) == set(runs)
    assert AdapterStressSettings(runs=[folder / "nowhere"]).runs == (folder / "nowhere",)
