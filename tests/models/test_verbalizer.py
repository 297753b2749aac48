"""Label words: a decoder's own logits for them, and only for them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from lowland.ground.mistakes import Mistake
from lowland.models import verbalizer
from lowland.models.verbalizer import answer_with_words, label_words
from tests.language_models import SHAPES, VOCABULARY, characters, long_decoder


def letter(character: str) -> int:
    return VOCABULARY[character]


def test_words_are_told_apart_by_the_first_token_that_differs() -> None:
    words = label_words(["bad", "good"], "Label:", characters())
    assert words.shared == (letter(" "),)
    assert words.tokens == (letter("b"), letter("g"))
    assert label_words(["unfair", "unkind"], "Label:", characters()).tokens == (
        letter("f"),
        letter("k"),
    )
    assert label_words(["a", "b"], "Label:\n", characters()).shared == ()  # no space behind a line break


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["bad", "bed", "good"], "the labels bad and bed begin with the same token"),
        (["good", "goods"], "the label 'good' is the beginning of another one"),
    ],
)
def test_words_that_cannot_be_told_apart_are_a_mistake(names: list[str], sentence: str) -> None:
    with pytest.raises(Mistake, match=sentence):
        label_words(names, "Label:", characters())


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_and_loss_are_those_of_the_language_model(shape: str) -> None:
    tokens = torch.randint(4, 90, (3, 9), generator=torch.Generator().manual_seed(0))
    chosen, labels = [7, 20, 33], torch.tensor([2, 0, 1])
    plain = long_decoder(shape)(input_ids=tokens).logits[:, -1, chosen]
    answer = answer_with_words(long_decoder(shape), chosen)(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=labels
    )
    torch.testing.assert_close(answer.logits, plain)
    torch.testing.assert_close(answer.loss, cross_entropy(plain, labels))


def test_the_models_class_keeps_its_name_and_its_parameters() -> None:
    model = long_decoder("llama")
    names = [name for name, _ in model.named_parameters()]
    changed = answer_with_words(model, [7, 20])
    assert changed is model
    assert type(changed).__name__ == "LlamaForCausalLM"
    assert [name for name, _ in changed.named_parameters()] == names


def test_a_decoder_that_computes_all_logits_answers_from_the_last_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some architectures have no `logits_to_keep`."""
    tokens = torch.randint(4, 90, (2, 6), generator=torch.Generator().manual_seed(1))
    plain = long_decoder("llama")(input_ids=tokens).logits[:, -1, [7, 20]]
    monkeypatch.setattr(verbalizer, "takes", lambda model, argument: False)
    torch.testing.assert_close(
        answer_with_words(long_decoder("llama"), [7, 20])(input_ids=tokens).logits, plain
    )
