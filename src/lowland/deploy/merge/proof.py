"""Comparison of a merged model with the unmerged one: differences of the logits, and errors of the merged weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lowland.deploy.batches import batches
from lowland.deploy.find import CAUSAL_LM, QUESTION_ANS, SEQ_2_SEQ_LM, Base
from lowland.lora import lora_layers, scaled_lora
from lowland.lora.bases import weight_of
from lowland.tasks.examples import Batch
from lowland.tasks.readers.originals import read_embedded

LANGUAGE_MODELS = (CAUSAL_LM, SEQ_2_SEQ_LM)
TEXT = "text"
"""The input column of a language model."""


@dataclass(frozen=True)
class LogitDifference:
    """Distance between the logits of two models, over all texts.

    Attributes:
        largest: the largest absolute difference of a logit.
        mean: the mean absolute difference, over all logits.
        changed: number of predictions that differ (a text's label; for a language model, a token's successor; for
            question answering, the place of a start or an end).
        predictions: number of predictions.
        largest_logit: the largest absolute logit of the first model.
    """

    largest: float
    mean: float
    changed: int
    predictions: int
    largest_logit: float


def noun_of(base: Base) -> str:
    """Return what a base model reads, for sentences: "text" or "image"."""
    return "text" if base.task is None else base.task.reads


def sample_inputs(base: Base) -> tuple[Mapping[str, Sequence[Any]], str]:
    """Return inputs to try a model on where there are no others, and where they come from."""
    if base.task is not None and (samples := base.task.sample_inputs()) is not None:
        return samples
    table, origin = read_embedded("financial_demo.csv")
    names = (TEXT,) if base.task is None else base.task.input_columns
    return dict.fromkeys(names, tuple(table["text"])), origin


def input_batches(
    base: Base, columns: Mapping[str, Sequence[Any]], max_length: int, size: int = 8, model: Any = None
) -> Iterator[Batch]:
    """Yield inputs as padded batches for a model: those of the base's task, or texts for a language model."""
    if base.task is not None:
        setup = base.setup(max_length)
        yield from batches(base.task, base.task.encode(columns, setup, "predict"), setup, size, model)
        return
    texts = columns[TEXT]
    for start in range(0, len(texts), size):
        yield base.tokenizer(
            list(texts[start : start + size]),
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )


def logits_of(model: Any, batch: Batch, kind: str) -> Tensor:
    """Return the logits of a task's model (texts, labels), or of a language model (tokens, vocabulary) without padding.

    A decoder that classifies by label words has logits (texts, labels), too. Those of a model that marks answers are
    (2 texts, tokens): of all starts, then of all ends. An encoder-decoder gets the text that it reads as its labels.
    `kind` is PEFT's task type.
    """
    if kind == QUESTION_ANS:
        answer = model(**batch)
        return torch.cat([answer.start_logits, answer.end_logits])
    if kind not in LANGUAGE_MODELS:
        logits: Tensor = model(**batch).logits
        return logits
    inputs = {**batch, "labels": batch["input_ids"]} if kind == SEQ_2_SEQ_LM else batch
    of_tokens: Tensor = model(**inputs).logits
    return of_tokens if of_tokens.ndim == 2 else of_tokens[batch["attention_mask"].bool()]


@torch.no_grad()
def logit_difference(first: Any, second: Any, inputs: Iterable[Batch], kind: str) -> LogitDifference:
    """Compare the logits of two models, batch by batch. A NaN logit makes the maximum NaN, too."""
    largest, total, logits, changed, predictions, size = [], 0.0, 0, 0, 0, 0.0
    for batch in inputs:
        ours, theirs = (logits_of(model, batch, kind).float() for model in (first, second))
        gap = (ours - theirs).abs()
        largest.append(gap.max())
        total += float(gap.sum(dtype=torch.float64))
        logits += gap.numel()
        changed += int((ours.argmax(-1) != theirs.argmax(-1)).sum())
        predictions += len(ours)
        size = max(size, float(ours.abs().max()))
    return LogitDifference(float(torch.stack(largest).max()), total / logits, changed, predictions, size)


def without_branches(adapted: nn.Module) -> Callable[..., Any]:
    """Return a function that runs the model with all adapter scales set to 0.

    Modules in `modules_to_save` keep their trained weights.
    """

    def answer(**batch: Tensor) -> Any:
        with scaled_lora(adapted, 0.0):
            return adapted(**batch)

    return answer


@dataclass(frozen=True)
class LayerError:
    """Distance of a merged weight W' from W + s·BA (Frobenius norms, in float64).

    Attributes:
        of_weight: ‖W' - (W + s·BA)‖ / ‖W + s·BA‖.
        of_update: ‖W' - (W + s·BA)‖ / ‖s·BA‖: the share of the update that is lost; 0 if the update is 0.
    """

    of_weight: float
    of_update: float


@torch.no_grad()
def layer_errors(adapted: nn.Module, merged: nn.Module) -> dict[str, LayerError]:
    """Compute the error of each merged layer.

    Args:
        adapted: the model with unmerged adapters.
        merged: the same model with W' in plain layers.
    """
    errors = {}
    for name, layer in lora_layers(adapted):
        update = layer.delta(torch.float64)
        wanted = layer.weight.double() + update
        error = (weight_of(merged.get_submodule(name)) - wanted).norm()
        learned = update.norm()
        errors[name] = LayerError(float(error / wanted.norm()), float(error / learned) if learned else 0.0)
    return errors


def fingerprints(parameters: Mapping[str, Tensor]) -> dict[str, str]:
    """Compute SHA-256 of each tensor's bytes: equal hashes mean equal bits."""
    return {name: _hash(tensor.detach()) for name, tensor in parameters.items()}


def _hash(tensor: Tensor) -> str:
    if is_traceable_wrapper_subclass(tensor):  # torchao's tensors consist of values and scales
        raw = "".join(_hash(getattr(tensor, part)) for part in tensor.__tensor_flatten__()[0]).encode()
        return hashlib.sha256(raw).hexdigest()
    plain = tensor.cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).hexdigest()
