"""Tests of the loss of each row: its mean is what transformers computes for the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertForQuestionAnswering, BertForSequenceClassification, GPT2LMHeadModel

from lowland.measure.losses import IGNORED, row_losses
from tests.conftest import bert_config
from tests.language_models import language_model


def test_loss_of_classes_is_that_of_transformers(
    bert: BertForSequenceClassification, tokens: torch.Tensor
) -> None:
    batch = {"input_ids": tokens, "labels": torch.tensor([2, 0, 1])}
    outputs = bert(**batch)
    rows = row_losses(outputs, batch, shifted=False)
    assert rows.shape == (3,)
    torch.testing.assert_close(rows.mean(), outputs.loss)
    alone = bert(input_ids=tokens[1:2], labels=torch.tensor([0])).loss
    torch.testing.assert_close(rows[1], alone)


def test_loss_of_places_is_that_of_transformers(tokens: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = BertForQuestionAnswering(bert_config()).eval()
    batch = {
        "input_ids": tokens,
        "start_positions": torch.tensor([0, 3, 2]),
        "end_positions": torch.tensor([1, 3, 6]),
    }
    outputs = model(**batch)
    torch.testing.assert_close(row_losses(outputs, batch, shifted=False).mean(), outputs.loss)


def test_loss_of_next_tokens_is_that_of_each_row_alone(gpt2: GPT2LMHeadModel, tokens: torch.Tensor) -> None:
    labels = tokens.clone()
    labels[0, :3] = labels[1, :5] = IGNORED
    batch = {"input_ids": tokens, "labels": labels}
    rows = row_losses(gpt2(**batch), batch, shifted=True)
    for row in range(len(tokens)):
        alone = gpt2(input_ids=tokens[row : row + 1], labels=labels[row : row + 1]).loss
        torch.testing.assert_close(rows[row], alone)


@pytest.mark.parametrize("family", ["t5"])
def test_loss_of_an_encoder_decoder_is_not_shifted(family: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    model = language_model(family).eval()
    labels = tokens.clone()
    labels[2, 4:] = IGNORED
    batch = {"input_ids": tokens, "labels": labels}
    rows = row_losses(model(**batch), batch, shifted=False)
    alone = model(input_ids=tokens[2:], labels=labels[2:]).loss
    torch.testing.assert_close(rows[2], alone)
