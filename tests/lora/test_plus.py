"""LoRA+: B's learning rate is a multiple of A's, and each trained parameter is in exactly one group."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification, Trainer, TrainingArguments

from lowland.ground.mistakes import Mistake
from lowland.lora import LoRAConfig, add_lora
from lowland.lora.plus import lora_plus_groups


@pytest.fixture
def odd() -> nn.Module:
    """Return a model with norms under every usual name, and a linear layer."""
    names = ("norm", "q_norm", "my_rmsnorm", "input_layernorm", "normal")
    return nn.ModuleDict(
        {**{name: nn.RMSNorm(8) for name in names}, "proj": nn.Linear(8, 8), "last": nn.LayerNorm(8)}
    )


@pytest.fixture
def llama() -> nn.Module:
    """Return a Llama classifier, whose norms are not `nn.LayerNorm`."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        return LlamaForSequenceClassification(LlamaConfig(vocab_size=64, num_labels=3, **sizes))


def settings(model: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Return (lr, weight decay) of each trained parameter by name; each must be in exactly one group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    pairs = [
        (names[parameter], (group["lr"], group["weight_decay"]))
        for group in groups
        for parameter in group["params"]
    ]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_b_learns_ratio_times_as_fast_and_all_that_is_trained_is_there(bert: nn.Module) -> None:
    add_lora(bert, LoRAConfig(r=2, modules_to_save=("classifier", "bert.embeddings.LayerNorm")))
    rates = settings(bert, lora_plus_groups(bert, lr=0.01, ratio=4.0, weight_decay=0.1))
    assert set(rates) == {name for name, parameter in bert.named_parameters() if parameter.requires_grad}
    assert {lr for name, (lr, _) in rates.items() if name.endswith("lora_B")} == {0.04}
    assert {lr for name, (lr, _) in rates.items() if not name.endswith("lora_B")} == {0.01}


@pytest.mark.parametrize("model_name", ["bert", "llama", "gpt2", "odd"])
def test_weight_decay_is_where_the_trainer_has_it(
    model_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(model_name)
    add_lora(model, LoRAConfig(r=2))
    model.requires_grad_(True)
    trainer = Trainer(model, TrainingArguments(output_dir=str(tmp_path), report_to="none"))
    expected = set(trainer.get_decay_parameter_names(model))
    rates = settings(model, lora_plus_groups(model, lr=0.01, weight_decay=0.1))
    assert 0 < len(expected) < len(rates)
    assert {name for name, (_, decay) in rates.items() if decay == 0.1} == expected & set(rates)
    assert {decay for _, decay in rates.values()} == {0.0, 0.1}


def test_the_rates_of_a_and_b_are_those_that_peft_gives(bert: nn.Module) -> None:
    model = get_peft_model(bert, LoraConfig(r=2, target_modules=["query", "value"]))
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=16.0)
    expected = {parameter: group["lr"] for group in theirs.param_groups for parameter in group["params"]}
    ours = {
        parameter: group["lr"] for group in lora_plus_groups(model, lr=0.01) for parameter in group["params"]
    }
    assert ours == expected
    assert set(ours.values()) == {0.01, 0.16}


def test_a_step_moves_b_ratio_times_as_far(bert: nn.Module, tokens: torch.Tensor) -> None:
    add_lora(bert, LoRAConfig(r=2, modules_to_save=("classifier",)))
    for name, parameter in bert.named_parameters():
        if name.endswith("lora_B"):
            nn.init.normal_(parameter, std=0.1)  # so that A has a gradient, too
    before = {
        name: parameter.detach().clone()
        for name, parameter in bert.named_parameters()
        if parameter.requires_grad
    }
    optimizer = torch.optim.SGD(lora_plus_groups(bert, lr=0.01, ratio=8.0))
    bert(tokens, labels=torch.tensor([0, 1, 2])).loss.backward()
    optimizer.step()
    for name, parameter in bert.named_parameters():
        if name in before:
            rate = 0.08 if name.endswith("lora_B") else 0.01
            torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad)


def test_models_and_values_that_cannot_be_used_are_refused(bert: nn.Module) -> None:
    with pytest.raises(Mistake, match="no LoRA layers that are trained"):
        lora_plus_groups(bert, lr=0.01)
    with pytest.raises(Mistake) as caught:
        lora_plus_groups(bert, lr=0.0, ratio=math.nan, weight_decay=-0.1)
    assert len(caught.value.problems) == 3
