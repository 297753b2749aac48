"""`lowland check` passes sound models, and each check fails when the part it checks is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lowland.deploy import checkup, subject
from lowland.deploy.checkup import CHECKS, FAIL, NOTE, check_model
from lowland.deploy.settings import CheckSettings
from lowland.lora import lora_layers, remove_lora
from lowland.models.packages import DEFAULT_MODEL
from tests.deploy.merge.test_merging import base_folder, peft_adapter
from tests.models.test_quantised import quantised

Run = Callable[..., tuple[int, str, str]]


def outcomes(model: str | None, adapter: Path | None = None, **options: Any) -> dict[str, tuple[str, str]]:
    settings = CheckSettings(model=model, adapter=adapter, **options)
    return {name: (verdict, figures) for name, verdict, figures in check_model(settings)}


@pytest.mark.parametrize("kind", ["encoder", "SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM"])
def test_a_sound_model_passes(lowland: Run, tmp_path: Path, tiny_model: Path, kind: str) -> None:
    folder = tiny_model if kind == "encoder" else base_folder(kind, tmp_path / "base", tiny_model)
    code, out, err = lowland("check", "--model", str(folder), "--rank", "4")
    lines = out.splitlines()
    assert code == 0, out + err
    assert len(lines) == len(CHECKS)
    assert all(line.split()[0] in ("ok", "note") for line in lines)
    layers = {"encoder": "13 on 13 of 14", "SEQ_CLS": "13 on 13 of 14", "CAUSAL_LM": "8 on 8 of 9"}
    assert layers.get(kind, "on") in lines[0]
    assert "bit for bit" in lines[2]


def test_without_a_model_the_default_one_is_checked(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    assert subject.DEFAULT_MODEL == DEFAULT_MODEL
    monkeypatch.setattr(subject, "DEFAULT_MODEL", str(tiny_model))
    assert dict(outcomes(None)) == dict(outcomes(str(tiny_model)))


def test_a_large_share_is_a_note_and_not_a_failure(tiny_model: Path) -> None:
    outcome, figures = outcomes(str(tiny_model))["trainable share"]
    assert outcome == NOTE
    assert "a lower --rank trains fewer" in figures
    pairs = [(16, 16)] * 8 + [(16, 32), (32, 16)] * 2 + [(16, 16)]  # attention, feed-forward, pooler
    assert f"{8 * sum(map(sum, pairs)):,} of" in figures


@pytest.mark.parametrize("quantisation", ["4bit", "8bit", "torchao"])
def test_a_base_in_few_bits_passes_and_its_share_counts_numbers_and_not_bytes(
    tmp_path: Path, tiny_model: Path, quantisation: str
) -> None:
    plain = base_folder("SEQ_CLS", tmp_path / "base", tiny_model, width=64)
    few = quantised("SEQ_CLS", quantisation, plain, tmp_path / "few")
    whole, packed = outcomes(str(plain)), outcomes(str(few))
    assert packed["trainable share"] == whole["trainable share"]
    failed = {name for name, (outcome, _) in packed.items() if outcome == FAIL}
    assert failed == (
        {"first answer", "PEFT reads it"} if quantisation == "8bit" else set()
    )  # an 8-bit base rounds its inputs


@pytest.mark.parametrize("kind", ["SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM"])
def test_a_given_adapter_is_checked_as_it_is(
    lowland: Run, tmp_path: Path, tiny_model: Path, kind: str
) -> None:
    base = base_folder(kind, tmp_path / "base", tiny_model)
    head = {"modules_to_save": ["classifier"]} if kind == "SEQ_CLS" else {}
    peft_adapter(kind, base, tmp_path / "adapter", **head)
    code, out, err = lowland("check", "--adapter", str(tmp_path / "adapter"))
    assert code == 0, out + err
    assert "the adapter changes logits by up to" in out
    assert "FAIL" not in out


def test_an_adapter_that_does_nothing_is_noted(tmp_path: Path, tiny_model: Path) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    peft_adapter("CAUSAL_LM", base, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    state = {name: weight * ("lora_A" in name) for name, weight in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})
    assert outcomes(None, tmp_path / "adapter")["first answer"] == (
        NOTE,
        "the adapter changes logits by up to 0",
    )


@pytest.mark.parametrize(
    ("largest", "gap", "verdict"),
    [
        (0.5, 0.9e-4, "ok"),
        (0.5, 1.1e-4, FAIL),
        (70.0, 6e-3, "ok"),
        (70.0, 8e-3, FAIL),
        (70.0, float("nan"), FAIL),
    ],
)
def test_tolerances_grow_with_logits_above_one(largest: float, gap: float, verdict: str) -> None:
    logits = torch.tensor([largest, 0.1, -largest / 2], dtype=torch.float64)
    assert checkup._within(logits + gap, logits, 1e-4)[0] == verdict
    assert checkup._within(logits, logits * float("inf"), 1e-4)[0] == FAIL


def adapterless(genuine: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: remove_lora(genuine(*args, **options))


def lively(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def add(*args: Any, **options: Any) -> Any:
        model = genuine(*args, **options)
        for _, layer in lora_layers(model):
            nn.init.constant_(layer.lora_B, 0.01)
        return model

    return add


def thawed(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def add(*args: Any, **options: Any) -> Any:
        model = genuine(*args, **options)
        next(layer for _, layer in lora_layers(model)).base.weight.requires_grad_(True)
        return model

    return add


def half_dead(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def add(*args: Any, **options: Any) -> Any:
        model = genuine(*args, **options)
        next(layer for _, layer in lora_layers(model)).lora_B.requires_grad_(False)
        return model

    return add


def forgetful(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def merge(model: nn.Module, **options: Any) -> Any:
        genuine(model, **options)
        for _, layer in lora_layers(model):
            layer.base.weight.data *= 1.1
        return model

    return merge


def subtracting(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def unmerge(model: nn.Module) -> Any:
        merged = {name: layer.base.weight.detach().clone() for name, layer in lora_layers(model)}
        genuine(model)
        for name, layer in lora_layers(model):
            with torch.no_grad():
                layer.base.weight.copy_(merged[name] - layer.delta())
        return model

    return unmerge


def headless(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def save(model: nn.Module, folder: Path, **options: Any) -> Any:
        genuine(model, folder, **options)
        path = folder / "adapter_model.safetensors"
        state = {name: weight * ("classifier" not in name) for name, weight in load_file(path).items()}
        save_file(state, path, metadata={"format": "pt"})
        return folder

    return save


def misnaming(genuine: Callable[..., Any]) -> Callable[..., Any]:
    def load(model: nn.Module, folder: Path) -> Any:
        genuine(model, folder)
        path = folder / "adapter_config.json"  # PEFT reads it, and lowland has read it before
        path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 99, "peft_type": "LORA"}))
        return model

    return load


BREAKS: dict[str, tuple[str, Callable[..., Any]]] = {
    "adapters": ("add_lora", adapterless),
    "first answer": ("add_lora", lively),
    "base frozen": ("add_lora", thawed),
    "gradients": ("add_lora", half_dead),
    "merge": ("merge_lora", forgetful),
    "unmerge": ("unmerge_lora", subtracting),
    "save and load": ("save_adapter", headless),
    "PEFT reads it": ("load_adapter", misnaming),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_check_fails_when_its_subject_is_broken(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    function, damage = BREAKS[name]
    module = subject if function == "add_lora" else checkup
    monkeypatch.setattr(module, function, damage(getattr(module, function)))
    assert outcomes(str(tiny_model))[name][0] == FAIL


def test_a_loss_that_does_not_fall_fails_and_is_exit_code_1(
    lowland: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "LEARNING_RATE", -1e-2)
    code, out, _ = lowland("check", "--model", str(tiny_model))
    assert code == 1
    assert [line.split()[0] for line in out.splitlines() if "loss falls" in line] == ["FAIL"]
    assert len(out.splitlines()) == len(CHECKS)


def test_a_check_that_cannot_be_run_has_failed_and_the_others_go_on(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(subject: Any) -> Any:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(checkup, "CHECKS", {**CHECKS, "merge": broken})
    results = outcomes(str(tiny_model))
    assert results["merge"] == (FAIL, "RuntimeError: no such thing")
    assert list(results) == list(CHECKS)
    assert [name for name, (outcome, _) in results.items() if outcome == FAIL] == ["merge"]


def test_a_model_that_cannot_be_checked_is_reported_in_a_sentence(
    lowland: Run, tiny_model: Path, tmp_path: Path
) -> None:
    for options, message in (
        (["--adapter", str(tmp_path)], "neither a run (record.json) nor an adapter"),
        (["--adapter", str(tmp_path), "--rank", "3"], "leave out --rank"),
        (["--model", str(tiny_model), "--rank", "0"], "rank is 0"),
        (["--model", str(tiny_model), "--rank", "99"], "rank 99 is larger"),
        (["--model", str(tiny_model), "--targets", "querry"], "did you mean 'query'?"),
        (["--model", str(tmp_path / "none")], "is not a folder"),
    ):
        code, out, err = lowland("check", *options)
        assert (code, out) == (2, ""), options
        assert message in err
