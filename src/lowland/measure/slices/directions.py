"""Lines and planes in the space of weights: between places, through three places, and along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.measure.space import Point, Space

PointAt = Callable[[float, float], Point]
"""Function from the coordinates of a slice to the weights there."""
COLLINEAR = 1e-4
"""Share of its length that the third place must stand off the line through the other two."""


def line_between(start: Point, end: Point) -> PointAt:
    """Return the line (1 - x) · start + x · end; at 0 and at 1 the weights are those of the ends, to the bit."""
    return lambda x, _: {name: torch.lerp(weight, end[name], x) for name, weight in start.items()}


@dataclass(frozen=True)
class Plane:
    """Plane through three places, with an origin and two directions of length 1 at right angles.

    With places w1, w2 and w3, the origin is w1, u points along w2 - w1, and v along the part of w3 - w1 that is at
    right angles to u, as in the figures of Garipov et al., 2018 (arXiv 1802.10026). Coordinates are Euclidean
    distances.

    Attributes:
        origin: w1.
        u: first direction.
        v: second direction.
        places: coordinates of w1, w2 and w3.
    """

    origin: Point
    u: Point
    v: Point
    places: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    def point(self, x: float, y: float) -> Point:
        """Return origin + x · u + y · v."""
        return {name: weight + x * self.u[name] + y * self.v[name] for name, weight in self.origin.items()}


def plane_through(first: Point, second: Point, third: Point) -> Plane:
    """Return the plane through three places.

    Raises:
        Mistake: if they lie on one line.
    """
    across, up = ({name: place[name] - weight for name, weight in first.items()} for place in (second, third))
    width, length = _dot(across, across) ** 0.5, _dot(up, up) ** 0.5
    u = {name: values / max(width, torch.finfo(torch.float32).tiny) for name, values in across.items()}
    along = _dot(up, u)
    off = {name: values - along * u[name] for name, values in up.items()}
    height = _dot(off, off) ** 0.5
    if not width or height <= COLLINEAR * length:
        raise Mistake("the three places lie on one line, so there is no plane through them; give others")
    v = {name: values / height for name, values in off.items()}
    return Plane(first, u, v, ((0.0, 0.0), (width, 0.0), (along, height)))


def _dot(first: Point, second: Point) -> float:
    return sum(float((first[name].double() * second[name].double()).sum()) for name in first)


def around(space: Space, seed: int) -> PointAt:
    """Return the plane along two random directions whose rows have the norms of the weights' rows.

    Each row of a direction has the norm of the same row of the weight (filter normalisation; Li et al., 2018, arXiv
    1712.09913, section 4), so 1 is a change as large as the weight itself.

    Args:
        space: space of the weights; its center is at (0, 0).
        seed: seed of the directions.
    """
    first, second = (_random_direction(space, number, seed) for number in (1, 2))
    return lambda x, y: {
        name: weight + x * first[name] + y * second[name] for name, weight in space.center.items()
    }


def _random_direction(space: Space, number: int, seed: int) -> Point:
    direction = {}
    for name, weight in space.center.items():
        generator = torch.Generator().manual_seed(stream_seed(seed, "slices", number, name))
        numbers = torch.randn(weight.shape, generator=generator).to(weight)
        dim = 0 if name in space.transposed else 1
        direction[name] = numbers * (_norms(weight, dim) / _norms(numbers, dim))
    return direction


def _norms(weight: Tensor, dim: int) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(weight, dim=dim, keepdim=True)
    return norms


def evenly(low: float, high: float, count: int) -> Sequence[float]:
    """Return numbers from low to high at equal distances, with both ends."""
    return [low + (high - low) * number / (count - 1) for number in range(count - 1)] + [high]
