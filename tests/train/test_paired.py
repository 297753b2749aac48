"""The loss of a batch: its part of the mean over all targets of an optimizer step, in one process or in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from transformers import TrainingArguments

from lowland.tasks.examples import Encoded
from lowland.train.paired import EncodedSplit, EpochSampler, PairedTrainer
from tests.language_models import language_model

TARGETS = (1, 5, 2)
"""Number of targets of each batch: unequal, so that a mean of means is another number."""


def batch_of(targets: int) -> dict[str, torch.Tensor]:
    """A row of 8 tokens, of which the last ones are targets."""
    tokens = torch.randint(4, 90, (1, 8), generator=torch.Generator().manual_seed(targets))
    labels = tokens.clone()
    labels[:, : 8 - targets] = -100
    return {"input_ids": tokens, "labels": labels}


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    rows = {"input_ids": [[4, 5]], "labels": [[4, 5]]}
    return PairedTrainer(
        language_model("llama"),
        TrainingArguments(str(tmp_path), report_to="none", use_cpu=True),
        train_dataset=EncodedSplit(Encoded(rows, np.arange(1))),
        order_seed=0,
        infer=lambda model, batch: (None, {}),
        parameter_groups=lambda model: None,
    )


def mean_over_targets(model: Any) -> torch.Tensor:
    """Oracle: cross entropy over the targets of all batches."""
    logits, targets = [], []
    for number in TARGETS:
        batch = batch_of(number)
        logits.append(model(input_ids=batch["input_ids"]).logits[0, :-1])
        targets.append(batch["labels"][0, 1:])
    return cross_entropy(torch.cat(logits), torch.cat(targets), ignore_index=-100)


def losses(trainer: Any) -> torch.Tensor:
    total = torch.tensor(sum(TARGETS))
    return torch.stack(
        [
            trainer.compute_loss(trainer.model, batch_of(number), num_items_in_batch=total)
            for number in TARGETS
        ]
    )


def test_losses_of_accumulated_batches_add_up_to_the_mean_over_all_targets(trainer: Any) -> None:
    torch.testing.assert_close(losses(trainer).sum(), mean_over_targets(trainer.model))


def test_the_mean_of_losses_over_processes_is_the_mean_over_all_targets(
    trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is one process's; torch averages the gradients, and so the losses, over processes."""
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: len(TARGETS)))
    torch.testing.assert_close(losses(trainer).mean(), mean_over_targets(trainer.model))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    lengths = [1, 2, 3, 4] * 10

    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(8, lengths, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert all(sorted(indices) == list(range(40)) for indices in orders)
    assert len({tuple(indices) for indices in orders}) == 4
    assert order(1, 1) == orders[1]
