"""Model that a method has prepared for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ParameterGroups = list[dict[str, Any]]
"""Parameter groups, as torch's optimizers take them."""


@dataclass(frozen=True)
class AdaptedModel:
    """Model that a method has prepared for training, with what is needed to save the trained weights.

    Attributes:
        model: the model; only its trainable parameters require gradients. PEFT's methods wrap it in a PeftModel.
        pissa_start: PiSSA's initial A and B by PEFT's names; None for every other method.
    """

    model: Any
    pissa_start: Mapping[str, Tensor] | None = None

    @property
    def base_model(self) -> Any:
        """The model of transformers, without PEFT around it."""
        from peft import PeftModel

        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def save(self, folder: Path, base_model: str, tokenizer: Any) -> None:
        """Save the trained weights in a run's folder: `adapter/` with the head, or `model/` after full fine-tuning.

        Args:
            folder: folder of the run.
            base_model: name of the base model, for the adapter's config.
            tokenizer: tokenizer, which is saved with a complete model.

        Raises:
            OSError: if the weights cannot be written.
        """
        from peft import PeftModel
        from safetensors import SafetensorError

        from lowland.lora import lora_layers, save_adapter
        from lowland.train.peft_files import save_peft

        if any(True for _ in lora_layers(self.model)):
            save_adapter(self.model, folder / "adapter", base_model=base_model)
        elif isinstance(self.model, PeftModel):
            save_peft(self.model, folder / "adapter", base_model, self.pissa_start)
        else:
            try:
                self.model.save_pretrained(folder / "model")
            except SafetensorError as error:  # the disk is full, for instance
                raise OSError(f"the weights cannot be written ({error})") from error
            tokenizer.save_pretrained(folder / "model")
