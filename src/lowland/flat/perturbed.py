"""Mix-ins for an armed model and its modules, which are swapped: in which forward passes noise acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import nn

from lowland.lora.swapped import Swapped


@dataclass
class ForwardPassGate:
    """State of the model's current forward pass: tells whether noise may act in it.

    Reentrant gradient checkpointing runs its first forward pass without gradients inside a training pass, whereas a
    reference pass (DPO) runs without gradients from the start. Only the state at the model's entry tells them apart.

    Attributes:
        entered: whether the model is inside a forward pass.
        entered_with_grad: whether it is inside one that was entered with gradients enabled.
        has_trained: whether the model has run in training mode with gradients.
        first_node: number that autograd gives to the first node of the model's last forward pass.
        always_open: let noise act in every pass. `losses.py` measures the loss under noise with it.
    """

    entered: bool = False
    entered_with_grad: bool = False
    has_trained: bool = False
    first_node: int = 0
    always_open: bool = False


class Armed(Swapped):
    """Mix-in for a module of an armed model: a swapped module with the gate of the model's forward passes."""

    added_attributes: ClassVar[tuple[str, ...]] = ("_gate",)
    _gate: ForwardPassGate

    @classmethod
    def arm(cls, module: nn.Module, gate: ForwardPassGate) -> Self:
        """Arm a module in place and return it."""
        armed = cls.swap(module)
        armed.start_noiseless(gate)
        return armed

    def start_noiseless(self, gate: ForwardPassGate) -> None:
        """Set the attributes named in `added_attributes`. There is no noise until the first draw."""
        self.__dict__["_gate"] = gate  # a compiled model would pass an assignment on to the model inside

    def disarm(self) -> None:
        """Restore the module's own class, and remove all that arming added."""
        self.restore()


class ArmedModel(Armed):
    """Mix-in for a whole model under noise: notes at each call whether gradients are enabled."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model, with the gate open while it runs if gradients are enabled."""
        gate: ForwardPassGate = self.__dict__["_gate"]
        before = gate.entered, gate.entered_with_grad
        if not gate.entered and not torch.compiler.is_compiling():
            gate.first_node = torch.autograd._get_sequence_nr()
            gate.has_trained = gate.has_trained or (self.training and torch.is_grad_enabled())
        gate.entered, gate.entered_with_grad = True, torch.is_grad_enabled()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            gate.entered, gate.entered_with_grad = before


UNKNOWN = object()
"""Stands for the noise of a pass without gradients that did not go through the armed model."""


class Perturbed(Armed):
    """Mix-in for a module under noise.

    Noise acts in a pass that trains: the module is in training mode, its adapter is active and not merged, and
    gradients are enabled, or were enabled at the model's entry.
    """

    added_attributes: ClassVar[tuple[str, ...]] = (
        "_gate",
        "_noise",
        "_noise_of_forward",
        "_first_node",
    )
    _noise: Any  # each subclass names the type
    _noise_of_forward: Any  # of the last forward pass that trained
    _first_node: int  # number of the first autograd node of the passes with that noise

    def start_noiseless(self, gate: ForwardPassGate) -> None:
        """Set the attributes named in `added_attributes`. There is no noise until the first draw."""
        super().start_noiseless(gate)
        self._noise, self._noise_of_forward, self._first_node = None, None, 0

    def __init_subclass__(cls, **options: Any) -> None:
        if "plain" not in cls.__dict__ and hasattr(
            cls, "plain"
        ):  # fully_shard makes a subclass of each module's class
            raise RuntimeError(
                f"{cls.plain.__name__} is armed; shard the model first (fully_shard), and arm it then"
            )
        super().__init_subclass__(**options)

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
        if torch._C._current_graph_task_id() != -1:  # in a backward pass: a checkpoint is recomputed
            self._check_recomputation(noise)
        elif trains:
            if noise is not self._noise_of_forward:
                gate, now = self._gate, torch.autograd._get_sequence_nr()
                self._first_node = gate.first_node if gate.entered_with_grad else now
            self._noise_of_forward = noise
        elif self.training and not self._gate.entered:  # a part by itself: perhaps a reentrant checkpoint
            self._noise_of_forward = UNKNOWN
        return noise

    def _check_recomputation(self, noise: Any) -> None:
        """Check that a recomputation uses the noise of the pass that it repeats.

        Autograd numbers its nodes in the order in which they are made, so the node of an earlier pass has a lower
        number than the first node of the passes with the current noise.
        """
        node: Any = torch._C._current_autograd_node()
        if noise is not self._noise_of_forward or node._sequence_nr() < self._first_node:
            raise RuntimeError(
                "the noise was changed (by begin_step, end_step, eval or disabling the adapter) between a forward"
                " pass and the backward pass that recomputes it; call backward() first (or, under reentrant"
                " checkpointing, the pass did not go through the armed model; use use_reentrant=False)"
            )
