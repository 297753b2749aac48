"""rho="auto": the loss under growing noise, and the rho that is chosen."""

from __future__ import annotations

import copy
import json
import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from lowland import FlatLoRA, LoRAConfig, add_lora, flat
from lowland.flat import auto
from lowland.flat.auto import AutoRho, auto_rho, expected_losses
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from tests.flat.trainers import options as trainer_options


class Rows(Dataset):
    """24 texts of 7 tokens, sorted by label."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(5, 60, (24, 7), generator=generator)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": torch.tensor(index // 8)}


class Changing(Rows):
    """Data set that draws from the global generators at each access."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        random.random(), np.random.rand(), torch.rand(1)
        return super().__getitem__(index)


class Stream(IterableDataset):
    """The same texts as an iterable data set."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        return (Rows()[i] for i in range(24))


@pytest.fixture
def adapted(bert: nn.Module) -> nn.Module:
    """Return the tiny BERT with LoRA of rank 4, dropout 0.1, and a B that is not zero."""
    add_lora(bert, LoRAConfig(r=4, dropout=0.1, modules_to_save=("classifier",)))
    generator = torch.Generator().manual_seed(2)
    for _, layer in lora_layers(bert):
        layer.lora_B.data.normal_(std=0.1, generator=generator)
    return bert


@pytest.fixture
def batches() -> list[dict[str, Tensor]]:
    return list(DataLoader(Rows(), batch_size=8))


def generators() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_the_loss_is_that_of_explicit_noise_without_dropout(
    adapted: nn.Module, batches: list[dict[str, Tensor]]
) -> None:
    sigma, explicit = 0.3, []
    for draw in range(2):
        with flat.arm(adapted, rho=sigma, schedule="constant", seed=5) as noise:
            noise.begin_step(draw)
            eps = {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}
        by_hand = copy.deepcopy(adapted).eval()
        for name, change in eps.items():
            by_hand.get_submodule(name).base.weight.data.add_(change)
        with torch.no_grad():
            explicit += [by_hand(**batch).loss.item() for batch in batches]
    with torch.no_grad():
        clean = np.mean([adapted.eval()(**batch).loss.item() for batch in batches])
    without, with_noise = expected_losses(adapted.train(), batches, [0.0, sigma], seed=5)
    assert without == pytest.approx(clean, rel=1e-6)
    assert with_noise == pytest.approx(np.mean(explicit), rel=1e-6)
    assert abs(with_noise - without) > 1e-4  # otherwise the test would show nothing


@pytest.mark.parametrize("crash", [False, True])
def test_nothing_is_left_changed(adapted: nn.Module, crash: bool) -> None:
    adapted.add_module("moments", nn.BatchNorm1d(16))
    adapted.classifier.register_forward_pre_hook(lambda _, inputs: (adapted.moments(*inputs),))
    adapted.train()
    adapted.bert.encoder.layer[0].eval()  # in a mode of its own, like a frozen block
    out_of = torch.zeros(())
    if crash:
        adapted.classifier.register_forward_hook(lambda *_: 1 / out_of.long().item())
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    was = modes(adapted), [type(module) for module in adapted.modules()], generators()
    loader = DataLoader(Changing(), batch_size=8, shuffle=True)
    if crash:
        with pytest.raises(ZeroDivisionError):
            expected_losses(adapted, loader, [0.3])
    else:
        expected_losses(adapted, loader, [0.3])
    assert was == (modes(adapted), [type(module) for module in adapted.modules()], generators())
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapted.state_dict().items())
    assert all(parameter.grad is None for parameter in adapted.parameters())
    assert not any(isinstance(module, Perturbed) for module in adapted.modules())


def test_it_takes_the_last_strength_before_the_first_that_is_too_much(
    adapted: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = {0.0: 1.0, 0.01: 1.02, 0.02: 1.1, 0.05: 1.11, 0.1: 1.0}
    tried: list[float] = []

    def measured(model: object, batches: object, sigmas: list[float], **options: object) -> list[float]:
        tried.extend(sigmas)
        return [curve[sigma] for sigma in sigmas]

    monkeypatch.setattr(auto, "expected_losses", measured)
    ladder = (0.01, 0.02, 0.05, 0.1)
    result = auto_rho(adapted, [1], share=0.1 + 1e-9, ladder=ladder)
    assert result == AutoRho(0.02, (1.02, 1.1, 1.11), ladder, 1.0)
    assert tried == [0.0, 0.01, 0.02, 0.05]
    assert auto_rho(adapted, [1], share=0.05, ladder=ladder).rho == 0.01
    assert auto_rho(adapted, [1], share=0.2, ladder=ladder).rho == 0.1
    with pytest.raises(Mistake, match=r"even the smallest noise, 0\.01, changes the loss from 1 to 1\.02"):
        auto_rho(adapted, [1], share=0.01, ladder=ladder)
    curve[0.02] = float("nan")
    assert auto_rho(adapted, [1], share=0.2, ladder=ladder).rho == 0.01
    curve[0.0] = 0.0
    with pytest.raises(Mistake, match="the loss without noise is 0"):
        auto_rho(adapted, [1], ladder=ladder)


def test_a_larger_share_finds_more_noise(adapted: nn.Module, batches: list[dict[str, Tensor]]) -> None:
    adapted.classifier.weight.data.mul_(20)  # make the model confident,
    with torch.no_grad():  # and its answers right
        batches = [{**batch, "labels": adapted(**batch).logits.argmax(1)} for batch in batches]
    ladder = (1e-6, 5.0, 50.0)
    few, many = (auto_rho(adapted, batches, share=share, ladder=ladder).rho for share in (0.1, 1e6))
    assert (few, many) == (1e-6, 50.0)


def test_it_is_measured_where_the_noise_will_be(adapted: nn.Module, batches: list[dict[str, Tensor]]) -> None:
    places = [{}, {"layers": "query"}, {"vectors": True}, {"noise": "token"}, {"seed": 1}]
    losses = [expected_losses(adapted, batches, [0.5], **options) for options in places]
    assert len({loss for (loss,) in losses}) == len(places)
    assert losses[0] == expected_losses(adapted, batches, [0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ladder": ()}, "ladder is"),
        ({"ladder": (0.1, 0.05)}, "from small to large"),
        ({"ladder": (0.0, 0.05)}, "above 0"),
        ({"share": 0.0}, "share is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"batches": []}, "no batch"),
        ({"batches": [{"input_ids": torch.ones(1, 3).long()}]}, "no loss"),
        ({"batches": [{"texts": 1}]}, "does not accept"),
    ],
)
def test_bad_input_is_named(
    adapted: nn.Module, batches: list[dict[str, Tensor]], options: dict, message: str
) -> None:
    with pytest.raises(Mistake, match=message):
        auto_rho(adapted, **{"batches": batches, **options})


def train(
    model: nn.Module, folder: Path, *callbacks: TrainerCallback, resume: bool = False, **options: object
) -> dict[str, Tensor]:
    """Train a copy of the model with a Trainer and return its state."""
    arguments = trainer_options(folder, max_steps=6, per_device_train_batch_size=4) | options
    data = arguments.pop("data", Rows())
    model = copy.deepcopy(model)
    Trainer(model, TrainingArguments(**arguments), train_dataset=data, callbacks=list(callbacks)).train(
        resume_from_checkpoint=resume
    )
    return model.state_dict()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_is_that_with_the_same_rho_given(
    adapted: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = FlatLoRA("auto", share=0.5)
    with caplog.at_level(logging.INFO, "lowland"):
        measured = train(adapted, tmp_path, callback, data=Changing())
    assert callback.measured is not None
    assert callback.measured.rho in auto.LADDER
    assert caplog.text.count(f"rho is {callback.measured.rho:g}, the strongest noise") == 1
    with_that_rho = train(adapted, tmp_path, FlatLoRA(callback.measured.rho), data=Changing())
    assert equal(measured, with_that_rho)
    assert not equal(measured, train(adapted, tmp_path, FlatLoRA(callback.measured.rho / 2), data=Changing()))
    elsewhere = FlatLoRA("auto", share=0.5, layers="query")
    train(adapted, tmp_path, elsewhere, max_steps=1)
    assert elsewhere.measured.losses[0] != callback.measured.losses[0]


def test_a_resumed_run_continues_with_the_rho_that_it_chose(
    adapted: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3}
    whole, resumed = FlatLoRA("auto", share=0.5), FlatLoRA("auto", share=0.5)
    straight = train(adapted, tmp_path, whole, **saving)
    last = tmp_path / "checkpoint-6"
    entries = json.loads((last / "trainer_state.json").read_text())["log_history"]
    assert [entry["flat_rho"] for entry in entries if "flat_rho" in entry] == [whole.measured.rho]
    last.rename(tmp_path / "done")
    monkeypatch.setattr(auto, "auto_rho", None)  # no loss is measured a second time
    assert equal(straight, train(adapted, tmp_path, resumed, resume=True, **saving))
    assert (resumed.measured.rho, resumed.measured.base) == (whole.measured.rho, whole.measured.base)


def test_a_stream_is_refused_in_words(adapted: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="these data are a stream"):
        train(adapted, tmp_path, FlatLoRA("auto"), data=Stream())


def test_a_share_out_of_its_range_is_refused_at_once() -> None:
    with pytest.raises(Mistake, match="share is -1"):
        FlatLoRA("auto", share=-1)
    with pytest.raises(Mistake, match=r'share is 0\.1, and is used only with rho="auto"'):
        FlatLoRA(0.05, share=0.1)


def test_the_warning_of_much_noise_names_its_effect(adapted: nn.Module, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"rho is 3: .* first batch from [\d.]+ to [\d.]+\); usual"
    ) as warned:
        train(adapted, tmp_path, FlatLoRA(3.0), max_steps=1)
    assert len([warning for warning in warned if "rho is 3" in str(warning.message)]) == 1
    with pytest.warns(UserWarning, match="rho is 3: .* than the output itself; usual"):
        train(adapted, tmp_path, FlatLoRA(3.0), max_steps=1, data=Stream())
    with pytest.warns(UserWarning, match="rho is 2: "), flat.arm(adapted, rho=2.0, total_steps=1):
        pass
