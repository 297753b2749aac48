"""Flat-LoRA in Lightning: a callback for any LightningModule, also with accumulate_grad_batches.

pip install lightning; python examples/lightning_module.py --model FOLDER_OR_ID (default: a tiny model)
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
    """Callback that trains `module.model`, the model that training_step calls, under Flat-LoRA's noise."""

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Arm the model."""
        self.noise = arm(module.model, rho=self.rho, total_steps=int(trainer.estimated_stepping_batches))

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        """Draw the noise, the same for all micro-batches of a step."""
        self.noise.begin_step(trainer.global_step)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Drop the noise before anything is validated or saved."""
        self.noise.end_step()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Disarm the model."""
        self.noise.disarm()

    def on_exception(self, trainer: Any, module: Any, error: BaseException) -> None:
        """Disarm the model after an error, too."""
        if hasattr(self, "noise"):
            self.noise.disarm()


class Classifier(lightning.LightningModule):
    """Classifier with adapters."""

    def __init__(self, model: Any, lr: float) -> None:
        super().__init__()
        self.model, self.lr, self.losses = model, lr, []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """Return the loss of a batch."""
        loss = self.model(**batch).loss
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW on the adapters and the head."""
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), lr=self.lr)


def main() -> None:
    """Train, and print the first and the last loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or id of an encoder")
    parser.add_argument("--rho", type=float, default=0.05)
    args = parser.parse_args()
    model, tokenizer = tiny.classifier(args.model)
    model = add_lora(model, LoRAConfig(r=8, modules_to_save=("classifier",))).train()
    rows = [{**tokenizer(text), "labels": label} for text, label in zip(tiny.TEXTS, tiny.LABELS, strict=True)]
    loader = DataLoader(rows, batch_size=4, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    module = Classifier(model, lr=1e-2 if args.model is None else 5e-4)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(
        max_epochs=5, accumulate_grad_batches=2, callbacks=[FlatNoise(args.rho)], **quiet
    )
    trainer.fit(module, loader)
    first, last = module.losses[: len(loader)], module.losses[-len(loader) :]
    print(f"loss {sum(first) / len(first):.3f} -> {sum(last) / len(last):.3f}")


if __name__ == "__main__":
    main()
