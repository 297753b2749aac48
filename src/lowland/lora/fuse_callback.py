"""Fuse a Trainer's model for the time of its training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from lowland.lora.fuse import Fusion, fuse


class FusedLoRA(TrainerCallback):
    """Callback that fuses the LoRA layers of a PEFT model while it is trained; see `lowland.fuse`.

    Raises:
        Mistake: when the training begins, if the model has no layer that can be fused.

    Examples:
        >>> Trainer(model, arguments, train_dataset=data, callbacks=[FusedLoRA()])
    """

    def __init__(self) -> None:
        self._fusion: Fusion | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fuse the model."""
        self._fusion = fuse(kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the layers compute as PEFT's again."""
        if self._fusion is not None:
            self._fusion.unfuse()
            self._fusion = None
