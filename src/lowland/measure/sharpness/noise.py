"""Noise of expected sharpness: eps_ij ~ N(0, sigma² / n · ‖theta_i‖²) by rows, the noise that Flat-LoRA trains under.

The numbers are true normals and not from Flat-LoRA's bank (`lowland.flat.bank`). A run of Flat-LoRA was trained under
that bank, so noise from it could be milder for this run than for others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lowland.ground.rng import stream_seed
from lowland.measure.space import Point, Space


def noisy_point(space: Space, sigma: float, draw: int, seed: int) -> Point:
    """Return the center of a space plus noise.

    The normals depend on the seed, the space's name, the draw and the weight's name alone: all runs get the same ones,
    each scaled by its own rows' norms, and so do all sigmas.

    Args:
        space: the space.
        sigma: strength of the noise; a layer's output changes by about sigma times its size.
        draw: number of the draw.
        seed: seed of the normals.
    """
    return {
        name: weight
        + sigma * row_scale(weight, name in space.transposed) * normals(weight, space.name, draw, name, seed)
        for name, weight in space.center.items()
    }


def mirrored(space: Space, point: Point) -> Point:
    """Return the point on the other side of the center: that of the noise with the other sign."""
    return {name: 2 * weight - point[name] for name, weight in space.center.items()}


def row_scale(weight: Tensor, transposed: bool) -> Tensor:
    """Return ‖theta_i‖ / sqrt(n), in a shape that fits the weight.

    Args:
        weight: (rows, n); (n, rows) if it is transposed.
        transposed: whether the weight is stored with its rows as columns.
    """
    dim = 0 if transposed else 1
    norms: Tensor = torch.linalg.vector_norm(weight, dim=dim, keepdim=True)
    return norms / math.sqrt(weight.shape[dim])


def normals(weight: Tensor, space: str, draw: int, name: str, seed: int) -> Tensor:
    """Return standard normal numbers in the shape of a weight, from the stream of (seed, space, draw, name)."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "sharpness", space, draw, name))
    return torch.randn(weight.shape, generator=generator).to(weight)
