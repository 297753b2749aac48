"""LoRA layers whose A and B are perturbed in training: an input of the forward pass, never written into A or B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from lowland.lora.inject import lora_layers
from lowland.lora.layer import LoRALayer
from lowland.lora.swapped import Swapped


class ShiftedLoRA(Swapped):
    """LoRA layer of lowland that computes with A + E_A and B + E_B in training mode, and with A and B in evaluation.

    The gradients of A and B are those at the perturbed values. Like dropout, the perturbation also acts in passes
    without gradients if the layer is in training mode, so that gradient checkpointing of both kinds computes with it.
    """

    added_attributes: ClassVar[tuple[str, ...]] = ("_shift",)
    _shift: tuple[Tensor | None, Tensor | None]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and B, perturbed in training mode."""
        factors: tuple[Tensor, Tensor] = super().factors()  # type: ignore[misc]  # that of LoRALayer
        if not self.training:
            return factors
        a, b = (
            factor if shift is None else factor + shift
            for factor, shift in zip(factors, self._shift, strict=True)
        )
        return a, b

    def shift(self, a: Tensor | None = None, b: Tensor | None = None) -> None:
        """Set the perturbations of A and B from now on; None for none."""
        self._shift = (a, b)


class Shifts:
    """The LoRA layers of a model, made ready to be perturbed; `remove` restores them.

    Args:
        model: model with LoRA layers of lowland.

    Attributes:
        layers: the layers, by name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers: Mapping[str, LoRALayer] = dict(lora_layers(model))
        for layer in self.layers.values():
            ShiftedLoRA.swap(layer).shift()

    def set(self, name: str, a: Tensor | None = None, b: Tensor | None = None) -> None:
        """Set the perturbations of a layer's A and B; None for none."""
        layer = self.layers[name]
        assert isinstance(layer, ShiftedLoRA)
        layer.shift(a, b)

    def remove(self) -> None:
        """Restore the layers as they were."""
        for layer in self.layers.values():
            if isinstance(layer, ShiftedLoRA):
                layer.__dict__.pop("_shift", None)
                layer.take_out(ShiftedLoRA)
        self.layers = {}
