"""Ascent within a ball around the trained weights: the rise of the loss in the worst direction that is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.measure.passes import losses_and_gradient, losses_at
from lowland.measure.space import Point, Space
from lowland.tasks.examples import Batch

STEP = 0.5
"""Length of every step but the first, as a share of the radius."""


@dataclass(frozen=True)
class Ball:
    """Perturbations delta = c ⊙ u of the weights, with ‖u‖_p <= radius.

    The plain ball is that of SAM (Foret et al., 2021, arXiv 2010.01412, section 2): c = 1 and p = 2. The adaptive one
    has c = |theta|, entry by entry, and p = infinity: each weight changes by at most the share `radius` of its size.
    It gives the adaptive worst-case sharpness of Andriushchenko et al., 2023 (arXiv 2302.07011), S_max(w, c) with
    c = |w|, which does not depend on how the weights of two layers are scaled against each other.

    Attributes:
        radius: radius, more than 0.
        adaptive: whether the ball is the adaptive one.
    """

    radius: float
    adaptive: bool

    @torch.no_grad()
    def climb(self, center: Point, point: Point, gradient: Point, length: float) -> None:
        """Move a point by a step of steepest ascent, and project it onto the ball; in place, to spare memory.

        Args:
            center: theta.
            point: a point in the ball; it is changed.
            gradient: gradient of the loss at the point.
            length: length of the step, as a share of the radius.
        """
        step = length * self.radius
        if self.adaptive:
            for name, weight in center.items():
                reach = self.radius * weight.abs()
                point[name].add_(step * weight.abs() * gradient[name].sign())
                point[name].clamp_(weight - reach, weight + reach)
            return
        steepness = _norm(gradient.values()).clamp_min(torch.finfo(torch.float32).tiny)
        for name in center:
            point[name].add_(gradient[name] * (step / steepness))
        distance = _norm(point[name] - weight for name, weight in center.items())
        if distance > self.radius:
            for name, weight in center.items():
                point[name].copy_(torch.lerp(weight, point[name], self.radius / distance))


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    """Return the norm of several tensors together."""
    norm: Tensor = torch.stack([values.norm() for values in tensors]).norm()
    return norm


@dataclass(frozen=True)
class Ascent:
    """Losses (rows,) of an ascent.

    Attributes:
        start: at the trained weights.
        first: after the first step, to the ball's edge; this is SAM's step.
        best: at the step with the highest mean loss; the start counts, too.
    """

    start: Tensor
    first: Tensor
    best: Tensor


def ascend(space: Space, batches: Sequence[Batch], ball: Ball, steps: int) -> Ascent:
    """Find a high mean loss in a ball around the trained weights, by projected steps of steepest ascent.

    The maximum that is found is a lower bound of the true one.

    Args:
        space: space of the weights.
        batches: batches over which the loss is averaged.
        ball: the ball.
        steps: number of steps, each of which takes the gradient on all batches.
    """
    point = {name: weight.clone() for name, weight in space.center.items()}
    start, gradient = losses_and_gradient(space, point, batches)
    first = best = start
    for number in range(steps):
        ball.climb(space.center, point, gradient, STEP if number else 1.0)
        if number == steps - 1:
            losses = losses_at(space, point, batches)
        else:
            del gradient  # before the next one is made
            losses, gradient = losses_and_gradient(space, point, batches)
        first = losses if number == 0 else first
        if not losses.isfinite().all():
            return Ascent(start, first, losses)
        best = losses if losses.mean() > best.mean() else best
    return Ascent(start, first, best)
