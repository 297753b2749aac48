"""Tiny models in float64 with a few of their weights as a space, so that dense matrices are quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, hessian, jacrev
from transformers import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from lowland.measure.losses import IGNORED
from lowland.measure.space import FULL, Space
from lowland.measure.spectrum.products import split_vector
from lowland.tasks.examples import Batch
from tests.conftest import bert_config


def classes() -> tuple[Space, list[Batch]]:
    """An encoder with three classes, and two batches of different sizes with padding."""
    model = _model(BertForSequenceClassification, bert_config(num_labels=3))
    names = ("bert.encoder.layer.0.attention.self.query.weight", "bert.pooler.dense.weight")
    batches = []
    for rows, seed in ((3, 1), (2, 2)):
        mask = torch.ones(rows, 7, dtype=torch.long)
        mask[0, 5:] = 0
        labels = torch.arange(rows) % 3
        batches.append({"input_ids": _tokens(rows, seed), "attention_mask": mask, "labels": labels})
    return _space(model, names, shifted=True), batches


def places() -> tuple[Space, list[Batch]]:
    """An encoder that marks the start and the end of an answer."""
    model = _model(BertForQuestionAnswering, bert_config())
    starts, ends = torch.tensor([0, 3, 2]), torch.tensor([1, 3, 6])
    batch = {"input_ids": _tokens(3, 1), "start_positions": starts, "end_positions": ends}
    return _space(model, ("bert.encoder.layer.1.attention.self.value.weight",), shifted=True), [batch]


def next_tokens() -> tuple[Space, list[Batch]]:
    """A decoder, with targets that do not count."""
    config = GPT2Config(vocab_size=24, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = _model(GPT2LMHeadModel, config)
    tokens = _tokens(2, 1) % 24
    labels = tokens.clone()
    labels[0, :4] = IGNORED
    return _space(model, ("transformer.h.0.attn.c_attn.weight",), shifted=True), [
        {"input_ids": tokens, "labels": labels}
    ]


SPACES: dict[str, Callable[[], tuple[Space, list[Batch]]]] = {
    "classes": classes,
    "places": places,
    "next_tokens": next_tokens,
}


def mean_loss(space: Space, batches: list[Batch]) -> Callable[[Tensor], Tensor]:
    """The mean loss over all rows as a function of the vector of weights."""

    def loss(vector: Tensor) -> Tensor:
        point = split_vector(space, vector)
        return torch.cat([space.losses(point, batch) for batch in batches]).mean()

    return loss


def center(space: Space) -> Tensor:
    return torch.cat([weight.flatten() for weight in space.center.values()])


def dense_hessian(space: Space, batches: list[Batch]) -> Tensor:
    return hessian(mean_loss(space, batches))(center(space))


def dense_gauss_newton(
    space: Space,
    batches: list[Batch],
    logits_of: Callable[[Any], Tensor],
    loss_of: Callable[[Tensor, Batch], Tensor],
) -> Tensor:
    """Jᵀ·H_z·J over the rows, by definition; `loss_of` is the sum of the rows' losses, written anew."""
    total, rows = torch.zeros(()), 0
    for batch in batches:

        def outputs(vector: Tensor, batch: Batch = batch) -> Tensor:
            weights = split_vector(space, vector)
            return logits_of(functional_call(space.model, weights, kwargs=dict(batch))).flatten()

        z = outputs(center(space)).detach()
        jacobian = jacrev(outputs)(center(space))  # (logits, weights)
        curvature = hessian(lambda logits, batch=batch: loss_of(logits, batch))(z)  # (logits, logits)
        total = total + jacobian.T @ curvature @ jacobian
        rows += len(batch["input_ids"])
    return total / rows


def _model(kind: Any, config: Any) -> Any:
    config._attn_implementation = "eager"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config).eval().double()
        for parameter in model.parameters():
            parameter.data.mul_(4)  # so that the model is not close to linear
    return model.requires_grad_(False)


def _tokens(rows: int, seed: int) -> Tensor:
    return torch.randint(5, 60, (rows, 7), generator=torch.Generator().manual_seed(seed))


def _space(model: Any, names: tuple[str, ...], *, shifted: bool) -> Space:
    weights = dict(model.named_parameters())
    return Space(FULL, model, {name: weights[name].detach() for name in names}, frozenset(), {}, shifted)
