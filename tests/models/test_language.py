"""Language models: what is loaded, what is refused, and greedy generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.models.language import (
    generate,
    keeps_examples_apart,
    load_language_model,
    outline_language_model,
    sees_later_tokens,
    takes,
)
from tests.language_models import DECODERS, END, PAD, POSITIONS, characters, language_model, save

PROMPTS = ["a", "some words", "b c", "the longest of them all", "z"]
OTHERS = {
    "CAUSAL_LM": {"t5": "an encoder-decoder", "bart": "an encoder-decoder", "bert": "an encoder, whose tokens see"},
    "SEQ_2_SEQ_LM": {"bert": "another kind of model", "llama": "another kind of model", "gpt2": "another kind"},
}  # fmt: skip

FAR_APART: dict[str, dict[str, float]] = {"t5": {"initializer_factor": 3.0}, "bart": {"init_std": 0.2}}
"""Random weights with which a model writes something else for each text."""


def prompt_of(*texts: str, side: str = "left") -> dict[str, Tensor]:
    tokenizer = characters()
    tokenizer.padding_side = side
    rows = tokenizer(list(texts), padding=True, return_tensors="pt")
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def argmax_of(model: Any, text: str, most: int) -> list[int]:
    """The most likely tokens, one forward pass for each, up to the first end of text."""
    ids, written = prompt_of(text)["input_ids"], []
    while len(written) < most and (not written or written[-1] != END):
        with torch.no_grad():
            written.append(int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax()))
        ids = torch.cat([ids, torch.tensor([written[-1:]])], dim=1)
    return written


def shown(written: Tensor) -> list[list[int]]:
    """Rows without their padding."""
    return [[token for token in row if token != PAD] for row in written.tolist()]


def prone_to_end(model: Any, bias: float = 3.5, scale: float = 20.0) -> Any:
    """Make a model write the end of text now and then, so that texts of a batch end at different places."""
    head = torch.nn.Linear(32, model.config.vocab_size)
    with torch.no_grad():
        head.weight.copy_(model.get_output_embeddings().weight * scale)
        head.bias.zero_()
        head.bias[END] = bias
        head.bias[PAD] = -1e4
    model.set_output_embeddings(head)
    return model


@pytest.mark.parametrize("family", [*DECODERS, "opt", "bloom"])
def test_a_decoder_is_loaded_as_it_was_saved(family: str, tmp_path: Path) -> None:
    model = language_model(family)
    loaded = load_language_model(save(model, tmp_path), "CAUSAL_LM")
    ids = prompt_of("some words")["input_ids"]
    assert loaded.model.dtype == torch.float32
    assert torch.equal(loaded.model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert (loaded.remarks, loaded.trained_whole) == ((), [])  # adapters leave the vocabulary's weights alone
    assert type(outline_language_model(tmp_path, "CAUSAL_LM").model) is type(model)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_is_loaded_as_it_was_saved(family: str, tmp_path: Path) -> None:
    loaded = load_language_model(save(language_model(family), tmp_path), "SEQ_2_SEQ_LM")
    assert type(loaded.model) is type(language_model(family))
    assert loaded.trained_whole == []


@pytest.mark.parametrize(("kind", "family"), [(kind, family) for kind in OTHERS for family in OTHERS[kind]])
def test_a_model_of_another_kind_is_refused(kind: str, family: str, tmp_path: Path) -> None:
    folder = save(language_model(family), tmp_path / "model")
    wanted = {"CAUSAL_LM": "this task needs a decoder", "SEQ_2_SEQ_LM": "this task needs an encoder-decoder"}
    with pytest.raises(Mistake, match=OTHERS[kind][family]) as caught:
        load_language_model(folder, kind)
    assert str(caught.value).startswith(f"{folder} holds ")
    assert wanted[kind] in str(caught.value)
    if family != "bert" or kind != "CAUSAL_LM":  # only its weights show what an encoder's tokens see
        with pytest.raises(Mistake, match=OTHERS[kind][family]):
            outline_language_model(folder, kind)


def test_incomplete_weights_are_refused(tmp_path: Path) -> None:
    folder = save(language_model("bert").bert, tmp_path / "model")  # without the head that predicts tokens
    with pytest.raises(
        Mistake, match=r"the weights in .*model are not those of a decoder .*: they lack cls\."
    ):
        load_language_model(folder, "CAUSAL_LM")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for load in (load_language_model, outline_language_model):
        with pytest.raises(Mistake, match="holds no"):
            load(tmp_path, "CAUSAL_LM")
    save(language_model("llama"), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Mistake, match="holds no model for CAUSAL_LM"):
        load_language_model(tmp_path, "CAUSAL_LM")


@pytest.mark.parametrize("family", [*DECODERS, "opt", "bloom"])
def test_the_tokens_of_a_decoder_do_not_see_later_ones(family: str) -> None:
    assert not sees_later_tokens(language_model(family))


def test_the_tokens_of_an_encoder_see_later_ones_even_if_the_logits_are_small() -> None:
    model = language_model("bert")
    assert sees_later_tokens(model)
    head = torch.nn.Linear(32, model.config.vocab_size)
    with torch.no_grad():
        head.weight.mul_(1e-6)
        head.bias.zero_()
    model.set_output_embeddings(head)
    assert sees_later_tokens(model)
    assert not model.training


def test_asking_a_model_leaves_its_mode_as_it_is() -> None:
    model = language_model("gpt2").train()
    assert not sees_later_tokens(model)
    assert keeps_examples_apart(model)
    assert model.training


@pytest.mark.parametrize(
    ("family", "apart"), [*((family, True) for family in DECODERS), ("opt", False), ("bloom", False)]
)
def test_which_decoders_keep_packed_examples_apart(family: str, apart: bool) -> None:
    assert keeps_examples_apart(language_model(family)) is apart


def test_a_decoder_that_counts_positions_from_the_padding_on_is_named(tmp_path: Path) -> None:
    from transformers import BartForCausalLM

    config = language_model("bart").config
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(BartForCausalLM(config), tmp_path)
    (remark,) = load_language_model(tmp_path, "CAUSAL_LM").remarks
    assert remark.startswith("a text's logits depend on the padding before it in a BartForCausalLM")


@pytest.mark.parametrize("family", [*DECODERS, "opt", "bloom"])
def test_generation_takes_the_most_likely_token_and_a_batch_does_not_matter(family: str) -> None:
    model = prone_to_end(language_model(family))
    expected = [argmax_of(model, text, 12) for text in PROMPTS]
    written = shown(generate(model, prompt_of(*PROMPTS), characters(), 12))
    assert written == expected
    assert len(set(map(len, expected))) > 1 or family == "bloom"  # some texts end before others
    assert len(set(map(tuple, expected))) > 1


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_generates_for_a_batch_what_it_does_for_each_alone(family: str) -> None:
    model, tokenizer = language_model(family, **FAR_APART[family]), characters()
    written = shown(generate(model, prompt_of(*PROMPTS, side="right"), tokenizer, 6))
    assert len(set(map(tuple, written))) > 1
    for text, tokens in zip(PROMPTS, written, strict=True):
        assert shown(generate(model, prompt_of(text, side="right"), tokenizer, 6)) == [tokens]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_no_text_is_longer_than_the_models_positions(family: str) -> None:
    model, tokenizer = prone_to_end(language_model(family), bias=-1e4), characters()
    texts = ["a" * (POSITIONS - 2), "b", "c" * (POSITIONS - 2), "d" * POSITIONS, "e" * (POSITIONS - 10)]
    written = generate(model, prompt_of(*texts), tokenizer, 20)
    assert [len(row) for row in shown(written)] == [2, 20, 2, 1, 10]
    for text, tokens in zip(texts, shown(written), strict=True):
        assert tokens == argmax_of(model, text, len(tokens))


def test_no_target_is_longer_than_the_positions_of_a_decoder_behind_an_encoder() -> None:
    model, tokenizer = language_model("bart", max_position_embeddings=8), characters()
    model.generation_config.eos_token_id = tokenizer.eos_token_id = None
    assert generate(model, prompt_of("abc", side="right"), tokenizer, 20).shape == (1, 8)


def test_the_models_own_settings_of_generation_do_not_matter() -> None:
    model = language_model("llama")
    expected = argmax_of(model, "d", 8)
    assert len(set(expected)) < len(expected)
    settings = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "suppress_tokens": expected[:1]}
    own = {**settings, "do_sample": True, "temperature": 9.0, "num_beams": 3, "min_length": 60, "top_k": 3}
    for name, value in own.items():
        setattr(model.generation_config, name, value)
    model.config.use_cache = False  # as in training
    assert shown(generate(model, prompt_of("d"), characters(), 8)) == [expected]


def test_a_text_stops_at_every_end_that_tokenizer_or_model_know() -> None:
    model, tokenizer = language_model("llama"), characters()
    first, second = argmax_of(model, "q", 2)
    for ends, of_tokenizer in (([END, second], "</s>"), (END, tokenizer.convert_ids_to_tokens(second))):
        model.generation_config.eos_token_id = ends
        tokenizer.eos_token = of_tokenizer
        expected = [first] if first == second else [first, second]
        assert shown(generate(model, prompt_of("q"), tokenizer, 8)) == [expected]


def test_the_arguments_of_a_model() -> None:
    assert takes(language_model("llama"), "logits_to_keep")
    assert not takes(language_model("bloom"), "position_ids")
