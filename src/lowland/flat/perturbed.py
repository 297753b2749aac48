"""Mix-in for modules under noise: in which forward passes the noise acts, and how a module is armed and disarmed.

A module is armed by a change of its class to a subclass of that class (`module.__class__ = ...`), and disarmed by a
change back. There is no wrapper and no replaced method, so names, saving, merging and copying work as before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import nn


@dataclass
class ForwardPassGate:
    """State of the model's current forward pass: tells whether noise may act in it.

    Reentrant gradient checkpointing runs its first forward pass without gradients inside a training pass, whereas a
    reference pass (DPO) runs without gradients from the start. Only the state at the model's entry tells them apart.

    Attributes:
        entered_with_grad: whether the model is inside a forward pass that was entered with gradients enabled.
        always_open: let noise act in every pass. `losses.py` measures the loss under noise with it.
    """

    entered_with_grad: bool = False
    always_open: bool = False

    def enter(self, model: nn.Module, inputs: Any) -> None:
        """Note at the model's entry whether gradients are enabled: a forward pre-hook of the whole model."""
        self.entered_with_grad = torch.is_grad_enabled()

    def leave(self, model: nn.Module, inputs: Any, output: Any) -> None:
        """Note that the forward pass has ended: a forward hook of the whole model."""
        self.entered_with_grad = False


class Perturbed(nn.Module):
    """Mix-in for a module under noise; in the method resolution order it stands before the module's own class.

    Noise acts in a pass that trains: the module is in training mode, its adapter is active and not merged, and
    gradients are enabled, or were enabled at the model's entry.
    """

    plain: ClassVar[type[nn.Module]]
    """The module's class without noise."""
    added_attributes: ClassVar[tuple[str, ...]] = ("_gate", "_noise", "_noise_of_forward")
    """Names of the attributes that arming adds. Disarming removes them; copies and pickles leave them out."""
    _gate: ForwardPassGate
    _noise: Any  # each subclass names the type
    _noise_of_forward: Any

    @classmethod
    def arm(cls, module: nn.Module, gate: ForwardPassGate) -> Self:
        """Arm a module in place and return it."""
        classes: Any = (cls, type(module))
        module.__class__ = _armed_class(*classes)
        armed: Self = module  # type: ignore[assignment]  # now its class is a subclass of cls
        armed.start_noiseless(gate)
        return armed

    def start_noiseless(self, gate: ForwardPassGate) -> None:
        """Set the attributes named in `added_attributes`. There is no noise until the first draw."""
        self._gate, self._noise, self._noise_of_forward = gate, None, None

    def disarm(self) -> None:
        """Restore the module's own class, and remove all that arming added."""
        for name in self.added_attributes:
            self.__dict__.pop(name, None)
        self.__class__ = self.plain  # type: ignore[assignment]  # a base class of this one

    @property
    def drawn_noise(self) -> Any:
        """The noise of the current optimizer step, or None."""
        return self._noise

    def drop_noise(self) -> None:
        """Drop the noise of the current optimizer step."""
        self._noise = None

    def adapter_is_on(self) -> bool:
        """Return whether the module's adapter is active and not merged."""
        return True

    def noise_of_this_pass(self) -> Any:
        """Return the noise that acts in the current forward pass, or None.

        Raises:
            RuntimeError: if a checkpoint is recomputed after the noise has changed.
        """
        trains = torch.is_grad_enabled() or self._gate.entered_with_grad
        acts = self._gate.always_open or (trains and self.training)
        noise = self._noise if acts and self.adapter_is_on() else None
        if torch.compiler.is_compiling():
            return noise
        if (
            torch._C._current_graph_task_id() != -1
        ):  # inside a backward pass: a checkpoint is being recomputed
            if noise is not self._noise_of_forward:
                raise RuntimeError(
                    "the noise was changed (by begin_step, end_step, eval or disabling the adapter) between a forward"
                    " pass and the backward pass that recomputes it; call backward() first (or, under reentrant"
                    " checkpointing, the pass did not go through the armed model; use use_reentrant=False)"
                )
        elif trains:
            self._noise_of_forward = noise
        return noise

    def __init_subclass__(cls, **options: Any) -> None:
        if "plain" not in cls.__dict__ and hasattr(
            cls, "plain"
        ):  # fully_shard makes a subclass of each module's class
            raise RuntimeError(
                f"{cls.plain.__name__} is armed; shard the model first (fully_shard), and arm it then"
            )
        super().__init_subclass__(**options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle the module as it is without noise."""
        state = {name: value for name, value in self.__dict__.items() if name not in self.added_attributes}
        return _new_instance, (self.plain,), state


@functools.cache
def _armed_class(perturbed: Any, plain: Any) -> Any:
    """Return the subclass of both, made once for each pair."""
    return type(f"Flat{plain.__name__}", (perturbed, plain), {"plain": plain})


def _new_instance(plain: Any) -> Any:
    """Return an instance without state, for copy and pickle to fill."""
    return plain.__new__(plain)
