"""Tests of the spaces of weights: what a point stands for, and that the model is never changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.func import grad

from lowland.ground.progress import no_remark
from lowland.measure.space import ADAPTER, FULL, Branch, Space
from lowland.measure.subject import Subject, load_subject


@pytest.fixture(scope="module")
def subject(study: dict[str, list[Path]]) -> Subject:
    return load_subject(study["lora"][0], no_remark)


def losses_at_center(subject: Subject, name: str) -> torch.Tensor:
    space = subject.space(name)
    sample = subject.sample("test", limit=20, batch_size=8)
    return torch.cat([space.losses(space.center, batch) for batch in sample.batches])


def test_both_spaces_have_the_same_loss_at_the_trained_point(subject: Subject) -> None:
    full, adapter = losses_at_center(subject, FULL), losses_at_center(subject, ADAPTER)
    torch.testing.assert_close(full, adapter, rtol=1e-5, atol=1e-6)


def test_step_in_the_adapter_is_the_step_of_the_merged_weight(subject: Subject) -> None:
    adapter, full = subject.space(ADAPTER), subject.space(FULL)
    moved = {name: weight + 0.1 for name, weight in adapter.center.items()}
    in_full = {**full.center, **adapter.weights(moved)}
    batch = subject.sample("test", limit=8, batch_size=8).batches[0]
    torch.testing.assert_close(adapter.losses(moved, batch), full.losses(in_full, batch))
    assert not torch.allclose(adapter.losses(moved, batch), adapter.losses(adapter.center, batch))


@pytest.mark.parametrize("name", [FULL, ADAPTER])
def test_gradients_and_second_derivatives_leave_the_model_as_it_is(subject: Subject, name: str) -> None:
    space = subject.space(name)
    before = {key: value.clone() for key, value in space.model.state_dict().items()}
    batch = subject.sample("test", limit=8, batch_size=8).batches[0]

    def mean(point: dict[str, torch.Tensor]) -> torch.Tensor:
        return space.losses(point, batch).mean()

    ones = {key: torch.ones_like(value) for key, value in space.center.items()}

    def along(point: dict[str, torch.Tensor]) -> torch.Tensor:
        gradient = grad(mean)(point)
        return sum(((gradient[key] * ones[key]).sum() for key in gradient), torch.zeros(()))

    gradient, product = grad(mean)(dict(space.center)), grad(along)(dict(space.center))
    assert all(value.isfinite().all() for value in (*gradient.values(), *product.values()))
    assert any(value.abs().max() > 0 for value in product.values())
    assert all(torch.equal(value, before[key]) for key, value in space.model.state_dict().items())


@pytest.mark.parametrize("transposed", [False, True])
def test_branch_has_the_shape_in_which_the_layer_stores_its_weight(transposed: bool) -> None:
    point = {"a": torch.randn(2, 5), "b": torch.randn(3, 2)}
    delta = Branch("a", "b", 0.5, transposed).delta(point)
    product = 0.5 * point["b"] @ point["a"]
    assert torch.equal(delta, product.T if transposed else product)


def test_dimension_counts_the_weights(subject: Subject) -> None:
    space: Space = subject.space(ADAPTER)
    assert space.dimension == sum(weight.numel() for weight in space.center.values()) > 0
