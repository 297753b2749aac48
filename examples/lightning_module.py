"""Flat-LoRA in Lightning: a callback that any LightningModule can take, with accumulate_grad_batches.

pip install lightning; python examples/lightning_module.py --model FOLDER_OR_ID (default: a tiny model, in seconds)
"""

import argparse
from typing import Any

import lightning
import tiny
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from lowland import LoRAConfig, add_lora
from lowland.flat import arm


class FlatNoise(lightning.Callback):
    """Flat-LoRA's noise on `module.model`, the model that its training_step calls."""

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Arm the model."""
        self.noise = arm(module.model, rho=self.rho, total_steps=int(trainer.estimated_stepping_batches))

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        """Draw the noise: the same for all micro-batches of a step."""
        self.noise.begin_step(trainer.global_step)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Take it away, before anything is validated or saved."""
        self.noise.end_step()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Disarm the model."""
        self.noise.disarm()

    def on_exception(self, trainer: Any, module: Any, error: BaseException) -> None:
        """Disarm it here, too."""
        if hasattr(self, "noise"):
            self.noise.disarm()


class Classifier(lightning.LightningModule):
    """A classifier with adapters."""

    def __init__(self, model: Any, lr: float) -> None:
        super().__init__()
        self.model, self.lr, self.losses = model, lr, []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """The loss of a batch."""
        loss = self.model(**batch).loss
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on the adapters and the head."""
        return torch.optim.AdamW((one for one in self.parameters() if one.requires_grad), lr=self.lr)


def main() -> None:
    """Train, and say how the loss fell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an encoder's folder or id")
    parser.add_argument("--rho", type=float, default=0.05)
    asked = parser.parse_args()
    model, tokenizer = tiny.classifier(asked.model)
    model = add_lora(model, LoRAConfig(r=8, modules_to_save=("classifier",))).train()
    rows = [{**tokenizer(text), "labels": label} for text, label in zip(tiny.TEXTS, tiny.LABELS, strict=True)]
    loader = DataLoader(rows, batch_size=4, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    module = Classifier(model, lr=1e-2 if asked.model is None else 5e-4)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(
        max_epochs=5, accumulate_grad_batches=2, callbacks=[FlatNoise(asked.rho)], **quiet
    )
    trainer.fit(module, loader)
    first, last = module.losses[: len(loader)], module.losses[-len(loader) :]
    print(f"loss {sum(first) / len(first):.3f} -> {sum(last) / len(last):.3f}")


if __name__ == "__main__":
    main()
