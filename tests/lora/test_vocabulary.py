"""Embeddings in an adapter's file: of new tokens, of trained rows, and tied ones; PEFT is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

from lowland import load_adapter, merge_lora, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora.peft_weights import WEIGHTS_FILE
from tests.lora.conftest import LLAMA, answers, assert_untouched, state_of

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers', on embeddings

ROWS = 64
NEW = 3
TARGETS = {
    "llama": ["q_proj", "v_proj"],
    "tied llama": ["q_proj", "v_proj"],
    "gpt2": ["c_attn"],
    "bert": ["query"],
    "t5": ["q"],
    "bart": ["q_proj"],
}
SAVED: dict[str, dict[str, Any]] = {
    "embeddings of a resized model": {},
    "modules_to_save": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "one of modules_to_save": {"modules_to_save": ["embed_tokens"]},
    "the other of modules_to_save": {"modules_to_save": ["lm_head"]},
    "rows": {"trainable_token_indices": [ROWS, ROWS + 1, ROWS + 2]},
    "rows of both": {"trainable_token_indices": {"embed_tokens": [ROWS, 7], "lm_head": [ROWS + 2]}},
}
KEPT: dict[str, dict[str, Any]] = {
    "rows": {"trainable_token_indices": [10, 20]},
    "rows by name": {"trainable_token_indices": {"embed_tokens": [10, 20]}},
    "rows of the output": {"trainable_token_indices": {"lm_head": [10, 20]}},
}


@pytest.fixture
def folder_of(build: Callable[[str], Any], tmp_path: Path) -> Callable[[str], Path]:
    """Writes the tiny model of a name, so that PEFT sees that a vocabulary was resized."""

    def write(name: str) -> Path:
        folder = tmp_path / f"base-{name}"
        if not folder.exists():
            tied = hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA, tie_word_embeddings=True))
            (tied if name == "tied llama" else build(name)).save_pretrained(folder)
        return folder

    return write


def load(folder: Path, new: int = 0) -> Any:
    """Load a base model, with embeddings for `new` more tokens; the new rows are random each time."""
    config = hf.AutoConfig.from_pretrained(folder)
    model = getattr(hf, config.architectures[0]).from_pretrained(folder).eval()
    if new:
        model.resize_token_embeddings(len(model.get_input_embeddings().weight) + new)
    return model


def written(base: Path, folder: Path, new: int = 0, **options: Any) -> tuple[Path, torch.Tensor]:
    """Train an adapter by PEFT; return its folder, and the trained model's logits."""
    embeddings = options.pop("save_embedding_layers", "auto")
    name = base.name.removeprefix("base-")
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": TARGETS[name], **options})
    model = peft.get_peft_model(load(base, new), config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(str(folder), save_embedding_layers=embeddings)
    return folder, answers(model.eval(), inputs(new))


def inputs(new: int) -> torch.Tensor:
    """Token ids (3, 7), with new ones among them if there are any."""
    tokens = torch.randint(5, 60, (3, 7), generator=torch.Generator().manual_seed(1))
    if new:
        tokens[0, 3], tokens[1, 1], tokens[2, 5] = ROWS, ROWS + 1, ROWS + 2
    else:
        tokens[0, 3] = 10
    return tokens


def assert_read(base: Path, folder: Path, expected: torch.Tensor, new: int, again: Path) -> nn.Module:
    """Check that PEFT and lowland load an adapter, and PEFT and lowland what lowland saves of it."""
    loaded = load_adapter(load(base, new), folder).eval()
    saved = save_adapter(loaded, again)
    models = [
        peft.PeftModel.from_pretrained(load(base, new), str(folder)),
        loaded,
        load_adapter(load(base, new), saved),
        peft.PeftModel.from_pretrained(load(base, new), str(saved)),
    ]
    for model in models:
        torch.testing.assert_close(answers(model.eval(), inputs(new)), expected, rtol=0, atol=1e-5)
    return loaded


@pytest.mark.parametrize("name", ["llama", "tied llama", "gpt2", "bert", "t5", "bart"])
def test_embeddings_of_new_tokens_are_read(
    folder_of: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    base = folder_of(name)
    folder, expected = written(base, tmp_path / "adapter", NEW)
    held = load_file(folder / WEIGHTS_FILE).values()
    assert any(len(tensor) == ROWS + NEW for tensor in held)
    assert_read(base, folder, expected, NEW, tmp_path / "again")


@pytest.mark.parametrize("way", SAVED)
def test_every_way_to_save_new_tokens_is_read(
    folder_of: Callable[[str], Path], tmp_path: Path, way: str
) -> None:
    base = folder_of("llama")
    folder, expected = written(base, tmp_path / "adapter", NEW, **SAVED[way])
    loaded = assert_read(base, folder, expected, NEW, tmp_path / "again")
    assert all(parameter.requires_grad for parameter in loaded.get_input_embeddings().parameters())


@pytest.mark.parametrize("new", [0, NEW])
def test_rows_of_tied_embeddings_are_read(folder_of: Callable[[str], Path], tmp_path: Path, new: int) -> None:
    base = folder_of("tied llama")
    folder, expected = written(
        base, tmp_path / "adapter", new, trainable_token_indices=[10, 20, ROWS - 1 + new]
    )
    assert_read(base, folder, expected, new, tmp_path / "again")


@pytest.mark.parametrize("rows", KEPT)
def test_trained_rows_of_a_vocabulary_that_was_not_resized_are_read(
    folder_of: Callable[[str], Path], tmp_path: Path, rows: str
) -> None:
    base = folder_of("llama")
    folder, expected = written(base, tmp_path / "adapter", **KEPT[rows])
    assert_read(base, folder, expected, 0, tmp_path / "again")


def test_embeddings_that_equal_the_model_s_stay_frozen(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    base = folder_of("llama")
    folder, expected = written(base, tmp_path / "adapter", save_embedding_layers=True)
    assert any("embed_tokens" in name for name in load_file(folder / WEIGHTS_FILE))
    loaded = assert_read(base, folder, expected, 0, tmp_path / "again")
    assert not loaded.get_input_embeddings().weight.requires_grad


@pytest.mark.parametrize("alpha", [0, -3])
def test_an_alpha_of_0_or_below_it_is_read(
    folder_of: Callable[[str], Path], tmp_path: Path, alpha: int
) -> None:
    base = folder_of("llama")
    folder, expected = written(
        base, tmp_path / "adapter", lora_alpha=alpha, alpha_pattern={"layers.1.self_attn.q_proj": alpha}
    )
    same = torch.equal(answers(load(base), inputs(0)), expected)
    assert same == (alpha == 0)
    assert_read(base, folder, expected, 0, tmp_path / "again")


@pytest.mark.parametrize("name", ["llama", "tied llama"])
@pytest.mark.parametrize("targets", [["lm_head"], "lm_head", ["lm_head", "q_proj"]])
def test_an_adapter_on_the_output_embeddings_is_read_and_merged(
    folder_of: Callable[[str], Path], tmp_path: Path, name: str, targets: Any
) -> None:
    base = folder_of(name)
    folder, expected = written(base, tmp_path / "adapter", target_modules=targets)
    loaded = assert_read(base, folder, expected, 0, tmp_path / "again")
    merged = merge_lora(loaded, keep=False)
    assert not merged.config.tie_word_embeddings
    torch.testing.assert_close(answers(merged, inputs(0)), expected, rtol=0, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(answers(load(tmp_path / "merged"), inputs(0)), expected, rtol=0, atol=1e-5)


def refused(model: nn.Module, folder: Path, message: str) -> None:
    """Check that loading is refused with one sentence that contains this, and leaves the model unchanged."""
    before = state_of(model)
    with pytest.raises(Mistake) as caught:
        load_adapter(model, folder)
    assert_untouched(model, before)
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)


@pytest.mark.parametrize("new", [0, 5])
@pytest.mark.parametrize("way", SAVED)
def test_a_base_of_another_size_is_told_what_to_do(
    folder_of: Callable[[str], Path], tmp_path: Path, way: str, new: int
) -> None:
    base = folder_of("llama")
    folder, _ = written(base, tmp_path / "adapter", NEW, **SAVED[way])
    refused(load(base, new), folder, f"with {ROWS + NEW} rows, and ")
    refused(load(base, new), folder, f" of LlamaForCausalLM has {ROWS + new}; call model.resize_token_emb")
    refused(load(base, new), folder, f"resize_token_embeddings({ROWS + NEW}) before load_adapter")


def test_rows_that_the_base_does_not_have_are_named(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    base = folder_of("llama")
    options = {"trainable_token_indices": [ROWS + 1], "save_embedding_layers": False}
    folder, _ = written(base, tmp_path / "adapter", NEW, **options)
    refused(
        load(base),
        folder,
        f"trained rows of model.embed_tokens up to row {ROWS + 1}, and LlamaForCausalLM has",
    )


def test_an_adapted_embedding_is_not_overwritten(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    base = folder_of("llama")
    folder, _ = written(base, tmp_path / "adapter", NEW, target_modules=["embed_tokens", "q_proj"])
    refused(load(base, NEW), folder, f"it differs from the model's in {NEW} of {ROWS + NEW} rows, the first")


TIED: dict[str, dict[str, Any]] = {
    "the input alone": {"modules_to_save": ["embed_tokens"]},
    "the output alone": {"modules_to_save": ["lm_head"]},
    "both, apart": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "rows of the output": {"trainable_token_indices": {"lm_head": [10, 20]}},
}


@pytest.mark.parametrize("new", [0, NEW])
@pytest.mark.parametrize("way", TIED)
def test_tied_embeddings_that_were_trained_apart_are_read_and_merged(
    folder_of: Callable[[str], Path], tmp_path: Path, way: str, new: int
) -> None:
    base = folder_of("tied llama")
    folder, expected = written(base, tmp_path / "adapter", new, **TIED[way])
    loaded = assert_read(base, folder, expected, new, tmp_path / "again")
    merge_lora(loaded, keep=False).save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(answers(load(tmp_path / "merged"), inputs(new)), expected, rtol=0, atol=1e-5)


def test_a_damaged_number_of_trained_rows_is_refused(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    base = folder_of("llama")
    folder, _ = written(base, tmp_path / "adapter", trainable_token_indices=[10, 20])
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors = {key: tensor[:1] if "delta" in key else tensor for key, tensor in tensors.items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    refused(
        load(base), folder, "holds (1, 16) trained rows of model.embed_tokens; its config has trainable_token"
    )
