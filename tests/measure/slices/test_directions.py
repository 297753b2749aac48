"""Tests of lines and planes in the space of weights."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2LMHeadModel

from lowland.flat.noise import row_norms
from lowland.ground.mistakes import Mistake
from lowland.measure.slices.directions import around, evenly, line_between, plane_through
from tests.measure.quadratic import Quadratic


def random_place(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in (("w", (3, 4)), ("bias", (5,)))}


def test_ends_of_a_line_are_the_places_to_the_bit() -> None:
    start, end = random_place(0), random_place(1)
    point = line_between(start, end)
    for name in start:
        assert torch.equal(point(0.0, 0.0)[name], start[name])
        assert torch.equal(point(1.0, 0.0)[name], end[name])
        torch.testing.assert_close(point(0.25, 0.0)[name], 0.75 * start[name] + 0.25 * end[name])


def test_plane_goes_through_its_places_at_distances_that_are_euclidean() -> None:
    places = [random_place(seed) for seed in range(3)]
    plane = plane_through(*places)
    flat = [torch.cat([weight.flatten() for weight in place.values()]) for place in places]
    for place, (x, y) in zip(places, plane.places, strict=True):
        for name, weight in plane.point(x, y).items():
            torch.testing.assert_close(weight, place[name], rtol=1e-4, atol=1e-5)
    assert plane.places[0] == (0.0, 0.0)
    assert plane.places[1] == pytest.approx((float((flat[1] - flat[0]).norm()), 0.0))
    x, y = plane.places[2]
    assert x**2 + y**2 == pytest.approx(float((flat[2] - flat[0]).square().sum()), rel=1e-5)
    u, v = (torch.cat([weight.flatten() for weight in each.values()]) for each in (plane.u, plane.v))
    assert [float(u @ u), float(v @ v), float(u @ v)] == pytest.approx([1, 1, 0], abs=1e-5)


@pytest.mark.parametrize("third", [0, 1, 0.5, 2])
def test_places_on_one_line_have_no_plane(third: float) -> None:
    start, end = random_place(0), random_place(1)
    on_line = {name: weight + third * (end[name] - weight) for name, weight in start.items()}
    with pytest.raises(Mistake, match="lie on one line"):
        plane_through(start, end, on_line)


def test_equal_places_have_no_plane() -> None:
    with pytest.raises(Mistake, match="lie on one line"):
        plane_through(random_place(0), random_place(0), random_place(1))


def test_random_directions_have_the_norms_of_the_weights_rows(gpt2: GPT2LMHeadModel) -> None:
    name = "transformer.h.0.mlp.c_fc.weight"  # a Conv1D, stored as (in, out)
    weight = gpt2.get_parameter(name).detach()
    space = Quadratic(
        {name: weight, "linear": torch.randn(7, 5)}, torch.zeros(0), torch.zeros(0), frozenset({name})
    )
    point = around(space, seed=0)
    assert all(torch.equal(point(0.0, 0.0)[key], own) for key, own in space.center.items())
    for coordinates in ((0.5, 0.0), (0.0, 0.5)):
        moved = point(*coordinates)
        for key, own in space.center.items():
            step, rows = (moved[key] - own), own
            if key == name:
                step, rows = step.T, rows.T
            torch.testing.assert_close(row_norms(step), 0.5 * row_norms(rows), rtol=1e-4, atol=1e-6)
    first, second = (point(*each)["linear"] - space.center["linear"] for each in ((1.0, 0.0), (0.0, 1.0)))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(
        around(space, seed=0)(0.3, 0.2)["linear"], point(0.3, 0.2)["linear"], rtol=0, atol=0
    )
    assert not torch.equal(around(space, seed=1)(0.3, 0.2)["linear"], point(0.3, 0.2)["linear"])


def test_points_are_evenly_spaced_with_both_ends() -> None:
    assert evenly(-1.0, 1.0, 5) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert evenly(0.0, 0.7, 8)[-1] == 0.7
