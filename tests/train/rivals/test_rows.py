"""The rivals as rows: in front of them, beside LoRA, and what they leave."""

from __future__ import annotations

import pytest
import torch

from lowland.ground.mistakes import Mistake
from lowland.lora import LoRALinear, lora_layers
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train.methods import method_named
from lowland.train.rivals.rows import RIVALS
from tests.train.runs import adapt, run, settings_of

NAMES = tuple(row.name for row in RIVALS)


@pytest.mark.parametrize(
    "name", ["neftune+bar", "flat+bi-lora", "ema+efm-lora", "flat+mgpo", "swa+ivon-lora"]
)
def test_prefixes_stand_in_front_and_nothing_of_the_training_is_left(
    name: str, data: TaskData, source: ModelSource
) -> None:
    model = run(name, data, source, epochs=1).fitted.adapted.model
    plain = run("lora", data, source, epochs=1).fitted.adapted.model
    assert {key for key, _ in model.named_parameters()} == {key for key, _ in plain.named_parameters()}
    assert {type(layer) for _, layer in lora_layers(model)} == {LoRALinear}
    for (_, ours), (_, theirs) in zip(lora_layers(model), lora_layers(plain), strict=True):
        assert torch.equal(ours.weight, theirs.weight)  # W
        assert not torch.equal(ours.lora_B, theirs.lora_B)


@pytest.mark.parametrize("name", NAMES)
def test_a_rival_begins_at_loras_loss_and_then_learns_otherwise(
    name: str, data: TaskData, source: ModelSource
) -> None:
    losses = run(name, data, source, batch_size=4).losses
    plain = run("lora", data, source, batch_size=4, lr=0.01).losses
    assert losses[0] == pytest.approx(plain[0], abs=0.1)
    assert losses != plain


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["sam", "sam-w"])
def test_sam_does_not_stand_in_front(prefix: str, name: str) -> None:
    with pytest.raises(Mistake, match=f"{prefix} and {name} exclude each other"):
        method_named(f"{prefix}+{name}")


def test_the_second_adapter_has_the_firsts_shape_a_start_of_its_own_and_no_effect_in_evaluation() -> None:
    model = adapt("bi-lora", torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))).model
    for _, layer in lora_layers(model):
        assert layer.auxiliary_A.shape == layer.lora_A.shape
        assert not torch.equal(layer.auxiliary_A, layer.lora_A)
        assert not layer.auxiliary_B.any()
        torch.nn.init.ones_(layer.auxiliary_B)
    layer = next(layer for _, layer in lora_layers(model))
    x = torch.randn(3, layer.in_features)
    assert torch.equal(layer.eval()(x), x @ layer.weight.T + layer.bias)
    assert not torch.equal(layer.train()(x), layer.eval()(x))
    assert settings_of("bi-lora").bi_rho == 0.05
