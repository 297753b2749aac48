"""A network of two layers in float64 under a rival's callback, and the same network written out."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lowland.lora import LoRAConfig, add_lora, lora_layers
from lowland.train.method_callback import MethodCallback

STEPS, SCALING = 5, 2.0
Factors = list[tuple[Tensor, Tensor]]


def network() -> nn.Module:
    """Return two adapted layers in float64, whose B are not 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    add_lora(model, LoRAConfig(r=2, alpha=2 * SCALING, targets="all-linear"), seed=3)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.3)
    return model.train()


def steps() -> list[tuple[Tensor, Tensor]]:
    """Return the examples of each optimizer step: inputs (8, 6) and targets (8, 3)."""
    draw = torch.Generator().manual_seed(1)
    return [
        tuple(torch.randn(8, width, dtype=torch.float64, generator=draw) for width in (6, 3))
        for _ in range(STEPS)
    ]


def train(model: nn.Module, callback: MethodCallback, optimizer: Any, clip: float, batches: int) -> None:
    """Train as `PairedTrainer` would, with the examples of a step in several batches."""
    state: Any = SimpleNamespace(global_step=0, max_steps=STEPS)
    known: Any = {"model": model, "optimizer": optimizer}
    none: Any = None
    callback.on_train_begin(none, state, none, **known)
    for inputs, targets in steps():
        callback.on_step_begin(none, state, none, **known)
        optimizer.zero_grad()
        for x, y in zip(inputs.chunk(batches), targets.chunk(batches), strict=True):
            ((model(x) - y).square().mean() / batches).backward()
        callback.before_clipping()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        callback.on_pre_optimizer_step(none, state, none, **known)
        optimizer.step()
        callback.on_optimizer_step(none, state, none, **known)
        state.global_step += 1
        callback.on_step_end(none, state, none, **known)
    callback.on_train_end(none, state, none, **known)


class Plain:
    """The network written out: W + s B A is formed, and perturbed matrices are other matrices.

    Attributes:
        factors: A and B of each layer; they are trained.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [layer for _, layer in lora_layers(model)]
        self.weights = [layer.weight.clone() for layer in layers]
        self.biases = [layer.bias.clone() for layer in layers]
        self.factors: Factors = [
            tuple(part.detach().clone().requires_grad_() for part in (layer.lora_A, layer.lora_B))
            for layer in layers
        ]

    @property
    def parameters(self) -> list[Tensor]:
        return [part for pair in self.factors for part in pair]

    def gradients(self, step: int, factors: Factors, more: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the gradients of a step's loss at A and B, and where given at the matrices added to W."""
        x, y = steps()[step]
        tensors = [part for pair in factors for part in pair] + list(more or ())
        leaves = [part.detach().clone().requires_grad_() for part in tensors]
        pairs, rest = leaves[: 2 * len(factors)], leaves[2 * len(factors) :]
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            a, b = pairs[2 * index : 2 * index + 2]
            merged = weight + SCALING * b @ a
            if rest:
                a2, b2 = rest[2 * index : 2 * index + 2]
                merged = merged + SCALING * b2 @ a2
            x = x @ merged.T + bias
            x = x.tanh() if index == 0 else x
        return list(torch.autograd.grad((x - y).square().mean(), leaves))

    def give(self, gradients: Sequence[Tensor], clip: float = 1e9) -> None:
        """Put gradients into the parameters, clipped."""
        for part, gradient in zip(self.parameters, gradients, strict=True):
            part.grad = gradient.clone()
        nn.utils.clip_grad_norm_(self.parameters, clip)


def assert_same(model: nn.Module, plain: Plain) -> None:
    """Check that a model has learned the factors of the network written out."""
    for (_, layer), (a, b) in zip(lora_layers(model), plain.factors, strict=True):
        torch.testing.assert_close(layer.lora_A.detach(), a.detach(), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(layer.lora_B.detach(), b.detach(), rtol=1e-6, atol=1e-9)


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all entries."""
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


def adamw(parameters: Any) -> torch.optim.AdamW:
    """Return the optimizer of both networks."""
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1)
