"""Adapter folders with a tokenizer of their own: the base is resized to the saved embeddings, as users of PEFT do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lowland.deploy.find import AUTO_CLASSES, find_adapted
from lowland.deploy.load import load_adapted
from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.lora.peft_weights import WEIGHTS_FILE
from lowland.models.load import load_tokenizer
from tests.deploy.merge.merged import merge
from tests.deploy.merge.test_merging import base_folder

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers', on embeddings

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["the film zork1 was good", "zork2 zork70 the", "again"]
TARGETS = {"SEQ_CLS": ["query"], "CAUSAL_LM": ["c_attn"], "SEQ_2_SEQ_LM": ["q"]}
KINDS = ("SEQ_CLS", "CAUSAL_LM")


def resized(kind: str, base: Path, tokenizer: Any, multiple: int | None = None) -> Any:
    """Load a base and resize it to a tokenizer."""
    model = getattr(transformers, AUTO_CLASSES[kind]).from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=multiple)
    return model


def trained(
    kind: str, base: Path, folder: Path, new: int, multiple: int | None = None, **options: Any
) -> tuple[Any, Any]:
    """Train an adapter with new tokens by PEFT, save it with its tokenizer, and return both."""
    save = {"save_embedding_layers": options.pop("save_embedding_layers", "auto")}
    tokenizer = load_tokenizer(base)
    tokenizer.add_tokens([f"zork{number}" for number in range(new)])
    config = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS[kind], "task_type": kind, **options}
    model = peft.get_peft_model(resized(kind, base, tokenizer, multiple), peft.LoraConfig(**config))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(str(folder), **save)
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits[..., : len(tokenizer)]


WAYS: dict[str, dict[str, Any]] = {
    "embeddings": {},
    "rows": {"trainable_token_indices": [3, 70]},
    "padded": {"multiple": 16},
    "DoRA": {"use_dora": True},
    "DoRA and rows": {"use_dora": True, "trainable_token_indices": [3, 70]},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("new", [70, 5], ids=["more rows", "fewer rows"])
def test_a_classifier_with_new_tokens_answers_as_trained(
    tiny_model: Path, tmp_path: Path, way: str, new: int
) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    options = {**WAYS[way]}
    if "trainable_token_indices" in options:
        options["trainable_token_indices"] = [3, len(load_tokenizer(base)) + new - 1]
    model, tokenizer = trained("SEQ_CLS", base, tmp_path / "adapter", new, **options)
    assert len(model.get_input_embeddings().weight) != 64
    served = load(tmp_path / "adapter")
    torch.testing.assert_close(logits(served.model, tokenizer), logits(model, tokenizer), rtol=0, atol=1e-5)
    shares = logits(model, tokenizer).softmax(-1).double().numpy()
    frame = served.predict(TEXTS)
    columns = [name for name in frame.columns if name.startswith("p_")]
    assert abs(frame[columns].to_numpy() - shares).max() < 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"target_modules": ["wte", "c_attn"]}, {"target_modules": ["lm_head"]}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_has_the_new_tokens(
    tiny_model: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    if kind == "SEQ_CLS" and options:
        options = {"target_modules": ["word_embeddings", "query"]}
    base = base_folder(kind, tmp_path / "base", tiny_model)
    saved = {"save_embedding_layers": True} if options else {}
    model, tokenizer = trained(kind, base, tmp_path / "adapter", 70, **options, **saved)
    report = merge(tmp_path / "adapter", tmp_path / "merged")
    assert report.passed
    merged = getattr(transformers, AUTO_CLASSES[kind]).from_pretrained(tmp_path / "merged").eval()
    assert len(load_tokenizer(tmp_path / "merged")) == len(tokenizer) == merged.config.vocab_size
    torch.testing.assert_close(logits(merged, tokenizer), logits(model, tokenizer), rtol=0, atol=1e-4)


@pytest.mark.parametrize("alpha", [0, -2])
def test_an_alpha_of_0_or_below_it_is_merged(tiny_model: Path, tmp_path: Path, alpha: int) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    model, tokenizer = trained("SEQ_CLS", base, tmp_path / "adapter", 70, lora_alpha=alpha)
    assert merge(tmp_path / "adapter", tmp_path / "merged").passed
    merged = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(logits(merged, tokenizer), logits(model, tokenizer), rtol=0, atol=1e-4)


def test_the_command_line_reads_new_tokens(lowland: Run, tiny_model: Path, tmp_path: Path) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    trained("SEQ_CLS", base, tmp_path / "adapter", 70)
    for command in (
        ["predict", str(tmp_path / "adapter"), "--text", *TEXTS],
        ["predict", str(tmp_path / "adapter"), "--merge", "--text", *TEXTS],
        ["merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged")],
        ["check", "--adapter", str(tmp_path / "adapter")],
    ):
        code, out, err = lowland(*command)
        assert code == 0, (out, err)


def test_a_tokenizer_without_embeddings_is_refused_by_the_sizes(tiny_model: Path, tmp_path: Path) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    _, tokenizer = trained("SEQ_CLS", base, tmp_path / "adapter", 70, save_embedding_layers=False)
    with pytest.raises(Mistake) as caught:
        load(tmp_path / "adapter")
    assert f"the tokenizer in {tmp_path / 'adapter'} has {len(tokenizer)} tokens" in str(caught.value)
    assert "has embeddings for 64; " in str(caught.value)
    assert "save_embedding_layers=True" in str(caught.value)


def test_embeddings_without_their_tokenizer_are_refused_by_the_sizes(
    tiny_model: Path, tmp_path: Path
) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    _, tokenizer = trained("SEQ_CLS", base, tmp_path / "adapter", 70)
    for path in (tmp_path / "adapter").glob("*token*"):
        path.unlink()
    with pytest.raises(
        Mistake, match=f"with {len(tokenizer)} rows, and .* has 64; call model.resize"
    ) as caught:
        load(tmp_path / "adapter")
    assert len(caught.value.problems) == 1


def test_output_embeddings_that_nobody_holds_are_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=False
        )
    )
    model.save_pretrained(folder)
    trained("CAUSAL_LM", folder, tmp_path / "adapter", 70)
    load_adapted(find_adapted(tmp_path / "adapter"))
    path = tmp_path / "adapter" / WEIGHTS_FILE
    save_file({key: value for key, value in load_file(path).items() if "lm_head" not in key}, path)
    with pytest.raises(Mistake, match="contains weights for lm_head, so predictions would be random"):
        load_adapted(find_adapted(tmp_path / "adapter"))


@pytest.mark.parametrize("start", ["pissa_niter_4", "lora_ga", "corda"])
def test_an_init_method_that_peft_does_not_repeat_is_refused_in_predict_as_well(
    lowland: Run, tiny_model: Path, tmp_path: Path, start: str
) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    trained("SEQ_CLS", base, tmp_path / "adapter", 70)
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "init_lora_weights": start}))
    for options in ([], ["--merge"]):
        code, out, err = lowland("predict", str(tmp_path / "adapter"), *options, "--text", "a")
        assert (code, out) == (2, "")
        assert f'init_lora_weights = "{start}", with which PEFT' in err
        assert "without --merge" not in err
