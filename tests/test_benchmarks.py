"""The benchmarks run, and say what they measured on; how fast anything is, no test can say."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

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
    found: dict = json.loads(out.read_text())
    assert found["environment"]["torch"]
    assert len(found["code"]["source_sha256"]) == 64
    return found


def test_step_time(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("step_time", tmp_path / "a.json", "--dtype", "fp32", "bf16", monkeypatch=monkeypatch)
    assert [row["dtype"] for row in found["rows"]] == ["fp32", "bf16"]
    for row in found["rows"]:
        assert row["ratio_to_peft"]["peft"] == 1
        assert row["ratio_to_peft"].keys() == contest.CONTESTANTS.keys()
        assert all(len(one) == 2 for one in row["seconds"].values())


def test_inference(contest: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = run("inference", tmp_path / "a.json", monkeypatch=monkeypatch)["rows"]
    assert row["time_to_base"]["base"] == 1
    assert row["tokens_per_second"].keys() == {"base", "adapter", "merged"}


def test_memory_of_one_contestant(contest: ModuleType) -> None:
    found = import_module("memory")._one("lora", "tiny", "fp32", 0.1, keep=False)
    assert found["peak"] > found["step"] >= 0


def test_contestants_are_what_they_are_called(contest: ModuleType) -> None:
    import torch

    shape = contest.SHAPES["tiny"]
    trained = {
        name: [key for key, one in make(shape, "fp32", 0.0).named_parameters() if one.requires_grad]
        for name, make in contest.CONTESTANTS.items()
    }
    assert len(trained["lora"]) == len(trained["peft"]) == 12  # A and B of six layers
    assert len(trained["frozen base"]) == 1
    assert len(trained["full"]) > 20
    held = contest.lora(shape, "bf16", 0.0)
    assert {one.dtype for key, one in held.named_parameters() if "lora_" in key} == {torch.float32}
    assert held.encoder.layer[0].output.dense.base.weight.dtype == torch.bfloat16


def test_a_ratio_is_the_median_of_the_rounds_own(contest: ModuleType) -> None:
    seconds = {"a": [1.0, 2.0, 30.0], "b": [2.0, 4.0, 30.0]}
    assert contest.ratios(seconds, "a") == {"a": 1.0, "b": 2.0}
    calls: list[str] = []
    found = contest.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4  # the first is not counted
    assert {name: len(one) for name, one in found.items()} == {"a": 3, "b": 3}
