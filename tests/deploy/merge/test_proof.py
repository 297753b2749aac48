"""The distance between two models' answers: every answer counts, padding does not."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from lowland.deploy.find import CAUSAL_LM, SEQ_CLS
from lowland.deploy.merge.proof import logit_difference, logits_of, without_branches
from lowland.lora import LoRAConfig, add_lora, lora_layers


@pytest.fixture
def batch(tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Three texts of 7, 4 and 1 tokens."""
    mask = (torch.arange(7) < torch.tensor([[7], [4], [1]])).long()
    return {"input_ids": tokens, "attention_mask": mask}


def test_a_difference_is_that_of_all_logits(bert: nn.Module, batch: dict[str, torch.Tensor]) -> None:
    other = copy.deepcopy(bert)
    with torch.no_grad():
        other.classifier.bias += torch.tensor([0.5, 0.0, 100.0])
        first = bert(**batch).logits
    difference = logit_difference(bert, other, [batch, batch], SEQ_CLS)
    assert difference.largest == pytest.approx(100, rel=1e-5)
    assert difference.mean == pytest.approx(100.5 / 3, rel=1e-5)
    assert difference.largest_logit == pytest.approx(float(first.abs().max()))
    assert (difference.changed, difference.predictions) == (2 * int((first.argmax(-1) != 2).sum()), 6)


def test_a_language_models_padding_does_not_count(gpt2: nn.Module, batch: dict[str, torch.Tensor]) -> None:
    logits = logits_of(gpt2, batch, CAUSAL_LM)
    assert logits.shape == (12, 64)
    torch.testing.assert_close(logits[:7], gpt2(batch["input_ids"][:1]).logits[0])
    assert logit_difference(gpt2, gpt2, [batch], CAUSAL_LM).predictions == 12


@pytest.mark.parametrize("broken", [0, 1])
def test_an_answer_of_nan_is_not_passed_over(
    bert: nn.Module, batch: dict[str, torch.Tensor], broken: int
) -> None:
    def answers(**inputs: torch.Tensor) -> object:
        out = bert(**inputs)
        if inputs["input_ids"][0, 0] == 1:
            out.logits[0, 0] = math.nan
        return out

    bad = {**batch, "input_ids": batch["input_ids"].clone()}
    bad["input_ids"][0, 0] = 1
    order = [bad, batch] if broken == 0 else [batch, bad]
    assert math.isnan(logit_difference(bert, answers, order, SEQ_CLS).largest)


def test_without_branches_a_model_answers_as_its_base(
    bert: nn.Module, batch: dict[str, torch.Tensor]
) -> None:
    adapted = add_lora(copy.deepcopy(bert), LoRAConfig(r=2, targets=["query", "word_embeddings"])).eval()
    for _, layer in lora_layers(adapted):
        nn.init.normal_(layer.lora_A)
        nn.init.normal_(layer.lora_B)
    before = adapted(**batch).logits
    base = bert(**batch).logits
    torch.testing.assert_close(without_branches(adapted)(**batch).logits, base, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="input_ids"):
        without_branches(adapted)(nonsense=1)
    assert torch.equal(adapted(**batch).logits, before)
    assert not torch.allclose(before, base)
