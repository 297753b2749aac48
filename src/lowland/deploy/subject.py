"""Model under test for `checkup.py`: base model and adapter, with the values that the checks compare with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.deploy.find import QUESTION_ANS, Base, find_adapted, find_base
from lowland.deploy.load import load_base, put_adapter
from lowland.deploy.merge.proof import fingerprints, input_batches, logits_of, sample_inputs
from lowland.deploy.settings import CheckSettings
from lowland.lora import LoRAConfig, add_lora, lora_layers
from lowland.lora.inject import config_of
from lowland.models.load import LoadedModel
from lowland.models.packages import DEFAULT_MODEL
from lowland.models.positions import token_limit
from lowland.tasks.examples import Batch

TEXTS, TOKENS = 8, 64
LEARNING_RATE = 1e-3


@dataclass
class ModelUnderTest:
    """Model that the checks run on, one after the other.

    Attributes:
        base: base model on this disk.
        adapter: folder of the user's trained adapter; None for a new one.
        model: base model with the adapter.
        linear: number of linear layers of the base model.
        batch: token ids of a few texts, or pixel values of a few images.
        targets: the targets of these inputs in training, by name.
        before: the base model's logits.
        frozen: SHA-256 of the base model's parameters, by name.
        scratch: folder to write into.
    """

    base: Base
    adapter: Path | None
    model: Any
    linear: int
    batch: Batch
    targets: Batch
    before: Tensor
    frozen: Mapping[str, str]
    scratch: Path

    @torch.no_grad()
    def logits(self, model: Any = None) -> Tensor:
        """Return the logits of the model, or of another one, for the batch."""
        return logits_of(self.model if model is None else model, self.batch, self.base.kind)

    def backward(self) -> float:
        """Return the loss on the batch, in evaluation mode; leave its gradients in the parameters."""
        self.model.zero_grad()
        loss: Tensor = self.model(**self.batch, **self.targets).loss
        loss.backward()
        return float(loss.detach())

    def trainable(self) -> list[nn.Parameter]:
        """Return the parameters that are trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def optimizer(self, lr: float) -> torch.optim.AdamW:
        """Return a new optimizer for the trained parameters."""
        return torch.optim.AdamW(self.trainable(), lr=lr)

    def frozen_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are neither an adapter's nor trained in full, by their names in the base model."""
        own = {id(part) for _, layer in lora_layers(self.model) for part in (layer.lora_A, layer.lora_B)}
        for name in config_of(self.model).modules_to_save:
            own |= {id(parameter) for parameter in self.model.get_submodule(name).parameters()}
        return {
            _base_name(name): parameter
            for name, parameter in self.model.named_parameters()
            if id(parameter) not in own
        }

    @contextmanager
    def restore_user_adapter(self) -> Iterator[None]:
        """Restore a user's adapter after the block.

        A new adapter keeps what it has learned, so that the merge checks have an update to merge.
        """
        before = [parameter.detach().clone() for parameter in self.trainable()] if self.adapter else []
        yield
        with torch.no_grad():
            for parameter, value in zip(self.trainable() if before else [], before, strict=True):
                parameter.copy_(value)
        self.model.zero_grad()


def load_model_under_test(settings: CheckSettings, scratch: Path) -> ModelUnderTest:
    """Load the model that the settings name, with a new adapter or with the user's trained one.

    Raises:
        Mistake: if the model or the adapter cannot be loaded, or the options do not fit the model.
    """
    adapted = find_adapted(settings.adapter, settings.model) if settings.adapter else None
    base = adapted.base if adapted else find_base(settings.model or DEFAULT_MODEL)
    loaded = load_base(base)
    plain = loaded.model
    batch = _batch(base, plain)
    subject = ModelUnderTest(
        base=base,
        adapter=adapted.folder if adapted else None,
        model=plain,
        linear=sum(isinstance(module, nn.Linear | Conv1D) for module in plain.modules()),
        batch=batch,
        targets=_targets(base, batch),
        before=torch.empty(0),
        frozen=fingerprints({_base_name(name): value for name, value in plain.named_parameters()}),
        scratch=scratch,
    )
    subject.before = subject.logits()
    if adapted:
        put_adapter(loaded, adapted)
    else:
        add_lora(plain, _lora_config(loaded, settings))
    return subject


def _lora_config(loaded: LoadedModel, settings: CheckSettings) -> LoRAConfig:
    return LoRAConfig(**settings.lora_options, modules_to_save=tuple(loaded.trained_whole))


def _batch(base: Base, model: Any) -> Batch:
    """Return a few embedded texts, or drawn images, as the model reads them."""
    columns, _ = sample_inputs(base)
    few = {name: list(inputs[:: len(inputs) // TEXTS][:TEXTS]) for name, inputs in columns.items()}
    length = token_limit(base.tokenizer, model.config, TOKENS)
    return next(input_batches(base, few, length, TEXTS, model))


def _targets(base: Base, batch: Batch) -> Batch:
    """Return targets by name: labels in turn, or places of answers; for a language model the tokens without padding."""
    if base.kind == QUESTION_ANS:
        return dict.fromkeys(("start_positions", "end_positions"), torch.arange(len(batch["input_ids"])))
    if base.task is not None and base.task.has_classes:
        return {"labels": torch.arange(TEXTS) % len(base.label_names)}
    return {"labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}


def _base_name(name: str) -> str:
    """Return the name that a parameter of an adapted layer has in the base model."""
    return name.replace(".base.", ".")  # on both sides of a comparison, so another "base" does no harm
