"""Passes over the batches of a sample: the loss of each row, and the gradient of the mean loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.measure.space import Point, Space
from lowland.tasks.examples import Batch


@torch.no_grad()
def losses_at(space: Space, point: Point, batches: Sequence[Batch]) -> Tensor:
    """Return the loss (rows,) of each row of all batches at a point, in float64."""
    return torch.cat([space.losses(point, batch) for batch in batches]).double()


def losses_and_gradient(space: Space, point: Point, batches: Sequence[Batch]) -> tuple[Tensor, Point]:
    """Return the losses (rows,) at a point and the gradient of their mean, one batch at a time."""
    leaves = {name: weight.detach().requires_grad_() for name, weight in point.items()}
    gradient = {name: torch.zeros_like(weight) for name, weight in point.items()}
    rows = []
    for batch in batches:
        losses = space.losses(leaves, batch)
        slopes = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        for name, slope in zip(gradient, slopes, strict=True):
            if slope is not None:
                gradient[name] += slope
        rows.append(losses.detach())
    count = sum(map(len, rows))
    return torch.cat(rows).double(), {name: total.div_(count) for name, total in gradient.items()}
