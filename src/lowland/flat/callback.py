"""Flat-LoRA in Hugging Face's Trainer: one callback."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lowland.flat.noise import Noise, arm
from lowland.mistakes import Mistake


class FlatLoRA(TrainerCallback):
    """Trains a Trainer's model under Flat-LoRA's noise.

    Args:
        rho: the noise's strength at the end of training.
        seed: of the noise; default: the Trainer's seed.

    Example:
        >>> add_lora(model, LoRAConfig(r=8))
        >>> Trainer(model, arguments, train_dataset=data, callbacks=[FlatLoRA(rho=0.05)]).train()
    """

    def __init__(self, rho: float = 0.05, *, seed: int | None = None) -> None:
        if not (rho >= 0 and math.isfinite(rho)):
            raise Mistake(f"rho is {rho}; it must be a number of at least 0")
        self.rho, self.seed = rho, seed
        self.noise: Noise | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Arm the model; what a run that was stopped left armed is disarmed first."""
        self.disarm()
        seed = args.seed if self.seed is None else self.seed
        self.noise = arm(kwargs["model"], rho=self.rho, total_steps=state.max_steps, seed=seed)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the noise of the optimizer step that begins."""
        if self.noise is not None:
            self.noise.begin_step(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the noise away, before anything is logged, evaluated or saved."""
        if self.noise is not None:
            self.noise.end_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Disarm the model."""
        self.disarm()

    def disarm(self) -> None:
        """Disarm the model, also after a run that was stopped by an exception."""
        if self.noise is not None:
            self.noise.disarm()
            self.noise = None
