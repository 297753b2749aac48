"""Pooled states and losses of texts equal those of a plain loop, one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lowland.deploy.forgetting import states
from lowland.deploy.forgetting.states import Frozen, pooled_states, token_losses
from lowland.ground.mistakes import Mistake
from lowland.models.load import load_tokenizer
from lowland.models.verbalizer import answer_with_words
from tests.language_models import characters, language_model

TEXTS = ("a cat", "two dogs and a bird", "it", "rain in the morning, sun at noon")


def nothing(count: int) -> None:
    """Take a step of a bar that is not there."""


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "opt", "bloom"])
def test_losses_are_those_of_a_plain_loop(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = language_model(family), characters(around="<s> $A")
    expected = []
    for text in TEXTS:
        ids = torch.tensor(tokenizer(text)["input_ids"])
        with torch.no_grad():
            logits = model(input_ids=ids.unsqueeze(0)).logits[0]
        expected.append((float(cross_entropy(logits[:-1], ids[1:], reduction="sum")), len(ids) - 1))
    done: list[int] = []
    for size in (2**26, 1):
        monkeypatch.setattr(states, "LARGEST", size)
        sums, counts = token_losses(Frozen(model, tokenizer, 64), TEXTS, done.append)
        np.testing.assert_allclose(sums, [total for total, _ in expected], rtol=1e-5)
        assert counts.tolist() == [count for _, count in expected]
    assert done == [4, 1, 1, 1, 1]


def test_a_decoder_that_answers_with_words_has_the_losses_of_the_decoder() -> None:
    tokenizer = characters()
    plain = token_losses(Frozen(language_model("llama"), tokenizer, 64), TEXTS, nothing)
    wrapped = answer_with_words(language_model("llama"), (5, 6))
    np.testing.assert_array_equal(token_losses(Frozen(wrapped, tokenizer, 64), TEXTS, nothing)[0], plain[0])


def test_long_texts_are_cut_and_counted() -> None:
    frozen = Frozen(language_model("gpt2"), characters(), 8)
    _, counts = token_losses(frozen, TEXTS, nothing)
    assert counts.tolist() == [4, 7, 1, 7]
    assert frozen.truncation(TEXTS).cut == 2


def test_a_text_of_one_token_is_refused() -> None:
    frozen = Frozen(language_model("gpt2"), characters(), 64)
    with pytest.raises(Mistake, match="1 text of the file has one token, so that nothing is predicted"):
        token_losses(frozen, ["ab", "c"], nothing)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_states_are_the_means_of_a_plain_loop(family: str) -> None:
    model, tokenizer = language_model(family), characters()
    pooled = pooled_states(Frozen(model, tokenizer, 64), TEXTS, nothing)
    backbone = model.get_encoder() if family == "t5" else model.base_model
    for text, mean in zip(TEXTS, pooled, strict=True):
        with torch.no_grad():
            alone = backbone(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(mean, alone.double().mean(0).numpy(), atol=1e-5)


def test_padding_does_not_count_in_an_encoder(tiny_model: Path) -> None:
    from transformers import AutoModel

    model, tokenizer = AutoModel.from_pretrained(tiny_model).eval(), load_tokenizer(tiny_model)
    texts = ("the firm gains", "a bank loses again again again", "wins")
    together = pooled_states(Frozen(model, tokenizer, 40), texts, nothing)
    for text, mean in zip(texts, together, strict=True):
        alone = pooled_states(Frozen(model, tokenizer, 40), [text], nothing)
        np.testing.assert_allclose(mean, alone[0], atol=1e-6)
