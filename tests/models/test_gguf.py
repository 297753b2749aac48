"""GGUF files: the converted model is that of the file, it is converted once, and damaged files are named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lowland.ground.mistakes import Mistake
from lowland.ground.records import title_of
from lowland.models import gguf as gguf_module
from lowland.models.find import find_model
from lowland.models.load import load_tokenizer
from lowland.models.source import DEQUANTISED_FROM, ModelSource
from tests.models.gguf_files import TOKENS, tiny, write_gguf

Run = Callable[..., tuple[int, str, str]]
pytest.importorskip("gguf")

BF16_STEP = 2**-7
"""Relative distance of neighbours in bf16, at most; rounding errs by half of it."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_gguf(tiny("llama"), tmp_path / "llama.gguf", "Q8_0")


def loaded(source: ModelSource) -> Any:
    return AutoModelForCausalLM.from_pretrained(source.folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    rows = torch.randint(5, len(TOKENS), (3, 40), generator=torch.Generator().manual_seed(1))
    return model(rows).logits


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("[!.]*"))


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("file_type", ["F32", "F16", "BF16"])
def test_a_plain_file_gives_the_models_logits(architecture: str, file_type: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    if file_type != "F32":
        for parameter in model.parameters():  # the original, too, has weights of that type
            if parameter.ndim > 1:
                parameter.data = parameter.to(torch.half if file_type == "F16" else torch.bfloat16).float()
    source = find_model(str(write_gguf(model, tmp_path / "of mine.gguf", file_type)))
    gap = (logits(loaded(source)) - logits(model)).abs().max()
    assert gap <= {"F32": 1e-5, "F16": 5e-3, "BF16": 5e-2}[file_type]  # norms are rounded, as all weights
    assert source.title == f"of mine.gguf, converted from {file_type}"


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_a_quantised_file_gives_the_weights_within_half_a_step(architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    source = find_model(str(write_gguf(model, tmp_path / "tiny.gguf", "Q8_0")))
    converted = loaded(source).state_dict()
    assert set(converted) == set(model.state_dict())
    for name, weight in model.state_dict().items():
        allowed = (0.5 * BF16_STEP + 2**-11) * weight.abs()  # the blocks' scales are in F16
        if weight.ndim > 1:
            largest = weight.reshape(-1, 32).abs().amax(dim=1, keepdim=True)
            allowed += (0.51 * largest / 127).expand(-1, 32).reshape(weight.shape)
        assert ((converted[name] - weight).abs() <= allowed + 1e-6).all(), name
    assert source.title == "tiny.gguf, dequantised from Q8_0"
    assert not torch.equal(logits(loaded(source)), logits(model))


def test_the_tokenizer_is_the_files(llama: Path) -> None:
    tokenizer = load_tokenizer(find_model(str(llama)).folder)
    tokens = tokenizer("the firm")["input_ids"]
    assert tokens[0] == 1
    assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == "the firm"
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "</s>")


def test_the_folder_says_what_it_was_made_from_and_where_it_stands_leaves_no_trace(
    llama: Path, cache: Path
) -> None:
    source = find_model(str(llama))
    made = json.loads((source.folder / DEQUANTISED_FROM).read_text())
    assert (made["title"], made["file_type"], made["dtype"]) == (source.title, "Q8_0", "bfloat16")
    assert made["gguf_sha256"] == hashlib.sha256(llama.read_bytes()).hexdigest()
    assert source.folder == cache / f"gguf-{made['gguf_sha256'][:16]}"
    assert set(made["versions"]) == {"gguf", "torch", "transformers"}
    for path in source.folder.glob("*.json"):
        assert str(cache) not in path.read_text()
        assert "The Original" not in path.read_text()


def test_a_record_names_title_and_file(llama: Path) -> None:
    source = find_model(str(llama))
    entry = source.describe()
    assert (entry["name"], entry["title"], entry["terms"]) == (str(llama), source.title, None)
    assert title_of(entry) == "llama.gguf, dequantised from Q8_0"
    inside = find_model(str(source.folder))  # the folder itself is not the original either
    assert (inside.title, inside.sha256) == (source.title, source.sha256)


def test_a_plain_folder_is_described_as_before(source: ModelSource) -> None:
    assert set(source.describe()) == {"name", "origin", "revision", "sha256", "files_sha256"}
    assert title_of(source.describe()) == source.name


def test_it_is_converted_once_and_says_so(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = find_model(str(llama))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("converting llama.gguf, dequantised from Q8_0, once, into ")
    assert "reading the weights" in err
    assert "%|" not in err  # no other library's bar
    monkeypatch.setattr(gguf_module, "_convert", pytest.fail)
    monkeypatch.setattr(gguf_module, "read_header", pytest.fail)
    assert find_model(str(llama)) == first
    renamed = llama.rename(llama.with_name("renamed.gguf"))
    assert find_model(str(renamed)).title == "renamed.gguf, dequantised from Q8_0"
    assert capsys.readouterr().err == ""


def test_a_long_stage_says_that_it_goes_on(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gguf_module, "REPORT_SECONDS", 0.01)
    find_model(str(llama))
    assert "  reading the weights: 0 s so far\n" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "tokenizer.json", DEQUANTISED_FROM])
def test_a_damaged_copy_is_made_anew_with_the_same_hashes(llama: Path, damage: str) -> None:
    before = find_model(str(llama))
    path = before.folder / damage
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert find_model(str(llama)) == before
    assert path.read_bytes() == content


def test_hashes_do_not_depend_on_the_place(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_model(str(llama)).describe()
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "elsewhere"))
    assert find_model(str(llama)).describe() == before


@pytest.mark.slow
def test_hashes_do_not_depend_on_the_process(llama: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from lowland.models.find import find_model; print(find_model(sys.argv[1]).describe())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "LOWLAND_CACHE": str(tmp_path / seed), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(llama)]
        printed = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        assert printed == f"{find_model(str(llama)).describe()}\n"


def test_what_stands_beside_the_file_is_not_read(llama: Path, tiny_model: Path) -> None:
    for path in tiny_model.iterdir():
        shutil.copy(path, llama.parent)
    source = find_model(str(llama))
    assert loaded(source).config.model_type == "llama"
    assert load_tokenizer(source.folder).vocab_size == len(TOKENS)


def refusal(path: Path, cache: Path) -> str:
    with pytest.raises(Mistake) as caught:
        find_model(str(path))
    (sentence,) = caught.value.problems
    assert "\n" not in sentence
    assert str(path) in sentence
    assert visible(cache) == []
    return sentence


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.5, 0.99])
def test_a_damaged_file_is_named(llama: Path, cache: Path, kept: float) -> None:
    content = llama.read_bytes()
    llama.write_bytes(content[: int(kept * len(content))])
    assert "; download it again" in refusal(llama, cache)


def test_a_file_of_another_kind_is_named(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "text.gguf").write_text("This is no model. " * 100)
    assert "cannot be read as a GGUF file" in refusal(tmp_path / "text.gguf", cache)


def test_an_unknown_architecture_is_named(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tiny("llama"), tmp_path / "new.gguf", architecture="quux")
    sentence = refusal(path, cache)
    assert "architecture quux, which transformers cannot read" in sentence
    assert "give a folder" in sentence


def test_a_file_that_lacks_a_layer_is_refused_and_not_filled_with_random_weights(
    tmp_path: Path, cache: Path
) -> None:
    path = write_gguf(tiny("llama"), tmp_path / "less.gguf", without="blk.1.ffn_up.weight")
    assert "it lacks model.layers.1.mlp.up_proj.weight" in refusal(path, cache)


def test_a_part_of_a_split_model_is_named(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tiny("llama"), tmp_path / "part.gguf", split__count=3)
    assert "is one of 3 files of a model" in refusal(path, cache)


def test_without_the_package_gguf_the_extra_is_named(
    llama: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'lowland[gemma]'" in refusal(llama, cache)


@pytest.mark.parametrize("name", ["nowhere.gguf", "/no/where.gguf", "somebody/nowhere.GGUF"])
def test_a_file_that_does_not_exist_is_named(name: str, cache: Path) -> None:
    assert "is not a file that exists" in refusal(Path(name), cache)


def test_a_full_disk_leaves_nothing(llama: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def fail(*args: Any, **options: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.LlamaForCausalLM.save_pretrained", fail)
    with pytest.raises(Mistake, match=r"No space left on device.*MB are needed.*LOWLAND_CACHE"):
        find_model(str(llama))
    assert visible(cache) == []


def test_check_takes_a_file(lowland: Run, tmp_path: Path) -> None:
    path = write_gguf(tiny("gemma3"), tmp_path / "tiny.gguf", "Q8_0")
    code, out, err = lowland("check", "--model", str(path), "--rank", "4")
    assert code == 0, out + err
    assert "14 on 14 of 15 linear layers" in out
    assert "FAIL" not in out
    assert "converting tiny.gguf, dequantised from Q8_0" in err


def test_compare_names_the_title_and_its_runs_find_the_file_again(
    lowland: Run, llama: Path, tmp_path: Path
) -> None:
    code, out, err = lowland("compare", "--model", str(llama), "--methods", "lora", "--seeds", "1")
    assert code == 0, err
    title = "llama.gguf, dequantised from Q8_0"
    assert f"model {title}" in err
    assert f"classification, {title}:" in out
    (run,) = (tmp_path / "runs").glob("classification-*")
    record = json.loads((run / "record.json").read_text())
    assert record["model"]["title"] == title
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(llama)
    code, out, err = lowland("predict", str(run), "--text", "the firm rises", "a bank fails")
    assert code == 0, err
    assert len(out.splitlines()) == 3
