"""Small models with adapters of every supported kind, and the loss under explicit noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland import LoRAConfig, add_lora
from lowland.flat.arming import WRAPPERS

TARGETS = ["up", "down"]


class Net(nn.Module):
    """Two layers to adapt, a norm between them, and a head to train."""

    def __init__(self, conv1d: bool = False) -> None:
        super().__init__()
        self.up = Conv1D(12, 10) if conv1d else nn.Linear(10, 12)
        self.norm = nn.LayerNorm(12)
        self.down = Conv1D(8, 12) if conv1d else nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (..., 3) for x (..., 10)."""
        return self.head(torch.tanh(self.down(torch.tanh(self.norm(self.up(x))))))


def net(conv1d: bool = False) -> Net:
    """Return a net whose weights are large enough for noise to show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net(conv1d)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model


def filled(model: nn.Module) -> nn.Module:
    """Fill all adapters with random numbers, active or not."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name or "lambda" in name or "ia3_l" in name:
                parameter.copy_(torch.empty(parameter.shape).normal_(std=0.5, generator=generator))
    return thawed(model)


def thawed(model: nn.Module) -> nn.Module:
    """Put the model into training mode, with a trainable head."""
    for name, module in model.named_modules():
        if name.endswith("head"):
            module.requires_grad_(True)
    return model.train()


def ours(base: nn.Module | None = None, **options: Any) -> nn.Module:
    """Return a net with lowland's LoRA."""
    return filled(add_lora(base or net(), LoRAConfig(r=3, alpha=6, targets=("up", "down"), **options)))


def peft_lora(base: nn.Module | None = None, **options: Any) -> nn.Module:
    """Return a net with PEFT's LoRA and random adapters."""
    return filled(started(base, **options))


def started(base: nn.Module | None = None, **options: Any) -> nn.Module:
    """Return a net with PEFT's LoRA as it is initialised."""
    with torch.random.fork_rng():
        config = LoraConfig(**{"r": 3, "lora_alpha": 6, "target_modules": TARGETS, **options})
        return thawed(get_peft_model(base or net(), config))


def two_adapters(active: list[str], **second: Any) -> nn.Module:
    """Return a net with two adapters of PEFT's LoRA, "default" and "other"."""
    model = started()
    other = {"r": 2, "lora_alpha": 5, "target_modules": TARGETS, **second}
    model.add_adapter("other", LoraConfig(**other))
    model.base_model.set_adapter(active)
    return filled(model)


def of_tuner(config: Any) -> nn.Module:
    """Return a net with another of PEFT's tuners."""
    with torch.random.fork_rng():
        return filled(get_peft_model(net(), config))


KINDS: Mapping[str, Callable[[], nn.Module]] = {
    "ours": ours,
    "ours, rsLoRA": lambda: ours(rslora=True),
    "ours, dropout": lambda: ours(dropout=0.4),
    "ours, Conv1D": lambda: ours(net(conv1d=True)),
    "LoRA": peft_lora,
    "rsLoRA": lambda: peft_lora(use_rslora=True),
    "DoRA": lambda: peft_lora(use_dora=True),
    "PiSSA": lambda: started(init_lora_weights="pissa"),
    "OLoRA": lambda: started(init_lora_weights="olora"),
    "LoRA, bias": lambda: peft_lora(lora_bias=True),
    "LoRA, dropout": lambda: peft_lora(lora_dropout=0.4),
    "LoRA, dropout and bias": lambda: peft_lora(lora_dropout=0.4, lora_bias=True),
    "DoRA, dropout": lambda: peft_lora(use_dora=True, lora_dropout=0.4),
    "two adapters": lambda: two_adapters(["default", "other"]),
    "two adapters, one with dropout": lambda: two_adapters(["default", "other"], lora_dropout=0.4),
    "one adapter of two": lambda: two_adapters(["other"]),
    "LoRA, Conv1D": lambda: peft_lora(net(conv1d=True), fan_in_fan_out=True),
    "DoRA, Conv1D": lambda: peft_lora(net(conv1d=True), fan_in_fan_out=True, use_dora=True),
    "VeRA": lambda: of_tuner(VeraConfig(r=3, target_modules=TARGETS)),
    "VeRA, dropout": lambda: of_tuner(VeraConfig(r=3, target_modules=TARGETS, vera_dropout=0.4)),
    "IA3": lambda: of_tuner(IA3Config(target_modules=TARGETS, feedforward_modules=["down"])),
}
"""Builders of adapted models by name: float32, in training mode, not armed."""
PEFT_KINDS = [name for name in KINDS if not name.startswith("ours")]


def rows(dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a batch x (5, 10)."""
    return torch.randn(5, 10, generator=torch.Generator().manual_seed(1)).to(dtype)


def canonical(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules by the names that seed their noise."""
    return {WRAPPERS.sub("", name): module for name, module in model.named_modules()}


def under_explicit_noise(model: nn.Module, eps: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a model whose layers compute x (W' + eps)ᵀ + b by plain autograd."""
    twin = copy.deepcopy(model)
    for name, added in eps.items():
        layer = canonical(twin)[name]
        layer.register_forward_hook(lambda layer, inputs, y, eps=added: y + inputs[0] @ eps.T)
    return twin


def results(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the output and the gradients of a nonlinear loss, from a fixed state of the global generator."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(4)
        y = model(x)
    y.pow(3).sum().backward()
    grads = {
        WRAPPERS.sub("", name): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return {"y": y.detach(), "x": x.grad, **grads}


@pytest.fixture(params=["ours", "peft"])
def adapt(request: pytest.FixtureRequest, bert: nn.Module) -> Callable[..., nn.Module]:
    """Return a function that adapts the classifier, by lowland or by PEFT; `dropout` is the adapter's."""

    def build(dropout: float = 0.0) -> nn.Module:
        if request.param == "ours":
            return add_lora(bert, LoRAConfig(r=4, dropout=dropout, modules_to_save=("classifier",)))
        torch.manual_seed(0)
        config = LoraConfig(
            r=4,
            lora_dropout=dropout,
            target_modules="all-linear",
            exclude_modules=["classifier"],
            modules_to_save=["classifier"],
        )
        return get_peft_model(bert, config)

    return build
