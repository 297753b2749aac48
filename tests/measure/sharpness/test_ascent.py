"""Tests of the worst case in a ball: the oracles are eigenvectors, the trust-region problem, and plain loops."""

from __future__ import annotations

import pytest
import torch
from scipy import optimize

from lowland.measure.passes import losses_and_gradient, losses_at
from lowland.measure.sharpness.ascent import Ball, ascend
from tests.measure.quadratic import Quadratic, batch_of, quadratic


def flat(point: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in point.values()])


def test_first_step_reaches_the_maximum_along_the_top_eigenvector() -> None:
    space, radius, off = quadratic(), 0.2, 0.1
    values, vectors = torch.linalg.eigh(space.hessian)
    space.minimum = flat(space.center) - off * vectors[:, -1]
    climbed = ascend(space, [batch_of(1.0)], Ball(radius, adaptive=False), steps=1)
    expected = values[-1] / 2 * ((off + radius) ** 2 - off**2)
    assert float(climbed.first - climbed.start) == pytest.approx(float(expected))
    assert torch.equal(climbed.best, climbed.first)


def test_steps_converge_to_the_maximum_in_the_ball() -> None:
    space, radius = quadratic(1), 0.2
    gradient = space.hessian @ (flat(space.center) - space.minimum)
    values, vectors = torch.linalg.eigh(space.hessian)
    along = vectors.T @ gradient

    def length(multiplier: float) -> float:
        return float((along / (multiplier - values)).norm()) - radius

    multiplier = optimize.brentq(length, float(values[-1]) + 1e-9, float(values[-1]) + 100)
    best = vectors @ (along / (multiplier - values))
    expected = float(gradient @ best + best @ space.hessian @ best / 2)
    rises = []
    for steps in (1, 3, 40):
        climbed = ascend(space, [batch_of(1.0)], Ball(radius, adaptive=False), steps)
        rises.append(float(climbed.best - climbed.start))
    assert rises[0] < rises[1] < rises[2] <= expected * (1 + 1e-9)
    assert rises[2] == pytest.approx(expected, rel=1e-3)
    distances = [float((flat(point) - flat(space.center)).norm()) for point in space.points]
    assert max(distances) <= radius * (1 + 1e-9)


def test_adaptive_ball_bounds_each_weight_by_its_size() -> None:
    space, radius = quadratic(2), 0.05
    climbed = ascend(space, [batch_of(1.0)], Ball(radius, adaptive=True), steps=4)
    center = flat(space.center)
    for point in space.points:
        assert bool(((flat(point) - center).abs() <= radius * center.abs() * (1 + 1e-9)).all())
    gradient = space.hessian @ (center - space.minimum)
    step = radius * center.abs() * gradient.sign()
    by_hand = gradient @ step + step @ space.hessian @ step / 2
    assert float(climbed.first - climbed.start) == pytest.approx(float(by_hand))


def test_adaptive_sharpness_does_not_see_how_two_layers_are_scaled() -> None:
    """Weights times c and 1/c give the same function, so they have the same adaptive sharpness."""

    class Product(Quadratic):
        def losses(self, point: dict, batch: dict) -> torch.Tensor:
            return batch["factor"] * (point["b"] @ point["a"] - 1).square().sum()

    center = {
        name: torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        for name, shape in (("a", (2, 3)), ("b", (3, 2)))
    }
    scaled = {"a": center["a"] * 8, "b": center["b"] / 8}
    spaces = [Product(each, torch.zeros(0), torch.zeros(0)) for each in (center, scaled)]
    adaptive, plain = (
        [float(ascend(space, [batch_of(1.0)], Ball(0.05, kind), 3).best) for space in spaces]
        for kind in (True, False)
    )
    assert adaptive[0] == pytest.approx(adaptive[1])
    assert plain[0] != pytest.approx(plain[1], rel=0.01)


def test_gradient_over_batches_is_that_of_the_mean_over_rows() -> None:
    space = quadratic()
    batches = [batch_of(1.0, 2.0), batch_of(4.0)]
    losses, gradient = losses_and_gradient(space, space.center, batches)
    whole, in_one = losses_and_gradient(space, space.center, [batch_of(1.0, 2.0, 4.0)])
    torch.testing.assert_close(losses, whole)
    for name in gradient:
        torch.testing.assert_close(gradient[name], in_one[name])
    torch.testing.assert_close(
        flat(dict(in_one)), 7 / 3 * space.hessian @ (flat(space.center) - space.minimum)
    )


def test_steps_beyond_a_peak_do_not_count() -> None:
    space = quadratic()
    space.hessian = -space.hessian  # a peak, near the center
    space.minimum = flat(space.center) + 0.001
    climbed = ascend(space, [batch_of(1.0)], Ball(0.5, adaptive=False), steps=3)
    assert float(climbed.first) < float(climbed.start)
    assert float(climbed.best) == float(climbed.start)


def test_loss_that_is_not_finite_ends_the_ascent() -> None:
    space = quadratic()
    space.hessian = space.hessian * 1e200
    climbed = ascend(space, [batch_of(1e200)], Ball(1e10, adaptive=False), steps=5)
    assert not climbed.best.isfinite().all()


def test_losses_are_those_of_each_batch_in_turn() -> None:
    space = quadratic()
    losses = losses_at(space, space.center, [batch_of(1.0, 2.0), batch_of(3.0)])
    assert losses.dtype == torch.float64
    assert (losses / losses[0]).tolist() == pytest.approx([1.0, 2.0, 3.0])
