"""Frozen weights of every format are never written, and are perturbed in proportion to their values."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lowland import LoRAConfig, add_lora, flat
from lowland.flat.linear import base_of
from lowland.lora.bases import is_quantised, weight_of
from tests.flat.conftest import canonical, filled
from tests.lora.test_bases import bytes_of, quantised

pytestmark = pytest.mark.filterwarnings("ignore")  # from the packages that quantise
FORMATS = (
    "float32",
    "bfloat16",
    "float16",
    "nf4",
    "nf4 twice",
    "fp4",
    "8bit",
    "torchao int8",
    "torchao int4",
)
NARROW = ("bfloat16", "float16")


class Wide(nn.Module):
    """Two layers of sizes that can be quantised, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(64, 128), nn.Linear(128, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.down(torch.tanh(self.up(x)))).to(self.head.weight.dtype))


def base(form: str) -> nn.Module:
    """Return a frozen model with its weights in a format."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Wide().requires_grad_(False)
    for name in ("up", "down"):
        layer = model.get_submodule(name)
        converted = layer.to(getattr(torch, form)) if hasattr(torch, form) else quantised(layer, form)
        model.set_submodule(name, converted)
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = form[:3] in ("nf4", "fp4"), form == "8bit"
    return model


def milder(model: nn.Module) -> nn.Module:
    """Make s·BA about as large as W and not much larger, since their sum is rounded in 16 bits."""
    with torch.no_grad():
        for name, parameter in filled(model).named_parameters():
            if "lora_B" in name:
                parameter.mul_(0.1)
    return model


def ours(form: str) -> nn.Module:
    return milder(add_lora(base(form), LoRAConfig(r=4, alpha=6, targets=("up", "down"))))


def pefts(form: str) -> nn.Module:
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["up", "down"])
    return milder(get_peft_model(base(form), config, autocast_adapter_dtype=True))


BUILDS: dict[str, Callable[[str], nn.Module]] = {"ours": ours, "PEFT": pefts}
x = torch.randn(6, 64, generator=torch.Generator().manual_seed(1))


def x_for(form: str) -> Tensor:
    """Return x in the dtype that the model computes in."""
    return x.to(getattr(torch, form)) if form in NARROW else x


def layers(model: nn.Module) -> dict[str, Any]:
    return {name: canonical(model)[name] for name in ("up", "down")}


def held(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of all that the frozen layers hold."""
    contents = {}
    for name, layer in layers(model).items():
        frozen = base_of(layer)
        parts = bytes_of(frozen) if is_quantised(frozen) else {"data": frozen.weight.detach().clone()}
        contents |= {f"{name}.{part}": tensor for part, tensor in parts.items()} | {
            f"{name}.bias": frozen.bias.clone()
        }
    return contents


def assert_held(model: nn.Module, before: dict[str, Tensor]) -> None:
    after = held(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture(params=[(build, form) for build in BUILDS for form in FORMATS], ids=" ".join)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    build, form = request.param
    return BUILDS[build](form), form


def step_of(model: nn.Module, form: str) -> float:
    inputs = x_for(form)
    loss = model(inputs).float().pow(2).sum()
    loss.backward()
    return loss.item()


def test_it_trains_and_no_weight_is_written(case: tuple[nn.Module, str]) -> None:
    model, form = case
    before = held(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4)
    start = [parameter.detach().clone() for parameter in trained]
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        model.eval()
        with torch.no_grad():
            clean = model(x_for(form))
        model.train()
        for step in range(4):
            noise.begin_step(step)
            optimizer.zero_grad()
            assert math.isfinite(step_of(model, form))
            assert all(
                parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained
            )
            optimizer.step()
            assert_held(model, before)
        noise.end_step()
    assert_held(model, before)
    assert all(not torch.equal(parameter, was) for parameter, was in zip(trained, start, strict=True))
    with torch.no_grad():
        for parameter, was in zip(trained, start, strict=True):
            parameter.copy_(was)
        model.eval()
        assert torch.equal(model(x_for(form)), clean)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("when", ["forward", "backward"])
def test_an_error_in_mid_step_leaves_no_noise_behind(
    case: tuple[nn.Module, str], when: str, error: Any
) -> None:
    model, form = case
    before, kinds = held(model), [type(module) for module in model.modules()]

    def stop(*args: Any) -> None:
        raise error("now")

    def train() -> None:
        head: Any = canonical(model)["head"]
        hook = (
            head.register_forward_hook(stop) if when == "forward" else head.register_full_backward_hook(stop)
        )
        try:
            with flat.arm(model, rho=0.5, schedule="constant") as noise:
                noise.begin_step(0)
                step_of(model, form)
        finally:
            hook.remove()

    with pytest.raises(error):
        train()
    assert_held(model, before)
    assert [type(module) for module in model.modules()] == kinds
    assert not model._forward_hooks


def test_the_noise_is_as_large_as_the_values_say(case: tuple[nn.Module, str]) -> None:
    model, form = case
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        for name, layer in noise.layers.items():
            full = weight_of(base_of(layer)).double() + delta(layer)
            expected = 0.3 / math.sqrt(full.shape[1]) * full.norm(dim=1, keepdim=True)
            standard = layer.drawn_noise.eps().double() / expected
            assert standard.std().item() == pytest.approx(1, abs=0.03), name
            narrow = form in NARROW
            assert layer.drawn_noise.scale.dtype == (getattr(torch, form) if narrow else torch.float32)
            assert layer.drawn_noise.blocks[0].dtype == layer.drawn_noise.scale.dtype
            tolerance = 2**-8 if narrow else 1e-5
            torch.testing.assert_close(
                layer.drawn_noise.scale.abs().double(), expected, rtol=tolerance, atol=0
            )


@torch.no_grad()
def delta(layer: Any) -> Tensor:
    """Return s·BA in float64, from A and B in the dtype that the layer computes in."""
    mine = hasattr(layer, "delta")
    a, b = (
        (layer.lora_A, layer.lora_B)
        if mine
        else (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
    )
    held = weight_of(base_of(layer)).dtype
    scaling = layer.scaling if mine else layer.scaling["default"]
    return scaling * b.to(held).double() @ a.to(held).double()


def test_the_gradient_is_that_of_the_explicit_sum(case: tuple[nn.Module, str]) -> None:
    """Compare to the precision of 16 bits for such weights, else of float32."""
    model, form = case
    plain = (
        copy.deepcopy(model) if form != "8bit" else BUILDS["ours" if type(model) is Wide else "PEFT"](form)
    )
    layer, inputs = layers(model)["up"], x_for(form).clone().requires_grad_()
    with flat.arm(model, rho=0.5, schedule="constant", layers="up") as noise:
        noise.begin_step(0)
        eps = layer.drawn_noise.eps(torch.float64)
        y = layer(inputs)
        y.float().sum().backward()
    (clean,) = torch.autograd.grad(layers(plain)["up"](inputs).float().sum(), inputs)
    frozen = base_of(layers(plain)["up"])
    full = weight_of(frozen).double() + delta(layers(plain)["up"]) + eps
    expected = inputs.detach().double() @ full.T + frozen.bias.double()
    tolerance = 0.05 if form in NARROW else 1e-5
    torch.testing.assert_close(y.double(), expected.detach(), rtol=tolerance, atol=tolerance)
    dx = full.sum(0).expand(6, -1)
    torch.testing.assert_close(inputs.grad.double(), dx, rtol=tolerance, atol=2 * tolerance)
    assert (inputs.grad - clean).abs().max() > 0.1


def test_weights_of_16_bits_are_summed_in_one_rounding() -> None:
    model = ours("bfloat16")
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        drawn, weight = noise.layers["up"].drawn_noise, base_of(noise.layers["up"]).weight
        exact = weight.double() + drawn.scale.double() * torch.cat(drawn.blocks).double()
        assert torch.equal(drawn.added_to(weight), exact.bfloat16())
