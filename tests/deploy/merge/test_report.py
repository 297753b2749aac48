"""A merge that loses the adapter's update does not pass, however small the logits are."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lowland.deploy.find import find_adapted
from lowland.deploy.load import load_adapted, load_base
from lowland.deploy.merge.merging import proof_texts
from lowland.deploy.merge.proof import LayerError, LogitDifference, input_batches, logit_difference
from lowland.deploy.merge.report import MergeReport
from lowland.deploy.settings import MergeSettings
from lowland.lora import LoRALayer, lora_layers
from tests.deploy.merge.merged import merge
from tests.deploy.merge.test_merging import base_folder, peft_adapter

DTYPES = ("fp32", "bf16", "nf4")


@pytest.fixture
def adapter(tmp_path: Path, tiny_model: Path) -> Path:
    """Adapter on layers with rows of 64, as NF4 needs them."""
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model, width=64)
    peft_adapter("SEQ_CLS", base, tmp_path / "adapter")
    return tmp_path / "adapter"


def report(**changes: Any) -> MergeReport:
    near = LogitDifference(largest=0.01, mean=0.001, changed=0, predictions=8, largest_logit=1.0)
    fields: dict[str, Any] = {
        "adapter": "a",
        "base": {"name": "b", "rounds_inputs": False, "quantised": None},
        "task_type": "SEQ_CLS",
        "input_names": None,
        "setup": None,
        "task": None,
        "dtype": "bf16",
        "precision": "float32",
        "tolerance": 0.1,
        "texts": {"origin": "c", "number": 8, "instead": None},
        "logits": near,
        "own_dtype": near,
        "effect": dataclasses.replace(near, largest=1.0),
        "layers": {"one": LayerError(0.001, 0.1), "two": LayerError(0.001, 0.0)},
    }
    return MergeReport(**{**fields, **changes})


@pytest.mark.filterwarnings("ignore")  # of the package that quantises
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_merge_that_forgets_the_adapter_fails(
    adapter: Path, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype == "nf4":
        pytest.importorskip("bitsandbytes")
    genuine = merge(adapter, tmp_path / "genuine", dtype=dtype, tolerance=100.0)
    assert genuine.passed

    def forgetful(layer: Any, dtype: torch.dtype | None, precision: torch.dtype) -> torch.Tensor:
        weight = layer.weight.to(dtype or layer.weight.dtype)
        return weight.T.contiguous() if layer.transposed else weight

    monkeypatch.setattr(LoRALayer, "merged_weight", forgetful)
    report = merge(adapter, tmp_path / "merged", dtype=dtype, tolerance=100.0)
    assert not report.passed
    assert not (tmp_path / "merged").exists()
    failures = " ".join(report.failures())
    assert "half of the adapter's effect" in failures
    assert ("have lost half of their update" in failures) == (dtype == "fp32")
    assert ("have lost half of their update" in " ".join(report.warnings())) == (dtype != "fp32")
    assert report.effect == genuine.effect


def test_the_effect_is_that_of_the_adapter_on_its_base(adapter: Path, tmp_path: Path) -> None:
    adapted = find_adapted(adapter)
    texts = proof_texts(adapted, MergeSettings(run=adapter, out=tmp_path / "none"))
    inputs = input_batches(adapted.base, texts.columns, adapted.max_length)
    expected = logit_difference(load_adapted(adapted), load_base(adapted.base).model, inputs, "SEQ_CLS")
    merged = merge(adapter, tmp_path / "merged")
    assert merged.effect.largest == pytest.approx(expected.largest, rel=1e-4)
    assert f"changes logits by up to {expected.largest:.2g}" in merged.table()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_an_adapter_that_does_nothing_is_merged(adapter: Path, tmp_path: Path, dtype: str) -> None:
    path = adapter / "adapter_model.safetensors"
    state = {name: weight * ("lora_B" not in name) for name, weight in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})
    assert not any(layer.delta().any() for _, layer in lora_layers(load_adapted(find_adapted(adapter))))
    report = merge(adapter, tmp_path / "merged", dtype=dtype)
    assert report.passed
    assert report.effect.largest == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": 0.009}, "more than the tolerance (0.009)"),
        ({"own_dtype": LogitDifference(math.inf, 0, 0, 8, 1)}, "some logits are not finite"),
        ({"effect": LogitDifference(0.02, 0, 0, 8, 1)}, "half of the adapter's effect (0.02)"),
        ({"effect": LogitDifference(math.nan, 0, 0, 8, 1)}, "half of the adapter's effect"),
        (
            {"layers": {"one": LayerError(0.001, 0.5), "two": LayerError(0, 0)}, "dtype": "fp32"},
            "1 layers have lost half",
        ),
        ({"layers": {"one": LayerError(0.001, math.nan)}}, "more (one)"),
        ({"layers": {"one": LayerError(0.001, math.inf)}, "dtype": "fp32"}, "more (one)"),
    ],
)
def test_each_reason_to_fail_is_a_sentence(changes: dict[str, Any], message: str) -> None:
    failed = report(**changes)
    assert not failed.passed
    (sentence,) = failed.failures()
    assert message in sentence


def test_an_update_may_lose_less_than_half() -> None:
    assert report().passed
    assert report(effect=LogitDifference(0.021, 0, 0, 8, 1)).passed
    assert report(layers={"one": LayerError(0.001, 0.49)}, dtype="fp32").passed
    rounded = report(layers={"one": LayerError(0.001, 0.9)})  # in 16 bits a small update is rounded away
    assert rounded.passed
    assert "1 layers have lost half of their update or more: one" in " ".join(rounded.warnings())
    assert "have lost" not in " ".join(report().warnings())
    rounding = {"name": "b", "rounds_inputs": True, "quantised": "bitsandbytes"}
    small = LogitDifference(0.011, 0, 0, 8, 1)  # the base's own rounding is as large a part of the logits
    assert report(effect=small, base=rounding).passed
    assert not report(effect=small, base=rounding, dtype="nf4").passed
    assert not report(effect=small, base=rounding, layers={"one": LayerError(0.001, 1.0)}).passed
    assert report(layers={"one": LayerError(0.1, 2.7)}, dtype="nf4").passed  # only its logits count
