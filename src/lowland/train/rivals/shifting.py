"""Base of the rivals that compute with perturbed factors: LoRA layers are made ready, and restored after training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.flat.shifted import Shifts
from lowland.train.method_callback import MethodCallback


class ShiftingCallback(MethodCallback):
    """Callback whose perturbations of A and B are inputs of the forward pass, set through `shifts`."""

    _shifts: Shifts | None = None

    @property
    def shifts(self) -> Shifts:
        """The layers that are ready to be perturbed, while the training lasts."""
        assert self._shifts is not None
        return self._shifts

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the layers ready to be perturbed."""
        self._shifts = Shifts(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restore the layers: they compute with A and B themselves."""
        if self._shifts is not None:
            self._shifts.remove()
