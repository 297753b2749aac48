"""Trained linear layers under noise: full fine-tuning under random perturbation, the paper's flat full fine-tuning.

The noise on a trained weight W (out, in) has the form of Flat-LoRA's, eps_ij ~ N(0, sigma² / n · ‖W_i‖²), and is an
input of the forward pass, too: W gets the gradient at W + eps, and only the optimizer writes it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lowland.flat.linear import PerturbedLinear
from lowland.flat.noise import LayerNoise
from lowland.flat.perturbed import Perturbed
from lowland.flat.product import noisy_product
from lowland.lora.bases import forward_is_replaced
from lowland.lora.config import LoRAConfig
from lowland.lora.targets import target_names


class PerturbedTrained(PerturbedLinear):
    """Linear layer under noise on its own, trained weight."""

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """Return x (W + eps)ᵀ + b from one function, which also returns the gradients of W and b."""
        return noisy_product(x, self, noise)


def trained_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the trained linear layers by name: those that `all-linear` would adapt, so all but the output head."""
    modules = dict(model.named_modules())
    armed = {name: layer for name, layer in modules.items() if isinstance(layer, PerturbedTrained)}
    if armed:
        return {**armed}
    names = target_names(model, LoRAConfig(targets=("all-linear",)))
    return {name: modules[name] for name in names if modules[name].weight.requires_grad}


def is_unadapted(layer: nn.Module) -> bool:
    """Return whether a layer is a linear layer of its own, without an adapter."""
    kind = layer.plain if isinstance(layer, Perturbed) else type(layer)
    return not any(parent.__module__.startswith(("lowland.lora", "peft.")) for parent in kind.__mro__)


def reason_without_noise_on_trained(layer: Any) -> str | None:
    """Return the reason why a trained linear layer cannot get noise, or None."""
    if hasattr(layer.weight, "ds_id") or isinstance(layer.weight, DTensor):
        return "its weight is sharded over processes; train with DDP"
    if forward_is_replaced(layer):
        return "its forward method was replaced, which the product with the perturbed weight would skip; restore it"
    if not layer.weight.requires_grad:
        return "its weight is frozen, and weights='trained' perturbs trained ones"
    return None
