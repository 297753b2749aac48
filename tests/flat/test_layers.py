"""Layers of every kind under noise, compared with the loss of explicit W' + eps by plain autograd."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowland import LoRAConfig, add_lora, flat, merge_lora
from lowland.flat.linear import base_of
from lowland.lora import fused, lora_layers
from lowland.lora.bases import weight_of
from lowland.lora.fused import Plan
from tests.flat.conftest import (
    KINDS,
    PEFT_KINDS,
    TARGETS,
    canonical,
    filled,
    net,
    ours,
    peft_lora,
    results,
    rows,
    under_explicit_noise,
)

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], **EXACT, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_the_explicit_loss(kind: str) -> None:
    model = KINDS[kind]().double()
    plain, x = copy.deepcopy(model), rows(torch.float64)
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        assert list(noise.layers) == TARGETS
        noise.begin_step(3)
        eps = {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}
        armed = results(model, x)
    close(armed, results(under_explicit_noise(plain, eps), x))
    clean = results(plain, x)
    assert all(
        (armed[name] - clean[name]).abs().max() > 1e-3 for name in armed
    )  # otherwise the test would show nothing


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_of_the_noise_is_that_of_many_draws(kind: str) -> None:
    model, sizes = KINDS[kind](), {name: [] for name in TARGETS}
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        assert [layer.noise_norm() for layer in noise.layers.values()] == [0, 0]
        for step in range(400):
            noise.begin_step(step)
            for name, layer in noise.layers.items():
                sizes[name].append(layer.drawn_noise.eps().square().sum().item())
        for name, layer in noise.layers.items():
            assert layer.noise_norm() ** 2 == pytest.approx(sum(sizes[name]) / 400, rel=0.05)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("conv1d", [False, True])
def test_our_layer_is_its_formula(dropout: float, conv1d: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(fused, "Plan", lambda *args: plans.append(Plan(*args)) or plans[-1])
    model = ours(net(conv1d), dropout=dropout).double()
    layer, x = model.up, rows(torch.float64).requires_grad_()
    with flat.arm(model, rho=0.5, schedule="constant", layers="up") as noise:
        noise.begin_step(1)
        eps = layer.drawn_noise.eps()
        layer(x).pow(3).sum().backward()
    a, b, x2 = (tensor.detach().clone().requires_grad_() for tensor in (layer.lora_A, layer.lora_B, x))
    mask = plans[0].dropped(torch.ones_like(x2)) / (1 - dropout)
    y = x2 @ (layer.weight + eps).T + layer.bias + 2 * ((mask * x2) @ a.T @ b.T)
    y.pow(3).sum().backward()
    for mine, theirs in ((layer.lora_A.grad, a.grad), (layer.lora_B.grad, b.grad), (x.grad, x2.grad)):
        torch.testing.assert_close(mine, theirs, **EXACT)
    assert (dropout > 0) == bool((mask == 0).any())


def test_doras_magnitude_learns_from_the_clean_direction() -> None:
    model = peft_lora(use_dora=True).double()
    layer, x = canonical(model)["up"], rows(torch.float64).requires_grad_()
    with flat.arm(model, rho=0.5, schedule="constant", layers="up") as noise:
        noise.begin_step(1)
        eps = layer.drawn_noise.eps()
        layer(x).pow(3).sum().backward()
    trained = (
        layer.lora_A["default"].weight,
        layer.lora_B["default"].weight,
        layer.lora_magnitude_vector["default"].weight,
    )
    a, b, m, x2 = (parameter.detach().clone().requires_grad_() for parameter in (*trained, x))
    base = layer.get_base_layer()
    full = base.weight + 2 * b @ a
    direction = full / full.detach().norm(dim=1, keepdim=True)
    F.linear(x2, m[:, None] * direction + eps, base.bias).pow(3).sum().backward()
    for mine, theirs in zip((*trained, x), (a, b, m, x2), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, **EXACT)


def merged_weights(kind: str, model: nn.Module) -> dict[str, Tensor]:
    """Return W' (out, in) of each adapted layer, computed by merging."""
    twin = copy.deepcopy(model)
    merged = merge_lora(twin, keep=False) if kind.startswith("ours") else twin.merge_and_unload()
    return {name: weight_of(merged.get_submodule(name)) for name in TARGETS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_rows_noise_is_scaled_by_the_merged_rows_norm(kind: str) -> None:
    model = KINDS[kind]().double()
    merged = merged_weights(kind, model)
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        for name, layer in noise.layers.items():
            expected = 0.3 / math.sqrt(merged[name].shape[1]) * merged[name].norm(dim=1, keepdim=True)
            torch.testing.assert_close(layer.drawn_noise.scale.abs(), expected.detach(), rtol=1e-7, atol=0)
            assert torch.equal(layer.drawn_noise.scale.sign(), layer.drawn_noise.strength.sign())
            assert (
                layer.drawn_noise.blocks[0].stride() == weight_of(base_of(layer)).stride()
            )  # read in memory order
            own = weight_of(base_of(layer)).norm(dim=1, keepdim=True)
            assert (merged[name].norm(dim=1, keepdim=True) / own - 1).abs().max() > 0.01  # W' is not W


def test_the_scale_follows_the_learned_adapter() -> None:
    model = ours().double()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        before = model.up.drawn_noise.scale.abs()
        with torch.no_grad():
            model.up.lora_B.mul_(3)
        noise.begin_step(1)
        expected = (
            0.3 / math.sqrt(10) * (model.up.weight + model.up.delta()).norm(dim=1, keepdim=True).detach()
        )
        torch.testing.assert_close(model.up.drawn_noise.scale.abs(), expected, rtol=1e-7, atol=0)
        assert not torch.allclose(before, expected)


def test_pefts_lora_and_ours_meet_the_same_noise_and_learn_the_same() -> None:
    base = net().double()
    mine = filled(add_lora(copy.deepcopy(base), LoRAConfig(r=3, alpha=6, targets=("up", "down"))))
    theirs = peft_lora(base)
    for name, layer in lora_layers(mine):
        peft_layer = canonical(theirs)[name]
        peft_layer.lora_A["default"].weight.data.copy_(layer.lora_A.data)
        peft_layer.lora_B["default"].weight.data.copy_(layer.lora_B.data)
    drawn, outcomes = [], []
    for model in (mine, theirs):
        with flat.arm(model, rho=0.5, seed=3, schedule="constant") as noise:
            noise.begin_step(2)
            drawn.append({name: layer.drawn_noise.eps() for name, layer in noise.layers.items()})
            outcomes.append(results(model, rows(torch.float64)))
    assert drawn[0].keys() == drawn[1].keys()
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    outcomes[1] = {name.replace(".default.weight", ""): tensor for name, tensor in outcomes[1].items()}
    close(*outcomes)


@pytest.mark.parametrize("drawn", ["weight", "token"])
@pytest.mark.parametrize("kind", PEFT_KINDS)
def test_a_layer_without_an_active_adapter_has_no_noise(kind: str, drawn: str) -> None:
    model, x = KINDS[kind](), rows()
    adapters = canonical(model)["up"].active_adapters
    model.base_model.set_adapter([])
    plain = results(model, x)
    with flat.arm(model, rho=0.5, schedule="constant", noise=drawn) as noise:
        noise.begin_step(0)
        none = results(model, x)
        assert all(torch.equal(none[name], plain[name]) for name in ("y", "x"))
        model.base_model.set_adapter(adapters)
        assert not torch.equal(results(model, x)["y"], plain["y"])


@pytest.mark.parametrize("kind", ["ours", "LoRA", "LoRA, bias", "DoRA", "VeRA"])
def test_second_derivatives_are_right(kind: str) -> None:
    model = KINDS[kind]().double()
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        noise.begin_step(0)
        x = rows(torch.float64)[:2].requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x: model(x).pow(2), x)
