"""Spaces with a quadratic loss, whose sharpness is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lowland.measure.space import Point
from lowland.tasks.examples import Batch


@dataclass
class Quadratic:
    """Loss ½ (theta - minimum)ᵀ H (theta - minimum), times the number in each row of the batch."""

    center: dict[str, Tensor]
    hessian: Tensor
    minimum: Tensor
    transposed: frozenset[str] = frozenset()
    name: str = "full"
    points: list[dict[str, Tensor]] = field(default_factory=list)

    def losses(self, point: Point, batch: Batch) -> Tensor:
        self.points.append({name: weight.detach().clone() for name, weight in point.items()})
        off = torch.cat([point[name].flatten() for name in self.center]) - self.minimum
        return batch["factor"] * (off @ self.hessian @ off) / 2


def quadratic(seed: int = 0, transposed: bool = False) -> Quadratic:
    """Two weights, (3, 4) and (2, 3), in float64; a random positive definite H, and a minimum near the center."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (4, 3) if transposed else (3, 4), "b": (2, 3)}
    center = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }
    root = torch.randn(18, 18, generator=generator, dtype=torch.float64)
    flat = torch.cat([weight.flatten() for weight in center.values()])
    return Quadratic(
        center,
        root @ root.T / 18,
        flat - 0.05 * torch.randn(18, generator=generator, dtype=torch.float64),
        frozenset({"a"} if transposed else ()),
    )


def batch_of(*factors: float) -> Batch:
    return {"factor": torch.tensor(factors, dtype=torch.float64)}
