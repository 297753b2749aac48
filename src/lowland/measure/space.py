"""Spaces of weights in which a trained model is measured: the full merged weights, and the adapter's factors.

The model itself keeps its base weights. A point of a space is a mapping from names to tensors, and the loss is a pure
function of it (`torch.func.functional_call`), so nothing is written into the model and derivatives of any order can be
taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.func import functional_call

from lowland.measure.losses import row_losses
from lowland.tasks.examples import Batch

FULL, ADAPTER = "full", "adapter"
"""Names of the spaces."""
Point = Mapping[str, Tensor]
"""Weights by name: a place in a space, or a direction."""


@dataclass(frozen=True)
class Branch:
    """Place where factors of an adapter enter a layer: W' = W + s·BA.

    Attributes:
        a: name of A (r, in) in a point.
        b: name of B (out, r) in a point.
        scaling: s.
        transposed: whether the layer stores its weight as (in, out), as `Conv1D` and embeddings do.
    """

    a: str
    b: str
    scaling: float
    transposed: bool

    def delta(self, point: Point) -> Tensor:
        """Return s·BA at a point, in the shape in which the layer stores its weight."""
        product = self.scaling * (point[self.b] @ point[self.a])
        return product.T if self.transposed else product


@dataclass(frozen=True)
class Space:
    """A model's loss as a function of some of its weights.

    Attributes:
        name: "full" or "adapter".
        model: the model with its base weights, in evaluation mode; it is never changed.
        center: the trained weights of this space, by name.
        transposed: names of the weights in `center` that are stored as (in, out): their rows are columns.
        branches: for the adapter's space: where factors enter the model, by the name of the layer's weight.
        shifted: whether the logits of a token are about the next one.
    """

    name: str
    model: Any
    center: Point
    transposed: frozenset[str]
    branches: Mapping[str, Branch]
    shifted: bool

    @property
    def dimension(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.center.values())

    def weights(self, point: Point) -> dict[str, Tensor]:
        """Return the model's weights at a point, by name: W' = W + s·BA where factors enter."""
        if not self.branches:
            return dict(point)
        base = dict(self.model.named_parameters())
        return {name: base[name] + branch.delta(point) for name, branch in self.branches.items()}

    def losses(self, point: Point, batch: Batch) -> Tensor:
        """Return the loss (rows,) of each row of a batch at a point, in nats."""
        return row_losses(self.outputs(point, batch), batch, shifted=self.shifted)

    def outputs(self, point: Point, batch: Batch) -> Any:
        """Return the model's outputs for a batch at a point."""
        return functional_call(self.model, self.weights(point), kwargs=dict(batch))
