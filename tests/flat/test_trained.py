"""Noise on trained weights: full fine-tuning under random perturbation."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from lowland import flat
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from tests.flat.conftest import net, ours, results, rows

TRAINED: dict[str, Any] = {"rho": 0.3, "schedule": "constant", "weights": "trained"}


def explicit(model: nn.Module, eps: dict[str, Tensor]) -> nn.Module:
    """Oracle: a copy of a model that computes with W + eps by plain autograd; W gets the gradient."""
    twin = copy.deepcopy(model)
    for name, added in eps.items():
        layer: Any = twin.get_submodule(name)

        def forward(x: Tensor, layer: Any = layer, eps: Tensor = added) -> Tensor:
            weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
            return F.linear(x, weight + eps, layer.bias)

        layer.forward = forward
    return twin


@pytest.mark.parametrize("conv1d", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_gradients_are_those_at_the_perturbed_weight(conv1d: bool, dtype: torch.dtype) -> None:
    model = net(conv1d).train().to(dtype)
    plain = copy.deepcopy(model)
    with flat.arm(model, **TRAINED) as noise:
        assert list(noise.layers) == ["up", "down"]  # not the head
        noise.begin_step(3)
        noisy = results(model, rows(dtype))
        eps = {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}
    reference = results(explicit(plain, eps), rows(dtype))
    assert noisy.keys() == reference.keys()
    for name, value in reference.items():
        torch.testing.assert_close(noisy[name], value, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(noisy["up.weight"], results(plain, rows(dtype))["up.weight"], rtol=0.01)


@pytest.mark.parametrize("conv1d", [False, True])
def test_the_noise_is_relative_to_the_rows_of_the_weight(conv1d: bool) -> None:
    model = net(conv1d).train()
    weight = (model.up.weight.T if conv1d else model.up.weight).detach().clone()
    squares = torch.zeros(12, 10)
    with flat.arm(model, **TRAINED) as noise:
        for step in range(400):
            noise.begin_step(step)
            squares += noise.layers["up"].drawn_noise.eps() ** 2
    deviations = (squares.mean(1) / 400).sqrt()
    torch.testing.assert_close(deviations, 0.3 / math.sqrt(10) * weight.norm(dim=1), rtol=0.06, atol=0)


def test_rho_0_evaluation_and_the_weights_are_those_without_noise() -> None:
    model, x = net().train(), rows()
    plain = results(copy.deepcopy(model), x)
    before = copy.deepcopy(model.state_dict())
    with flat.arm(model, **{**TRAINED, "rho": 0.0}) as noise:
        noise.begin_step(0)
        assert all(torch.equal(value, plain[name]) for name, value in results(model, x).items())
    with flat.arm(model, **TRAINED) as noise:
        noise.begin_step(0)
        assert not torch.equal(model(x), plain["y"])
        assert torch.equal(model.eval()(x), plain["y"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(isinstance(module, Perturbed) for module in model.modules())


def test_under_autocast_to_bf16_the_gradient_is_in_float32_and_nearly_exact() -> None:
    model, x = net().train(), rows()
    with flat.arm(model, **TRAINED) as noise:
        noise.begin_step(0)
        exact = results(model, x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = results(model, x)
    assert rough["up.weight"].dtype == torch.float32
    for name in ("y", "up.weight", "up.bias", "down.weight"):
        assert (rough[name] - exact[name]).norm() < 0.1 * exact[name].norm(), name


def frozen() -> nn.Module:
    return net().requires_grad_(False)


def replaced() -> nn.Module:
    model = net()
    model.up.forward = lambda x: x[..., :12]
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (ours, r"^up is adapted, and weights='trained' perturbs the weights of a model without adapters$"),
        (frozen, r"trains no linear layer but its output head; train it in full, or adapt it$"),
        (replaced, r"^up cannot get noise: its forward method was replaced"),
    ],
)
def test_what_does_not_suit_is_refused(build: Any, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        flat.arm(build(), **TRAINED)


def test_layers_can_be_named_and_one_that_is_frozen_later_is_noticed() -> None:
    model = net().train()
    with flat.arm(model, layers="down", **TRAINED) as noise:
        assert list(noise.layers) == ["down"]
        noise.begin_step(0)
        model.down.weight.requires_grad_(False)
        with pytest.raises(Mistake, match="down cannot get noise any more: its weight is frozen"):
            noise.begin_step(1)


def test_compiled_gradients_are_those_at_the_perturbed_weight() -> None:
    model, x = net().train(), rows()
    plain = copy.deepcopy(model)
    with flat.arm(model, **TRAINED) as noise:
        noise.begin_step(3)
        torch.compile(model, backend="aot_eager")(x).pow(3).sum().backward()
        eps = {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}
    reference = results(explicit(plain, eps), x)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad, reference[name], rtol=1e-4, atol=1e-5)
