"""`lowland measure adapters` and `measure cost`, from the command line, on runs and on adapters from elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lowland.deploy.load import load_base
from lowland.deploy.predict import load
from lowland.evidence.readers.measurements import read_measurements
from lowland.ground.mistakes import Mistake
from lowland.lora import count_parameters
from lowland.measure.adapter_settings import AdapterMeasureSettings, CostSettings
from lowland.measure.cost import measure_cost
from lowland.measure.learned import Learned, measure_adapters
from lowland.measure.parameters import adamw_bytes
from lowland.measure.retained import read_retention
from lowland.measure.timing import in_turns, ratio
from lowland.measure.tuned import find_tuned
from tests.deploy.merge.test_merging import base_folder, peft_adapter

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Two runs of LoRA, and one each of DoRA, full fine-tuning and the bag of words."""
    from lowland.cli.main import main
    from tests.conftest import table_of

    folder = tmp_path_factory.mktemp("study")
    table_of(4).to_csv(folder / "texts.csv", index=False)
    common = ["--task", "classification", "--data", str(folder / "texts.csv"), "--model", str(tiny_model)]
    common += ["--dtype", "fp32", "--out", str(folder / "runs")]
    training = ["--epochs", "1", "--lr", "0.01", "--max-train", "32"]
    options = {
        "lora": [*training, "--rank", "4"],
        "dora": [*training, "--rank", "4"],
        "full": training,
        "bag-of-words": [],
    }
    for method, seed in (("lora", "1"), ("lora", "2"), ("dora", "1"), ("full", "1"), ("bag-of-words", "1")):
        assert main(["train", "--method", method, "--seed", seed, *common, *options[method]]) == 0
    return folder / "runs"


def runs_of(study: Path, method: str) -> list[Path]:
    return sorted(study.glob(f"classification-{method}-s*"))


def measure(*runs: Path, **options: Any) -> Learned:
    return measure_adapters(AdapterMeasureSettings(runs=runs, **{"limit": 20, **options}))


def test_figures_of_runs_are_those_of_their_weights(study: Path) -> None:
    learned = measure(study)
    table = learned.table().query("part == 'layer'")
    assert table.groupby("method")["run"].nunique().to_dict() == {"dora": 1, "full": 1, "lora": 2}
    assert [note for note in learned.notes if "trains no network" in note]
    for run in (*runs_of(study, "lora"), *runs_of(study, "full"), *runs_of(study, "dora")):
        own = table[table["run"] == str(run)].set_index("layer")
        assert len(own) == 13  # twelve in two blocks, and the pooler
        tuned = find_tuned(run)
        assert tuned is not None
        assert tuned.base is not None
        base = load_base(tuned.base).model
        merged = load(run, merge=True).model if "lora" in run.name else tuned._trained_model()
        for layer in own.index:
            before, after = base.get_submodule(layer).weight, merged.get_submodule(layer).weight
            update = (after - before).detach()
            assert own.loc[layer, "norm_update"] == pytest.approx(update.norm().item(), rel=1e-4)
            assert own.loc[layer, "relative_update"] == pytest.approx(
                (update.norm() / before.norm()).item(), rel=1e-4
            )
            assert own.loc[layer, "leading"] == 10
    assert table.loc[table["method"] == "lora", "norm_a"].notna().all()
    assert table.loc[table["method"] != "lora", ["norm_a", "rank"]].isna().all().all()


def test_overlap_is_one_with_oneself_and_small_between_seeds(study: Path, tmp_path: Path) -> None:
    first, second = runs_of(study, "lora")
    twin = Path(shutil.copytree(first / "adapter", tmp_path / "twin"))
    learned = measure(first, second, twin, parts=["overlap"], directions=2)
    overlaps = pd.DataFrame(learned.overlaps)
    same = overlaps[(overlaps["run"] == str(first)) & (overlaps["run_b"] == str(twin))]
    assert len(same) == 13
    assert same[["left", "right"]].to_numpy() == pytest.approx(1, abs=1e-4)
    other = overlaps[overlaps["run_b"] == str(second)]
    assert other["right"].mean() < 0.7
    assert set(overlaps["right_random"]) == {2 / 16, 2 / 32}
    assert not learned.drifts
    assert learned.table()["intruders"].isna().all()


def test_runs_of_different_bases_are_not_compared(study: Path, tmp_path: Path, tiny_model: Path) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    peft_adapter("CAUSAL_LM", base, tmp_path / "adapter")
    learned = measure(runs_of(study, "lora")[0], tmp_path / "adapter", parts=["overlap"])
    assert learned.table()["run"].nunique() == 2
    assert learned.overlaps == []
    assert learned.notes == ["what runs of different base models learned is not compared with each other"]


def test_drift_is_none_at_the_base_and_same_numbers_come_again(study: Path) -> None:
    run, full = runs_of(study, "lora")[0], runs_of(study, "full")[0]
    learned, again = (measure(run, full, parts=["drift"]) for _ in range(2))
    assert learned.drifts == again.drifts
    states = pd.DataFrame(learned.drifts)
    assert len(states) == 2 * 3  # before the first layer, and after each of two
    before = states[(states["layer"] == 0) & (states["method"] == "lora")]
    assert before[["cka", "cosine"]].to_numpy() == pytest.approx(1)
    after = states[states["layer"] > 0]
    assert (after["cosine"] < 1 - 1e-7).all()
    assert (after["cka"] < 1 - 1e-7).all()


def test_the_command_prints_tables_and_writes_a_file(lowland: Run, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "layers.parquet"
    code, text, err = lowland(
        "measure", "adapters", str(study), "--limit", "20", "--by-layer", "--out", str(out)
    )
    assert code == 0, err
    for words in (
        "effective rank",
        "| lora",
        "Intruder dimensions",
        "at random",
        "By layer",
        "Drift by layer",
    ):
        assert words in text
    table = pd.read_parquet(out)
    parts = {"layer": 4 * 13, "overlap": 6 * 13, "drift": 4 * 3}
    assert table["part"].value_counts().to_dict() == parts
    read = read_measurements([out]).adapters
    assert read is not None
    assert set(read["run"]) == {
        path.name for method in ("lora", "dora", "full") for path in runs_of(study, method)
    }
    assert (set(read["k"].dropna()), set(read["epsilon"].dropna())) == ({10.0}, {0.5})
    code, _, err = lowland("measure", "adapters", str(study), "--out", str(out))
    assert code == 2
    assert "--replace" in err


def test_the_json_holds_all_figures_and_what_was_forgotten(lowland: Run, study: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    rows = [
        (0, seed, method, 0.5 + 0.1 * seed * (method == "lora"))
        for seed in (1, 2)
        for method in ("base", "lora")
    ]
    pd.DataFrame(rows, columns=["example", "seed", "method", "score"]).to_csv(scores, index=False)
    code, text, err = lowland(
        "measure", "adapters", str(study), "--parts", "intruders", "--retention", str(scores), "--json"
    )
    assert code == 0, err
    content = json.loads(text)
    assert (content["k"], content["epsilon"]) == (10, 0.5)
    retained = {(run["method"], run["seed"]): run["retention"] for run in content["runs"]}
    assert retained["lora", 1] == pytest.approx(0.1)
    assert retained["lora", 2] == pytest.approx(0.2)
    assert retained["full", 1] is None
    assert len(content["layers"]) == 4 * 13


def test_an_adapter_without_its_base_is_measured_as_far_as_possible(
    lowland: Run, tmp_path: Path, tiny_model: Path
) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    peft_adapter("CAUSAL_LM", base, tmp_path / "adapter")
    whole = measure(tmp_path / "adapter").table()
    assert whole["intruders"].notna().all()
    shutil.rmtree(base)
    code, text, err = lowland("measure", "adapters", str(tmp_path / "adapter"), "--json")
    assert code == 0, err
    content = json.loads(text)
    assert [row["effective_rank"] for row in content["layers"]] == pytest.approx(
        list(whole["effective_rank"])
    )
    assert all(row["intruders"] is None for row in content["layers"])
    assert "without its base model's weights" in content["notes"][0]


def test_mistakes_are_said_in_a_sentence(lowland: Run, study: Path, tmp_path: Path) -> None:
    first, second = runs_of(study, "lora")
    gone = Path(shutil.copytree(first, tmp_path / "gone"))
    (gone / "adapter" / "adapter_model.safetensors").unlink()
    broken = Path(shutil.copytree(first / "adapter", tmp_path / "broken"))
    state = load_file(broken / "adapter_model.safetensors")
    next(iter(state.values()))[0] = torch.nan
    save_file(state, broken / "adapter_model.safetensors")
    copy = Path(shutil.copytree(second, tmp_path / "copy"))
    (tmp_path / "empty").mkdir()
    cases = [
        ([gone], "missing, or changed since the run saved it"),
        ([broken], "has NaN or infinity in"),
        ([second, copy], "are both runs of lora, seed 2"),
        ([tmp_path / "empty"], "holds no run (record.json) and no adapter"),
        ([tmp_path / "nothing"], "has no run nothing"),
        (runs_of(study, "bag-of-words")[:1], "trains no network"),
    ]
    for folders, words in cases:
        code, _, err = lowland("measure", "adapters", *map(str, folders))
        assert (code, words in err) == (2, True), err


def test_a_retention_table_is_checked(tmp_path: Path) -> None:
    table = pd.DataFrame({"example": [0], "seed": [1], "method": ["lora"], "score": [1.0]})
    path = tmp_path / "scores.csv"
    for changed, words in (
        (table.drop(columns="score"), "no column score"),
        (table, "no rows of the method base"),
        (table.assign(seed="one"), "not a number"),
    ):
        changed.to_csv(path, index=False)
        with pytest.raises(Mistake, match=words):
            read_retention(path)


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_the_cost_of_a_run_counts_what_the_record_counts(study: Path, method: str) -> None:
    run = runs_of(study, method)[0]
    cost = measure_cost(CostSettings(run=run, rounds=3, batch_size=2))
    record = json.loads((run / "record.json").read_text())
    assert cost.trained == record["parameters"]["trainable"]
    total = sum(count["total"] or 0 for count in cost.parameters.values())
    copy_of_head = 16 * 2 + 2 if method == "dora" else 0  # PEFT keeps the module that it has replaced
    assert total + copy_of_head == record["parameters"]["total"]
    assert ("adapter" in cost.parameters) == (method != "full")
    assert cost.training["steps"] > 0
    assert cost.training["seconds_per_step"] > 0
    assert (cost.inference["adapter_to_merged"] is None) == (method == "full")
    part = "model" if method == "full" else "adapter"
    assert cost.files[part] == sum(path.stat().st_size for path in (run / part).iterdir())
    assert cost.files["base"]


def test_the_optimizer_s_memory_is_that_of_adamw() -> None:
    parameters = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values()]
    assert adamw_bytes(parameters) == sum(value.numel() * value.itemsize for value in states)


def test_the_command_prints_the_cost(lowland: Run, study: Path) -> None:
    run = str(runs_of(study, "lora")[0])
    code, text, err = lowland("measure", "cost", run, "--rounds", "3", "--batch-size", "2")
    assert code == 0, err
    for words in (
        "| adapter",
        "AdamW keeps",
        "seconds a step",
        "times as long as the merged model",
        "whole model in bf16",
    ):
        assert words in text
    code, text, _ = lowland("measure", "cost", run, "--rounds", "3", "--batch-size", "2", "--json")
    assert json.loads(text)["method"] == "lora"
    code, _, err = lowland("measure", "cost", str(runs_of(study, "bag-of-words")[0]))
    assert (code, "trains no network" in err) == (2, True)


def test_kinds_of_parameters_add_up(study: Path) -> None:
    run = runs_of(study, "lora")[0]
    cost = measure_cost(CostSettings(run=run, rounds=3, batch_size=2))
    count = count_parameters(load(run).model)
    assert (cost.trained, sum(kind["total"] or 0 for kind in cost.parameters.values())) == (
        count.trainable,
        count.total,
    )
    h, m = 16, 32
    assert cost.parameters["attention"]["total"] == 2 * 4 * (h * h + h)
    assert cost.parameters["MLP"]["total"] == 2 * (2 * h * m + h + m)


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0])["median"] == 2
    calls: list[str] = []
    seconds = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
