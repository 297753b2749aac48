"""Products of curvature matrices with a vector: the Hessian of a mean loss, and its generalised Gauss-Newton matrix.

No matrix is formed, and nothing is written into the model. The package `curvlinops` gives the same products (they agree
to six digits). It is not used: here it takes 1.3 times as long for the Hessian and 2.2 times for the Gauss-Newton
matrix, wants a model with one tensor of outputs, and needs torchvision, which changes how transformers reads images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from lowland.measure.losses import row_losses
from lowland.measure.space import Space
from lowland.tasks.examples import Batch

Product = Callable[[Space, Sequence[Batch], Tensor], Tensor]
"""Takes a space, the batches of a sample and a vector (weights,); returns the product (weights,)."""
Leaves = dict[str, Tensor]


def hessian_product(space: Space, batches: Sequence[Batch], vector: Tensor) -> Tensor:
    """Return H·v, with H the Hessian of the mean loss at the trained weights.

    H·v is the gradient of gᵀv, where g is the gradient (Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994).
    Both gradients are taken in reverse mode: it is as fast as forward over reverse here, and needs less memory.
    """

    def product_of(batch: Batch, direction: Leaves) -> Sequence[Tensor | None]:
        leaves = _leaves(space)
        loss = space.losses(leaves, batch).sum()
        slopes = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
        pairs = zip(slopes, direction.values(), strict=True)
        along = [(slope * step).sum() for slope, step in pairs if slope is not None and slope.requires_grad]
        return torch.autograd.grad(torch.stack(along).sum(), list(leaves.values()), allow_unused=True)

    return _mean(space, batches, vector, product_of)


def gauss_newton_product(space: Space, batches: Sequence[Batch], vector: Tensor) -> Tensor:
    """Return G·v, with G = mean over rows of Jᵀ·H_z·J: J is the logits' Jacobian, H_z the loss's Hessian in the logits.

    Every loss here is a cross-entropy, which is convex in the logits, so G has no negative eigenvalue.

    Source: N. N. Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", 2002.
    """

    def product_of(batch: Batch, direction: Leaves) -> Sequence[Tensor | None]:
        leaves = _leaves(space)
        with forward_ad.dual_level():
            moved = {name: forward_ad.make_dual(leaf, direction[name]) for name, leaf in leaves.items()}
            both = {
                name: forward_ad.unpack_dual(value)
                for name, value in _logits(space.outputs(moved, batch), batch).items()
            }
        logits = {name: pair.primal for name, pair in both.items()}
        slopes = {  # J·v
            name: torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent.detach()
            for name, pair in both.items()
        }
        curved = _in_logits(logits, slopes, batch, shifted=space.shifted)
        return torch.autograd.grad(list(logits.values()), list(leaves.values()), curved, allow_unused=True)

    return _mean(space, batches, vector, product_of)


PRODUCTS: Mapping[str, Product] = {"hessian": hessian_product, "gauss-newton": gauss_newton_product}
"""Functions that multiply a vector by a matrix, by the matrix's name."""


def split_vector(space: Space, vector: Tensor) -> Leaves:
    """Return the parts of a vector (weights,) by the names of a space's weights, in their shapes, as views."""
    parts = vector.split([weight.numel() for weight in space.center.values()])
    return {
        name: part.view(weight.shape)
        for (name, weight), part in zip(space.center.items(), parts, strict=True)
    }


def _mean(
    space: Space,
    batches: Sequence[Batch],
    vector: Tensor,
    product_of: Callable[[Batch, Leaves], Sequence[Tensor | None]],
) -> Tensor:
    """Return the mean over all rows of products that are sums over the rows of a batch."""
    direction = split_vector(space, vector)
    total = torch.zeros_like(vector)
    slots = split_vector(space, total).values()
    for batch in batches:
        for slot, part in zip(slots, product_of(batch, direction), strict=True):
            if part is not None:
                slot += part
    return total.div_(sum(len(next(iter(batch.values()))) for batch in batches))


def _leaves(space: Space) -> Leaves:
    return {name: weight.detach().requires_grad_() for name, weight in space.center.items()}


def _logits(outputs: Any, batch: Batch) -> Leaves:
    """Return the outputs that the loss depends on, by name."""
    names = ("start_logits", "end_logits") if "start_positions" in batch else ("logits",)
    return {name: outputs[name] for name in names}


def _in_logits(logits: Leaves, slopes: Leaves, batch: Batch, *, shifted: bool) -> Sequence[Tensor]:
    """Return H_z·(J·v): the product with the Hessian, in the logits, of the sum of the rows' losses."""
    leaves = {name: value.detach().requires_grad_() for name, value in logits.items()}
    loss = row_losses(SimpleNamespace(**leaves), batch, shifted=shifted).sum()
    first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    return torch.autograd.grad(first, list(leaves.values()), list(slopes.values()))
