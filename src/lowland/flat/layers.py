"""The table of adapted linear layers that can be armed: lowland's own and PEFT's.

PEFT's classes are listed by name, because it cannot be guessed what an unknown layer does with its weight.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from lowland.flat.linear import PerturbedLinear, PerturbedLoRA
from lowland.flat.peft_linear import PerturbedIA3, PerturbedPEFTLoRA, PerturbedVeRA
from lowland.flat.perturbed import ForwardPassGate
from lowland.flat.trained import PerturbedTrained

PERTURBED_CLASSES: Mapping[str, type[PerturbedLinear]] = {
    "lowland.lora.linear.LoRALinear": PerturbedLoRA,
    "peft.tuners.lora.layer.Linear": PerturbedPEFTLoRA,
    "peft.tuners.lora.bnb.Linear4bit": PerturbedPEFTLoRA,
    "peft.tuners.lora.bnb.Linear8bitLt": PerturbedPEFTLoRA,
    "peft.tuners.lora.torchao.TorchaoLoraLinear": PerturbedPEFTLoRA,
    "peft.tuners.vera.layer.Linear": PerturbedVeRA,
    "peft.tuners.ia3.layer.Linear": PerturbedIA3,
}
"""Class under noise for each adapted layer's class, by the latter's full name."""


def class_name(layer: type[nn.Module]) -> str:
    """Return the full name of the layer's class in lowland or PEFT; FSDP2 puts a class of its own before it."""
    known = (parent for parent in layer.__mro__ if parent.__module__.startswith(("lowland.lora", "peft.")))
    return next((f"{parent.__module__}.{parent.__qualname__}" for parent in known), layer.__qualname__)


def arm_linear(layer: nn.Module, gate: ForwardPassGate) -> PerturbedLinear:
    """Arm a linear layer in place, adapted or trained itself, and return it."""
    return PERTURBED_CLASSES.get(class_name(type(layer)), PerturbedTrained).arm(layer, gate)
