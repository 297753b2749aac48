"""Shared by the tests of the callback: data, a watch on every pass, and a Trainer."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lowland.flat.layers import PERTURBED_CLASSES, class_name

CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if hasattr(TrainingArguments, name)
)
"""Name of the option: the one since transformers 5.23, or the older one."""
STEADY: dict[str, Any] = {"rho": 0.1, "schedule": "constant"}


class Rows(Dataset):
    """24 texts of 7 tokens, labelled with a class or with an answer text."""

    def __init__(self, answers: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(5, 60, (24, 7), generator=generator)
        self.labels = self.ids[:, :4] if answers else torch.randint(0, 3, (24,), generator=generator)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


class Stream(IterableDataset):
    """The same texts, without a length."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        rows = Rows()
        return (rows[index] for index in range(len(rows)))


class Watch(TrainerCallback):
    """Callback that records every pass of one layer: whether its output has noise, and E.

    Attributes:
        seen: for each pass (training?, gradients?, optimizer step, E or None).
        random: state of the global generator at the end of each step.
        batches: input ids of the training passes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[tuple[bool, bool, int, bytes | None]] = []
        self.random: list[bytes] = []
        self.batches: list[bytes] = []
        self.step = 0
        adapted_layers(model)[-2].register_forward_hook(
            self._record_pass
        )  # T5: the decoder's q, called for each token
        model.register_forward_pre_hook(self._record_batch, with_kwargs=True)

    def _record_pass(self, layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        noise = getattr(layer, "drawn_noise", None)
        with torch.no_grad():
            clean = getattr(layer, "plain", type(layer)).forward(layer, *inputs)
        noisy = not torch.equal(output, clean)
        assert not noisy or noise is not None
        e = print_of(noise) if noisy else None
        self.seen.append((layer.training, torch.is_grad_enabled(), self.step, e))

    def _record_batch(self, model: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if model.training:
            ids = inputs[0] if inputs else named["input_ids"]
            self.batches.append(ids.numpy().tobytes())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        self.random.append(torch.get_rng_state().numpy().tobytes())

    def draws(self) -> list[bytes | None]:
        """Return E of each training pass."""
        return [e for trains, gradients, _, e in self.seen if trains and gradients]

    def other(self) -> list[bytes | None]:
        """Return E of each other pass."""
        return [e for trains, gradients, _, e in self.seen if not (trains and gradients)]


def print_of(noise: Any) -> bytes:
    """Return the bits of E: the signs of its rows, and the numbers from the bank."""
    return b"".join(tensor.contiguous().numpy().tobytes() for tensor in (noise.scale.sign(), *noise.blocks))


def adapted_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if class_name(type(module)) in PERTURBED_CLASSES]


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **changes,
    }


def trainer(model: nn.Module, folder: Path, *callbacks: TrainerCallback, **changes: Any) -> Trainer:
    own = {name: changes.pop(name) for name in ("train_dataset", "optimizers") if name in changes}
    data: dict[str, Any] = {"train_dataset": Rows(), "eval_dataset": Rows(), **own}
    arguments = TrainingArguments(**options(folder, **changes))
    return Trainer(model, arguments, callbacks=list(callbacks), **data)


def run(model: nn.Module, folder: Path, *callbacks: TrainerCallback, **changes: Any) -> dict[str, Tensor]:
    """Train a copy of the model and return its state."""
    model = copy.deepcopy(model)
    for callback in callbacks:
        if isinstance(callback, Watch):
            callback.__init__(model)  # type: ignore[misc]
    trainer(model, folder, *callbacks, **changes).train()
    return state(model)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def is_trained(name: str) -> bool:
    return "lora_" in name or "modules_to_save" in name or name.startswith("classifier")
