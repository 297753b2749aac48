"""The callback in a real Trainer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from lowland import FlatLoRA, LoRAConfig, LoRALinear, add_lora
from lowland.lora import lora_layers
from lowland.mistakes import Mistake


class Rows(Dataset):
    """24 texts of 7 tokens."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(5, 60, (24, 7), generator=generator)
        self.labels = torch.randint(0, 3, (24,), generator=generator)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


class Watch(TrainerCallback):
    """Notes the strength of the noise in each forward pass of training, and in evaluations."""

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[tuple[bool, int | None]] = []
        layer = next(layer for _, layer in lora_layers(model))
        layer.register_forward_pre_hook(self._note)

    def _note(self, layer: nn.Module, inputs: object) -> None:
        noisy = getattr(layer, "noisy", False)
        self.seen.append((layer.training, layer._noise.window.offsets if noisy else None))


def run(model: nn.Module, folder: Path, *callbacks: TrainerCallback, **options: object) -> nn.Module:
    arguments = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options,
    }
    trainer = Trainer(
        model,
        TrainingArguments(**arguments),
        train_dataset=Rows(),
        eval_dataset=Rows(),
        callbacks=list(callbacks),
    )
    trainer.train()
    return model


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def adapted(bert: nn.Module) -> nn.Module:
    return add_lora(bert, LoRAConfig(r=4, dropout=0.1, modules_to_save=("classifier",)))


def test_rho_zero_is_lora_to_the_bit_and_rho_above_is_not(adapted: nn.Module, tmp_path: Path) -> None:
    plain = state(run(copy.deepcopy(adapted), tmp_path))
    zero = state(run(copy.deepcopy(adapted), tmp_path, FlatLoRA(rho=0.0)))
    some = state(run(copy.deepcopy(adapted), tmp_path, FlatLoRA(rho=0.1)))
    again = state(run(copy.deepcopy(adapted), tmp_path, FlatLoRA(rho=0.1)))
    assert equal(plain, zero)
    assert equal(some, again)
    assert not equal(plain, some)


def test_the_base_weights_keep_every_bit(adapted: nn.Module, tmp_path: Path) -> None:
    before = state(adapted)
    run(adapted, tmp_path, FlatLoRA(rho=0.5))
    after = state(adapted)
    trained = [name for name in before if "lora_" in name or "classifier" in name]
    assert all(torch.equal(before[name], after[name]) for name in before if name not in trained)
    assert all(not torch.equal(before[name], after[name]) for name in trained)


def test_one_draw_a_step_over_accumulation_and_none_in_evaluation(adapted: nn.Module, tmp_path: Path) -> None:
    watch = Watch(adapted)
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "eval_strategy": "steps"}
    run(adapted, tmp_path, FlatLoRA(rho=0.1), watch, eval_steps=1, **options)
    training = [seed for trains, seed in watch.seen if trains]
    # 6 batches of 4 an epoch: groups of 4 and (trailing) 2, two epochs; step 0 has sigma 0
    assert training[:4] == [None] * 4
    assert len(training) == 12
    assert [len(set(training[a:b])) for a, b in ((4, 6), (6, 10), (10, 12))] == [1, 1, 1]
    assert len(set(training)) == 4
    evaluating = [seed for trains, seed in watch.seen if not trains]
    assert evaluating
    assert set(evaluating) == {None}


def test_between_steps_there_is_no_noise_even_in_training_mode(adapted: nn.Module, tmp_path: Path) -> None:
    class Between(TrainerCallback):
        noisy: ClassVar[list[bool]] = []

        def on_step_end(self, *args: object, model: nn.Module, **kwargs: object) -> None:
            assert model.training
            self.noisy += [layer.noisy for _, layer in lora_layers(model)]

    run(adapted, tmp_path, FlatLoRA(rho=0.1), Between())
    assert Between.noisy
    assert not any(Between.noisy)


def test_after_training_the_model_is_an_ordinary_lora_model(adapted: nn.Module, tmp_path: Path) -> None:
    run(adapted, tmp_path, FlatLoRA(rho=0.1))
    assert {type(layer) for _, layer in lora_layers(adapted)} == {LoRALinear}


def test_after_a_crash_the_same_callback_can_train_again(adapted: nn.Module, tmp_path: Path) -> None:
    class Crash(TrainerCallback):
        def on_optimizer_step(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("power cut")

    callback = FlatLoRA(rho=0.1)
    with pytest.raises(RuntimeError, match="power cut"):
        run(adapted, tmp_path, callback, Crash())
    run(adapted, tmp_path, callback)
    assert {type(layer) for _, layer in lora_layers(adapted)} == {LoRALinear}


def test_a_model_without_lora_and_a_negative_rho_are_refused(bert: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no LoRA layers to perturb"):
        run(bert, tmp_path, FlatLoRA())
    with pytest.raises(Mistake, match="rho is -1"):
        FlatLoRA(rho=-1)
