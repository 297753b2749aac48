"""Names of tensors in PEFT's file, with and without the name of the adapter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from lowland import load_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora.peft_weights import WEIGHTS_FILE
from tests.lora.conftest import answers, assert_untouched, fill_adapters, state_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active:UserWarning"),
]

Build = Callable[[str], Any]


def with_name(key: str, name: str) -> str:
    """Insert the name of an adapter into a key, where a `PeftModel` has it in memory."""
    key = re.sub(r"(lora_[AB])\.weight$", rf"\1.{name}.weight", key)
    key = re.sub(r"(lora_embedding_[AB])$", rf"\1.{name}", key)
    return re.sub(r"\.classifier\.", rf".classifier.modules_to_save.{name}.", key)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as PEFT saves them": lambda key: key,
    "default": lambda key: with_name(key, "default"),
    "another name": lambda key: with_name(key, "task-1"),
    "a name like a tensor's": lambda key: with_name(key, "weight"),
    "without PEFT's prefix": lambda key: key.removeprefix("base_model.model."),
    "default, without PEFT's prefix": lambda key: with_name(key, "default").removeprefix("base_model.model."),
    "modules_to_save": lambda key: key.replace(".classifier.", ".classifier.modules_to_save."),
}


def adapted(build: Build) -> Any:
    """A model that PEFT adapted, with an embedding and a head that is saved whole."""
    config = peft.LoraConfig(
        r=4, target_modules=["query", "word_embeddings"], modules_to_save=["classifier"], lora_alpha=6
    )
    return fill_adapters(peft.get_peft_model(build("bert"), config)).eval()


def rename(folder: Path, change: Callable[[str], str]) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file({change(key): tensor for key, tensor in tensors.items()}, folder / WEIGHTS_FILE)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_keys_of_one_adapter_are_read(
    build: Build, tokens: torch.Tensor, tmp_path: Path, spelling: str
) -> None:
    model = adapted(build)
    model.save_pretrained(str(tmp_path))
    rename(tmp_path, SPELLINGS[spelling])
    loaded = load_adapter(build("bert"), tmp_path)
    torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), rtol=0, atol=1e-6)


def test_the_tensors_of_a_model_in_memory_are_read(
    build: Build, tokens: torch.Tensor, tmp_path: Path
) -> None:
    model = adapted(build)
    model.save_pretrained(str(tmp_path))
    state = model.state_dict()
    parts = ("lora_", "modules_to_save", "original_module")
    kept = {key: tensor.clone() for key, tensor in state.items() if any(part in key for part in parts)}
    assert any(".original_module." in key for key in kept)
    save_file(kept, tmp_path / WEIGHTS_FILE)
    loaded = load_adapter(build("bert"), tmp_path)
    torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "named"), [("second", "default, second"), (None, "default, one without a name")]
)
def test_a_file_with_several_adapters_is_refused(
    build: Build, tmp_path: Path, other: str | None, named: str
) -> None:
    adapted(build).save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    both = {with_name(key, "default"): tensor for key, tensor in tensors.items()}
    both |= {with_name(key, other) if other else key: tensor.clone() for key, tensor in tensors.items()}
    save_file(both, tmp_path / WEIGHTS_FILE)
    model = build("bert")
    before = state_of(model)
    with pytest.raises(Mistake, match=f"holds several adapters: its keys name {named}; save the one to load"):
        load_adapter(model, tmp_path)
    assert_untouched(model, before)


def test_two_values_for_one_tensor_are_refused(build: Build, tmp_path: Path) -> None:
    adapted(build).save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    key = "base_model.model.classifier.bias"
    tensors[key.replace("bias", "modules_to_save.bias")] = tensors[key] + 1
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    with pytest.raises(Mistake, match=r"holds two values for classifier\.bias"):
        load_adapter(build("bert"), tmp_path)
