"""Hugging Face's Trainer, such that runs can be compared in pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from lowland.tasks.classification import Split


class Encoded(Dataset[dict[str, Any]]):
    """A split as token ids; padding is left to the collator, batch by batch."""

    def __init__(self, split: Split, tokenizer: Any, max_length: int) -> None:
        self.tokens = tokenizer(list(split.texts), truncation=True, max_length=max_length)
        self.labels = split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        one = {name: values[index] for name, values in self.tokens.items()}
        return {**one, "labels": int(self.labels[index])}

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.tokens["input_ids"]]


class PairedTrainer(Trainer):
    """A Trainer whose order of the data is a named stream: the same seed gives the same batches to every method.

    `groups` gives AdamW's parameter groups for a model, or None for the Trainer's own.
    """

    def __init__(
        self, *args: Any, order_seed: int, groups: Callable[[Any], list[dict[str, Any]] | None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.order = torch.Generator().manual_seed(order_seed)
        self.groups = groups

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW on the method's parameter groups."""
        if self.optimizer is None and (groups := self.groups(self.model if model is None else model)):
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(groups, **settings)
        return super().create_optimizer(model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, Encoded)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(batch, lengths=self.train_dataset.lengths, generator=self.order)
