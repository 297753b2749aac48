"""Hugging Face Trainer with a seeded data order, so that runs with the same seed can be paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from lowland.tasks.truncation import Truncation
from lowland.train.adapted import ParameterGroups


class EncodedSplit(Dataset[dict[str, Any]]):
    """A split as token ids with targets; the collator pads, batch by batch.

    Args:
        inputs: `input_ids`, `attention_mask` and the like, each a list for each example.
        targets: targets, one for each example.
        truncation: how many examples are longer than the model reads.
    """

    def __init__(
        self, inputs: Mapping[str, Sequence[list[int]]], targets: Sequence[Any], truncation: Truncation
    ) -> None:
        self.inputs, self.targets, self.truncation = inputs, targets, truncation

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            **{name: values[index] for name, values in self.inputs.items()},
            "labels": self.targets[index],
        }

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each example."""
        return [len(ids) for ids in self.inputs["input_ids"]]


class PairedTrainer(Trainer):
    """Trainer with a seeded order of the data: the same seed gives the same batches to every method.

    Args:
        *args: arguments of `Trainer`.
        order_seed: seed of the order of the data.
        parameter_groups: function that returns AdamW's parameter groups for a model, or None for the Trainer's own.
        **kwargs: keyword arguments of `Trainer`.
    """

    def __init__(
        self,
        *args: Any,
        order_seed: int,
        parameter_groups: Callable[[Any], ParameterGroups | None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.order = torch.Generator().manual_seed(order_seed)
        self.parameter_groups = parameter_groups

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create AdamW on the method's parameter groups."""
        if self.optimizer is None and (
            groups := self.parameter_groups(self.model if model is None else model)
        ):
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = optimizer_class(groups, **options)
        return super().create_optimizer(model)

    def outputs(self, encoded: EncodedSplit) -> npt.NDArray[np.float64]:
        """Return the model's outputs for a split, in its order; no score is computed."""
        metrics, self.compute_metrics = self.compute_metrics, None
        try:
            return np.asarray(self.predict(encoded).predictions, dtype=np.float64)
        finally:
            self.compute_metrics = metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, EncodedSplit)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(batch, lengths=self.train_dataset.lengths, generator=self.order)
