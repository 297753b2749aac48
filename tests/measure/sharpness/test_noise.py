"""Tests of the noise of expected sharpness: its size by row, its pairing, and the sharpness of a quadratic."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2LMHeadModel

from lowland.flat.noise import row_norms
from lowland.measure.passes import losses_at
from lowland.measure.sharpness.noise import mirrored, noisy_point, normals, row_scale
from tests.measure.quadratic import Quadratic, batch_of, quadratic


@pytest.mark.parametrize("transposed", [False, True])
def test_expected_sharpness_of_a_quadratic_is_that_of_its_closed_form(transposed: bool) -> None:
    space, sigma, draws = quadratic(transposed=transposed), 0.3, 1500
    a, b = space.center["a"], space.center["b"]
    variances = []  # of each weight, by plain loops
    for row, column in ((i, j) for i in range(a.shape[0]) for j in range(a.shape[1])):
        own = a[:, column] if transposed else a[row]
        variances.append(sigma**2 / 4 * float((own**2).sum()))
    for row in range(2):
        variances += [sigma**2 / 3 * float((b[row] ** 2).sum())] * 3
    expected = sum(float(space.hessian[n, n]) * variance / 2 for n, variance in enumerate(variances))
    start, mean = losses_at(space, space.center, [batch_of(1.0)]), torch.zeros(1)
    for draw in range(draws):
        point = noisy_point(space, sigma, draw, seed=0)
        for each in (point, mirrored(space, point)):
            mean = mean + (losses_at(space, each, [batch_of(1.0)]) - start) / (2 * draws)
    assert float(mean) == pytest.approx(expected, rel=0.05)


def test_both_signs_cancel_what_is_linear_in_the_noise() -> None:
    space = quadratic()
    point = noisy_point(space, 0.1, 0, seed=0)
    both = [losses_at(space, each, [batch_of(1.0)]) for each in (point, mirrored(space, point))]
    noise = torch.cat([(point[name] - weight).flatten() for name, weight in space.center.items()])
    rise = sum(both) / 2 - losses_at(space, space.center, [batch_of(1.0)])
    assert float(rise) == pytest.approx(float(noise @ space.hessian @ noise / 2), rel=1e-9)


def test_variance_of_the_noise_is_that_of_flat_lora_by_row(gpt2: GPT2LMHeadModel) -> None:
    name = "transformer.h.0.mlp.c_fc.weight"  # a Conv1D, stored as (in, out)
    weight = gpt2.get_parameter(name).detach()
    linear = torch.randn(7, 5)
    space = Quadratic({name: weight, "linear": linear}, torch.zeros(0), torch.zeros(0), frozenset({name}))
    noise: dict[str, list[torch.Tensor]] = {name: [], "linear": []}
    for draw in range(400):
        point = noisy_point(space, 0.5, draw, seed=3)
        for key, weights in space.center.items():
            noise[key].append(point[key] - weights)
    for key, rows in ((name, weight.T), ("linear", linear)):
        drawn = torch.stack(noise[key])
        by_row = drawn.transpose(1, 2) if key == name else drawn
        measured = by_row.var(dim=(0, 2))
        expected = 0.5**2 / rows.shape[1] * row_norms(rows)[:, 0] ** 2
        torch.testing.assert_close(measured, expected, rtol=0.15, atol=0)


def test_all_runs_get_the_same_normals_scaled_by_their_own_rows() -> None:
    first = quadratic(0)
    second = Quadratic(
        {name: 3 * weight for name, weight in first.center.items()}, first.hessian, first.minimum
    )
    points = [noisy_point(space, 0.1, 5, seed=2) for space in (first, second)]
    for name in first.center:
        ours, theirs = (
            (point[name] - space.center[name]) / row_scale(space.center[name], False)
            for point, space in zip(points, (first, second), strict=True)
        )
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(ours, 0.1 * normals(first.center[name], "full", 5, name, 2))


def test_every_part_of_a_stream_changes_the_normals() -> None:
    weight = torch.zeros(3, 4)
    base = normals(weight, "full", 0, "a", 0)
    torch.testing.assert_close(base, normals(weight, "full", 0, "a", 0), rtol=0, atol=0)
    others = [("adapter", 0, "a", 0), ("full", 1, "a", 0), ("full", 0, "b", 0), ("full", 0, "a", 1)]
    assert all(not torch.equal(base, normals(weight, *other)) for other in others)


def test_noise_leaves_the_space_as_it_is() -> None:
    space = quadratic()
    before = {name: weight.clone() for name, weight in space.center.items()}
    noisy_point(space, 1.0, 0, seed=0)
    assert all(torch.equal(weight, before[name]) for name, weight in space.center.items())
