"""A module under noise: when it has some, and how it is armed.

A module is armed by a change of its class, to a subclass of its own (`layer.__class__ = ...`), and disarmed by a
change back. No wrapper comes between and no method is replaced, so names, saving, merging and copying work as ever.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn


@dataclass
class Gate:
    """Whether the model is inside a forward pass that was entered with gradients on.

    Reentrant gradient checkpointing runs its first forward pass without gradients inside a training pass, while a
    reference pass (DPO) has none from the start: only the way in tells the two apart.

    Attributes:
        open: whether it is.
        measures: noise in any pass, for a measurement of what it does to the loss (`auto.py`).
    """

    open: bool = False
    measures: bool = False

    def enter(self, model: nn.Module, inputs: Any) -> None:
        """A forward pre-hook of the whole model."""
        self.open = torch.is_grad_enabled()

    def leave(self, model: nn.Module, inputs: Any, output: Any) -> None:
        """A forward hook of the whole model."""
        self.open = False


class Perturbed(nn.Module):
    """What an armed module knows, before the class that it had.

    It meets noise in a pass that trains: it is in training mode, its adapter is on and not merged, and gradients are
    on, or were where the model was entered.
    """

    plain: ClassVar[type[nn.Module]]
    own: ClassVar[tuple[str, ...]] = ("_gate", "_noise", "_met")
    """The attributes that an armed module has beside its own."""
    _gate: Gate
    _noise: Any
    _met: Any

    def adapter_is_on(self) -> bool:
        """Whether the module answers with its adapter, and that is not merged."""
        return True

    def noise_of_this_pass(self) -> Any:
        """The noise that the forward pass which is under way meets, or None.

        Raises:
            RuntimeError: if a checkpoint is computed again after the noise has changed.
        """
        trains = torch.is_grad_enabled() or self._gate.open
        meets = self._gate.measures or (trains and self.training)
        noise = self._noise if meets and self.adapter_is_on() else None
        if torch.compiler.is_compiling():
            return noise
        if torch._C._current_graph_task_id() != -1:  # computed again, within the backward pass: a checkpoint
            if noise is not self._met:
                raise RuntimeError(
                    "the noise was changed (by begin_step, end_step, eval or disabling the adapter) between a forward"
                    " pass and the backward pass that computes it again; call backward() first (or, under reentrant"
                    " checkpointing, the pass did not go through the armed model; take use_reentrant=False)"
                )
        elif trains:
            self._met = noise
        return noise

    def __init_subclass__(cls, **options: Any) -> None:
        if "plain" not in cls.__dict__ and hasattr(cls, "plain"):  # as fully_shard does to what it is given
            raise RuntimeError(
                f"{cls.plain.__name__} is armed; shard the model first (fully_shard), and arm it then"
            )
        super().__init_subclass__(**options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies, and what is pickled, are of the module as it is without noise."""
        state = {name: one for name, one in self.__dict__.items() if name not in self.own}
        return _blank, (self.plain,), state


def arm_module(module: nn.Module, kind: type[Perturbed], gate: Gate) -> Any:
    """Arm a module, in place."""
    classes: Any = (kind, type(module))
    module.__class__ = _between(*classes)
    module._gate, module._noise, module._met = gate, None, None  # type: ignore[assignment]
    return module


def disarm_module(module: Perturbed) -> None:
    """Turn it back into what it was."""
    for name in module.own:
        module.__dict__.pop(name, None)
    module.__class__ = module.plain  # type: ignore[assignment]


@functools.cache
def _between(kind: Any, plain: Any) -> Any:
    return type(f"Flat{plain.__name__}", (kind, plain), {"plain": plain})


def _blank(plain: Any) -> Any:
    return plain.__new__(plain)
