"""The benchmarks run and record the machine; no test checks speed."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from lowland.tasks.examples import TaskData
from tests.stress.asking.support import INSPECTS, own_machine

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]
__all__ = ["own_machine"]
FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("contest")
    monkeypatch.setitem(module.SHAPES, "tiny", module.Shape(layers=1, width=24, batch=2, tokens=5))
    return module


def run(name: str, out: Path, *options: str, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(sys, "argv", [name, "--shapes", "tiny", "--rounds", "2", "--out", str(out), *options])
    import_module(name).main()
    report: dict = json.loads(out.read_text())
    assert report["environment"]["torch"]
    assert len(report["code"]["source_sha256"]) == 64
    return report


def test_step_time(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run("step_time", tmp_path / "a.json", "--dtype", "fp32", "bf16", monkeypatch=monkeypatch)
    assert [row["dtype"] for row in report["rows"]] == ["fp32", "bf16"]
    for row in report["rows"]:
        assert row["ratio_to_peft"]["peft"] == 1
        assert row["ratio_to_peft"].keys() == contest.CONTESTANTS.keys()
        assert all(len(times) == 2 for times in row["seconds"].values())


def test_inference(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = run("inference", tmp_path / "a.json", monkeypatch=monkeypatch)["rows"]
    assert row["time_to_base"]["base"] == 1
    assert row["tokens_per_second"].keys() == {"base", "adapter", "merged"}


def test_memory_of_one_contestant(contest: ModuleType) -> None:
    measured = import_module("memory")._one("lora", "tiny", "fp32", 0.1, keep=False)
    assert measured["peak"] > measured["step"] >= 0


def test_contestants_match_their_names(contest: ModuleType) -> None:
    import torch

    shape = contest.SHAPES["tiny"]
    trained = {
        name: [
            key for key, parameter in make(shape, "fp32", 0.0).named_parameters() if parameter.requires_grad
        ]
        for name, make in contest.CONTESTANTS.items()
    }
    assert len(trained["lora"]) == len(trained["peft"]) == 12  # A and B of six layers
    assert len(trained["frozen base"]) == 1
    assert len(trained["full"]) > 20
    held = contest.lora(shape, "bf16", 0.0)
    assert {parameter.dtype for key, parameter in held.named_parameters() if "lora_" in key} == {
        torch.float32
    }
    assert held.encoder.layer[0].output.dense.base.weight.dtype == torch.bfloat16


def test_a_ratio_is_the_median_of_the_rounds_own(contest: ModuleType) -> None:
    seconds = {"a": [1.0, 2.0, 30.0], "b": [2.0, 4.0, 30.0]}
    assert contest.ratios(seconds, "a") == {"a": 1.0, "b": 2.0}
    calls: list[str] = []
    timings = contest.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4  # the first is not counted
    assert {name: len(times) for name, times in timings.items()} == {"a": 3, "b": 3}


def test_flat_step_time_and_memory(
    contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run("flat_step_time", tmp_path / "a.json", "--dtype", "fp32", "bf16", monkeypatch=monkeypatch)
    for row in report["rows"]:
        assert {name: ratios[name] for name, ratios in row["ratio_to"].items()} == dict.fromkeys(
            row["ratio_to"], 1
        )
        assert row["seconds"].keys() == {"peft", "lora", "flat", "peft, flat", "add-subtract"}
    measured = import_module("memory")._one("flat", "tiny", "fp32", 0.0, keep=False, noise=True)
    assert measured["peak"] > measured["step"] >= 0


def test_rivals_step_time(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run("rivals_step_time", tmp_path / "a.json", "--dtype", "fp32", "bf16", monkeypatch=monkeypatch)
    names = import_module("rivals_step_time").METHODS
    for row in report["rows"]:
        assert row["ratio_to"]["lora"]["lora"] == row["ratio_to"]["full"]["full"] == 1
        assert row["seconds"].keys() == set(names)


def test_erosion(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["erosion", "--steps", "3", "--out", str(tmp_path / "a.json")])
    erosion = import_module("erosion")
    monkeypatch.setattr(erosion, "WIDTH", 32)
    erosion.main()
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    changed = {(row["dtype"], row["way"]): row["entries_changed"] for row in rows}
    assert all((changed[case] == 0) == (case[1] == "ours") for case in changed)
    assert len(changed) == 6


def test_the_baseline_adds_the_papers_noise_and_subtracts_it(contest: ModuleType) -> None:
    import torch

    shape = contest.SHAPES["tiny"]
    model = import_module("flat_step_time").pefts(shape, torch.float64, 0.0)
    layer = next(module for module in model.modules() if hasattr(module, "lora_A"))
    before = layer.base_layer.weight.detach().clone()
    noise = import_module("add_and_subtract").AddAndSubtract(model, 0.5)
    noise.begin_step(3)
    eps = layer.base_layer.weight.detach() - before
    size = (eps.norm(dim=1) / before.norm(dim=1)).mean().item()  # of rows of chi, 24 wide
    assert size == pytest.approx(0.5, rel=0.15)
    noise.end_step()
    assert (layer.base_layer.weight - before).abs().max() < 1e-12


def test_stress_throughput(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    out = tmp_path / "a.json"
    monkeypatch.setattr(
        sys, "argv", ["stress", "--items", "1", "--rounds", "2", "--delay", "0.01", "--out", str(out)]
    )
    import_module("stress").main()
    report = json.loads(out.read_text())
    assert report["environment"]["inspect-ai"]
    assert len(report["code"]["source_sha256"]) == 64
    (row,) = report["rows"]
    assert row["requests"] == 17  # clean, and 8 corruptions at two levels
    assert row["seconds"].keys() == row["share_of_ideal"].keys() == {"bare SDK", "lowland", "lowland, whole"}
    assert all(len(times) == 2 for times in row["seconds"].values())


def test_monitor(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lowland.train import fit

    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(fit, "Monitor", fit.Monitor)  # which the benchmark replaces
    module, out = import_module("monitor"), tmp_path / "a.json"
    monkeypatch.setattr(module, "LAYERS", 2)
    options = ["--model", str(tiny_model), "--max-train", "160", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["monitor", *options])
    module.main()
    *trained, alone = json.loads(out.read_text())["rows"]
    assert [row["method"] for row in trained] == ["lora", "flat-lora"]
    for row in trained:
        assert (row["steps"], row["entries"]) == (20, 2)
        assert row["share_of_the_steps"] > 0
    assert len(alone["seconds"]) == 4


def test_singular_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    out = tmp_path / "a.json"
    options = ["--layers", "24x16", "--ranks", "2", "--rounds", "2", "--repeats", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["singular_values", *options])
    import_module("singular_values").main()
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["layer"], row["r"]) == ("24x16", 2)
    assert row["largest_relative_error"] < 1e-5
    assert {name: len(times) for name, times in row["seconds"].items()} == {"qr": 2, "svd": 2}


def test_shared_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacked products are those apart, side by side."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("shared_inputs")
    block = module.Block(6, torch.float64, ((10, (4, 2, 2)), (4, (10,))))
    actions = module.actions_of(block)
    assert len(actions["frozen"]()) == 4
    ((forward, to_a, to_x),) = actions["stacked"]()
    apart = actions["apart"]()
    torch.testing.assert_close(forward, torch.cat([each[0] for each in apart], dim=1))
    torch.testing.assert_close(to_a, torch.cat([each[1] for each in apart]))
    torch.testing.assert_close(to_x, sum(each[2] for each in apart))
    monkeypatch.setattr(module, "BLOCKS", {"tiny": block})
    out = tmp_path / "a.json"
    monkeypatch.setattr(sys, "argv", ["shared_inputs", "--rounds", "2", "--repeats", "1", "--out", str(out)])
    module.main()
    (row,) = json.loads(out.read_text())["rows"]
    assert row["block"] == "tiny"
    assert set(row["seconds"]) == {"frozen", "apart", "stacked"}


def test_pictures_of_the_statistics_are_those_that_the_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("statistics_pictures")
    monkeypatch.setattr(sys, "argv", ["statistics_pictures", "--check"])
    assert module.main() == 0, capsys.readouterr().err
    folder = module.FOLDER
    assert {path.stem for path in folder.iterdir()} == set(module.PICTURES)
    assert max(path.stat().st_size for path in folder.iterdir()) < 30_000
    shown = re.findall(
        r"!\[[^]]+\]\(pictures/(.+)\.svg\)", (folder.parent / "statistics.md").read_text("utf-8")
    )
    assert shown == list(module.PICTURES)

    monkeypatch.setattr(module, "PICTURES", {"pairs": module.PICTURES["pairs"]})
    (tmp_path / "pairs.svg").write_text(
        (folder / "pairs.svg").read_text("utf-8").replace("old", "new"), "utf-8"
    )
    monkeypatch.setattr(sys, "argv", ["statistics_pictures", "--check", "--folder", str(tmp_path)])
    assert module.main() == 1
    assert "pairs.svg is not what would be drawn" in capsys.readouterr().err


def test_short_questions_leave_out_what_is_near_a_stress_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("short_questions")
    item = module.asked_questions()[0]
    context = "Paris is old. The mill was built in 1820 by two brothers. It burned."
    long = " ".join(["word"] * 50) + " by Ann."
    asked = [
        (context, "When was the mill built?", "1820"),
        (context, item, "two brothers"),  # a copy of an item
        (context, "By whom?", "built in 1820 by two brothers"),  # a long answer
        (long, "By whom?", "Ann"),  # in a long sentence
    ]
    paragraphs = [
        {
            "context": text,
            "qas": [{"question": question, "answers": [{"text": gold, "answer_start": text.index(gold)}]}],
        }
        for text, question, gold in asked
    ]
    paragraphs.append({"context": context, "qas": [{"question": "Why?", "answers": []}]})
    (tmp_path / "squad.json").write_text(json.dumps({"data": [{"title": "Mills", "paragraphs": paragraphs}]}))
    out = tmp_path / "short.jsonl"
    monkeypatch.setattr(
        sys, "argv", ["short_questions", "--squad", str(tmp_path / "squad.json"), "--out", str(out)]
    )
    module.main()
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert rows[-1] == {
        "prompt": "The mill was built in 1820 by two brothers. When was the mill built?",
        "completion": "1820",
    }
    assert "and 1 questions of SQuAD (2 fit, 1 of them near an item)" in capsys.readouterr().out
    assert item not in {row["prompt"] for row in rows}


def test_flipped_labels_are_nested_and_only_in_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lowland.tasks.table import load_data, task_fields

    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("replication_data")

    def data_of(labels: tuple[str, ...]) -> TaskData:
        rows = [f"the film number {n} is a film,{labels[n % len(labels)]}" for n in range(210)]
        path = tmp_path / f"{len(labels)}.csv"
        path.write_text("\n".join(["text,label", *rows]))
        return load_data(task_fields("classification", data=str(path)))

    right = module.flipped(data_of(module.LABELS), 0)
    changed = {
        percent: module.flipped(data_of(module.LABELS), percent)["label"] != right["label"]
        for percent in module.SHARES
    }
    train = int((right["split"] == "train").sum())
    for percent, where in changed.items():
        assert where.sum() == round(percent / 100 * train)
        assert set(right.loc[where, "split"]) == {"train"}
    assert (changed[10] <= changed[20]).all()
    assert (changed[20] <= changed[40]).all()
    kept = module.polarity(data_of((*module.LABELS, "neutral")))
    assert set(kept["label"]) == set(module.LABELS)
    assert len(kept) == 140


def test_flatness_and_accuracy_are_correlated_without_what_the_loss_explains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Oracles: scipy's rank correlation where the loss explains nothing; and a relation made by the loss alone."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("flatness_accuracy")
    monkeypatch.setattr(module, "PERMUTATIONS", 200)
    rng = np.random.default_rng(0)
    rise, noise, loss = rng.normal(size=(3, 40))
    methods = np.repeat(["lora", "full"], 20)
    alone = pd.DataFrame({"rise": rise, "loss": 1.0, "score": noise - rise, "method": methods})
    pooled = module.correlation([alone], within_methods=False)
    assert pooled["r"] == pytest.approx(spearmanr(rise, noise - rise).statistic)
    assert pooled["r"] < pooled["high"] < 0
    assert pooled["p"] == pytest.approx(1 / 201)
    by_loss = alone.assign(rise=loss + 0.3 * rise, loss=loss, score=0.3 * noise - loss)
    assert spearmanr(by_loss["rise"], by_loss["score"]).statistic < -0.7
    assert abs(module.correlation([by_loss, alone.assign(score=noise)], within_methods=False)["r"]) < 0.25
    by_method = alone.assign(rise=rise + 9 * (methods == "full"), score=noise + 9 * (methods == "full"))
    assert module.correlation([by_method], within_methods=False)["r"] > 0.5
    assert abs(module.correlation([by_method], within_methods=True)["r"]) < 0.25


def test_flatness_and_accuracy_are_joined_by_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = import_module("flatness_accuracy")
    monkeypatch.setattr(module, "PERMUTATIONS", 20)
    runs = [(method, seed) for method in ("lora", "full") for seed in range(6)]
    keys = [{"space": "full", "measure": "expected", "strength": 0.05}]
    rises = [
        {
            **key,
            "method": method,
            "seed": seed,
            "split": split,
            "rise": seed + (split == "test") * 9,
            "loss": seed % 2,
        }
        for key in keys
        for method, seed in runs
        for split in ("train", "test")
    ]
    scores = [
        {"method": method, "seed": seed, "split": split, "score": 6 - seed if split == "test" else 0}
        for method, seed in reversed(runs)
        for split in ("test", "shifted")
    ]
    pd.DataFrame(rises).to_parquet(tmp_path / "rises.parquet")
    pd.DataFrame(scores).to_parquet(tmp_path / "scores.parquet")
    words = ["--rises", tmp_path / "rises.parquet", "--scores", tmp_path / "scores.parquet"]
    monkeypatch.setattr(
        sys, "argv", ["flatness_accuracy", *map(str, words), "--out", str(tmp_path / "out.json")]
    )
    module.main()
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["within_methods"] for row in rows] == [False, True]
    assert all(row["r"] < -0.99 and row["runs"] == 12 for row in rows)
