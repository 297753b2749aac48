"""The ascent step over W': gradient, step and the gradients at its end, against plain autograd with an explicit e."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lowland import flat
from lowland.flat.ascent import ascent_steps, total_norm
from lowland.flat.linear import base_of
from tests.flat.conftest import KINDS, canonical, ours, peft_lora, results, rows, under_explicit_noise
from tests.flat.test_promises_of_noise import checkpointed

RHO = 0.7
"""Length of the step, large enough to change what the net computes."""
Steps = dict[str, Tensor]


def gradient_of_weights(model: nn.Module, x: Tensor) -> Steps:
    """Oracle: dL/dW' as the gradient with respect to an explicit eps = 0 on each layer."""
    with flat.arm(copy.deepcopy(model), rho=0.1, schedule="constant") as noise:
        shapes = {name: layer.full_weight() for name, layer in noise.layers.items()}
    eps = {name: torch.zeros_like(weight, requires_grad=True) for name, weight in shapes.items()}
    results(under_explicit_noise(model, eps), x)
    return {name: zero.grad for name, zero in eps.items()}  # type: ignore[misc]


def ascended(model: nn.Module, x: Tensor) -> tuple[Steps, dict[str, Tensor], Steps]:
    """Return dL/dW', the results at W' + e, and e, all as lowland computes them."""
    plain = results(model, x)
    with flat.arm(model, rho=0.0, schedule="constant") as noise:
        noise.begin_step(0)
        watched = {name: layer.watch_gradient() for name, layer in noise.layers.items()}
        assert all(torch.equal(plain[name], value) for name, value in results(model, x).items())
        gradients = {name: sums.total for name, sums in watched.items()}
        steps = dict(zip(gradients, ascent_steps(list(gradients.values()), RHO), strict=True))
        for name, layer in noise.layers.items():
            layer.step(steps[name])
        return gradients, results(model, x), steps


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_step_and_second_pass_are_those_of_plain_autograd(kind: str) -> None:
    model, x = KINDS[kind](), rows()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    expected = gradient_of_weights(model, x)
    gradients, at_step, steps = ascended(copy.deepcopy(model), x)
    norm = torch.cat([g.flatten() for g in expected.values()]).norm()
    for name, g in expected.items():
        torch.testing.assert_close(gradients[name], g, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(steps[name], RHO * g / norm, rtol=1e-4, atol=1e-5)
    reference = results(under_explicit_noise(model, {n: RHO * g / norm for n, g in expected.items()}), x)
    for name, value in reference.items():
        torch.testing.assert_close(at_step[name], value, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(at_step["y"], results(model, x)["y"], atol=1e-2)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights.items())


def test_a_step_in_bf16_is_not_rounded_away() -> None:
    """e is far smaller than the distance of W's neighbours in bf16, and its effect on the output is not."""
    model = ours()
    model.up.base.weight.data.fill_(0.5)
    model.up.base.bias.data.zero_()
    model.up.lora_B.data.zero_()
    x = torch.cat([torch.ones(4, 5), -torch.ones(4, 5)], 1)  # W x = 0
    with flat.arm(model, rho=0.0, schedule="constant") as noise, torch.autocast("cpu", torch.bfloat16):
        noise.begin_step(0)
        noise.layers["up"].step(torch.cat([torch.full((12, 5), 1e-5), torch.full((12, 5), -1e-5)], 1))
        y = model.up(x)
    torch.testing.assert_close(y.float(), torch.full((4, 12), 1e-4), rtol=1e-2, atol=0)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_under_autocast_to_bf16_it_is_nearly_that_of_float32(build: Any) -> None:
    model, x = build(), rows()
    exact, at_step, _ = ascended(copy.deepcopy(model), x)
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_at_step, _ = ascended(copy.deepcopy(model), x)
    for name, g in exact.items():
        assert rough[name].dtype == torch.float32
        assert (rough[name] - g).norm() < 0.05 * g.norm()
    assert (rough_at_step["y"] - at_step["y"]).norm() < 0.05 * at_step["y"].norm()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("build", [ours, peft_lora])
def test_gradient_checkpointing_changes_nothing(build: Any, reentrant: bool) -> None:
    x = rows()
    plain, at_step, _ = ascended(build(), x)
    gradients, checkpointed_at_step, _ = ascended(checkpointed(build(), reentrant), x)
    for name, g in plain.items():
        torch.testing.assert_close(gradients[name], g)
    torch.testing.assert_close(checkpointed_at_step["y"], at_step["y"])
    torch.testing.assert_close(checkpointed_at_step["x"], at_step["x"])


def test_the_gradient_is_the_sum_over_passes_and_nothing_happens_in_evaluation() -> None:
    model, x = ours(), rows()
    whole = gradient_of_weights(model, x)
    with flat.arm(model, rho=0.0, schedule="constant") as noise:
        noise.begin_step(0)
        watched = {name: layer.watch_gradient() for name, layer in noise.layers.items()}
        model.eval()(x).sum().backward()
        assert all(sums.total is None for sums in watched.values())
        model.train()
        for part in (x[:2], x[2:]):
            model(part).pow(3).sum().backward()
    for name, g in whole.items():
        torch.testing.assert_close(watched[name].total, g)


def test_the_step_has_length_rho_and_is_zero_where_the_gradient_is() -> None:
    gradients = [torch.randn(3, 4), torch.randn(5)]
    steps = ascent_steps(gradients, 0.3)
    assert total_norm(steps).item() == pytest.approx(0.3)
    assert torch.allclose(steps[0] / steps[1][0], gradients[0] / gradients[1][0], rtol=1e-4)
    assert all(torch.equal(step, torch.zeros(2)) for step in ascent_steps([torch.zeros(2)] * 2, 0.3))


def test_the_weight_itself_is_never_written() -> None:
    model = ours()
    bases = [base_of(canonical(model)[name]).weight for name in ("up", "down")]
    versions = [weight._version for weight in bases]
    ascended(model, rows())
    assert [weight._version for weight in bases] == versions
