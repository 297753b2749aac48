"""How far two models' answers lie apart, and a stored weight from what it should be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lowland.deploy.find import SEQ_2_SEQ_LM, SEQ_CLS
from lowland.lora import lora_layers
from lowland.lora.bases import weight_of

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Difference:
    """How far the logits of two models lie apart, over all texts.

    Attributes:
        largest: absolute difference of a logit.
        mean: absolute difference, over all logits.
        changed: of the predictions (a text's label; of a language model, a token's successor).
        predictions: how many there are.
        largest_logit: the largest absolute logit of the first model.
    """

    largest: float
    mean: float
    changed: int
    predictions: int
    largest_logit: float


def batches(texts: Sequence[str], tokenizer: Any, max_length: int, size: int = 8) -> Iterator[Batch]:
    """Texts as padded batches of token ids."""
    for start in range(0, len(texts), size):
        yield tokenizer(
            list(texts[start : start + size]),
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )


def logits_of(model: Any, batch: Batch, kind: str) -> Tensor:
    """A classifier's logits (texts, labels), or a language model's (tokens, vocabulary) at all tokens but padding.

    A model that reads and writes is asked to write the text that it reads.
    """
    if kind == SEQ_CLS:
        return model(**batch).logits
    asked = {**batch, "labels": batch["input_ids"]} if kind == SEQ_2_SEQ_LM else batch
    return model(**asked).logits[batch["attention_mask"].bool()]


@torch.no_grad()
def difference(first: Any, second: Any, texts: Iterable[Batch], kind: str) -> Difference:
    """Compare the logits of two models, batch by batch; a logit that is no number makes the largest none either."""
    largest, total, logits, changed, predictions, size = [], 0.0, 0, 0, 0, 0.0
    for batch in texts:
        one, other = (logits_of(model, batch, kind).float() for model in (first, second))
        gap = (one - other).abs()
        largest.append(gap.max())
        total += float(gap.sum(dtype=torch.float64))
        logits += gap.numel()
        changed += int((one.argmax(-1) != other.argmax(-1)).sum())
        predictions += len(one)
        size = max(size, float(one.abs().max()))
    return Difference(float(torch.stack(largest).max()), total / logits, changed, predictions, size)


def without_branches(adapted: nn.Module) -> Callable[..., Any]:
    """A model's answers with every s·BA left out: what a merge that forgets the adapter would answer."""

    def answer(**batch: Tensor) -> Any:
        layers = [layer for _, layer in lora_layers(adapted)]
        scales = [layer.scaling for layer in layers]
        try:
            for layer in layers:
                layer.scaling = 0.0
            return adapted(**batch)
        finally:
            for layer, scale in zip(layers, scales, strict=True):
                layer.scaling = scale

    return answer


@dataclass(frozen=True)
class LayerError:
    """How far a merged weight W' lies from W + s·BA (Frobenius norms, in float64).

    Attributes:
        of_weight: ‖W' - (W + s·BA)‖ / ‖W + s·BA‖.
        of_update: ‖W' - (W + s·BA)‖ / ‖s·BA‖: how much of what was learned is lost; 0 where nothing was.
    """

    of_weight: float
    of_update: float


@torch.no_grad()
def layer_errors(adapted: nn.Module, merged: nn.Module) -> dict[str, LayerError]:
    """The error of each merged layer.

    Args:
        adapted: with adapters beside W, not merged.
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
    """SHA-256 of each tensor's bytes: what is still the same is the same bit for bit."""
    return {name: _hash(one.detach()) for name, one in parameters.items()}


def _hash(tensor: Tensor) -> str:
    if is_traceable_wrapper_subclass(tensor):  # made of several tensors, as torchao's: values and scales
        raw = "".join(_hash(getattr(tensor, part)) for part in tensor.__tensor_flatten__()[0]).encode()
        return hashlib.sha256(raw).hexdigest()
    plain = tensor.cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).hexdigest()
