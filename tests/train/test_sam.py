"""SAM in both spaces: whole optimizer steps against a plain two-pass reference, and what stays as without it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback

from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_fields
from lowland.train.check_fit import check_methods_fit
from lowland.train.fit import fit
from lowland.train.sam import SAM, stepped_parameters
from tests.invariants.test_paired import same, watched
from tests.train.runs import adapt, run, small_job

RHO = 0.5
SAMS = ("sam-lora", "sam-full")


@pytest.fixture
def data(texts: Path) -> TaskData:
    """The usual texts, of which 48 are trained on."""
    return load_data(task_fields("classification", data=str(texts), max_train=48))


class WithoutDropout(TrainerCallback):
    """Switches off all dropout."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **rest: Any) -> None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0


class Steps(WithoutDropout):
    """Records each optimizer step: its batches, and the parameters and gradients that the optimizer gets."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Tensor]] = []
        self.steps: list[tuple[list[dict[str, Tensor]], nn.Module, dict[str, Tensor]]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **rest: Any) -> None:
        super().on_train_begin(args, state, control, model)
        model.register_forward_pre_hook(self._record, with_kwargs=True)

    def _record(self, model: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if model.training:
            self.batches.append({name: v for name, v in kwargs.items() if isinstance(v, Tensor)})

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: nn.Module, **rest: Any
    ) -> None:
        model.bert._forward_pre_hooks.clear()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        plain = small_copy(model)
        self.steps.append((self.batches, plain, grads))
        self.batches = []


def small_copy(model: nn.Module) -> nn.Module:
    """Return a copy without hooks, SAM and gradients."""
    plain = copy.deepcopy(model)
    plain._forward_pre_hooks.clear()
    plain.zero_grad()
    return plain


def loss_of(model: nn.Module, batches: list[dict[str, Tensor]]) -> Tensor:
    """Return the mean loss over the examples of all batches, plainly."""
    sums = [
        cross_entropy(
            model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits,
            b["labels"],
            reduction="sum",
        )
        for b in batches
    ]
    return torch.stack(sums).sum() / sum(len(b["labels"]) for b in batches)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def sam_over_factors(model: nn.Module, batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Reference: the gradient at (A, B) + e, by two plain passes."""
    factors = [value for name, value in model.named_parameters() if "lora_" in name]
    gradient = torch.autograd.grad(loss_of(model, batches), factors)
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    with torch.no_grad():
        for factor, g in zip(factors, gradient, strict=True):
            factor += RHO * g / norm
    loss_of(model, batches).backward()
    return gradients(model)


def sam_over_weights(model: nn.Module, batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Reference: the gradient at W' + e, by two plain passes with e as a tensor beside each layer."""
    eps = {
        name: torch.zeros_like(layer.base.weight, requires_grad=True) for name, layer in lora_layers(model)
    }
    for name, layer in lora_layers(model):
        layer.register_forward_hook(lambda layer, inputs, y, e=eps[name]: y + inputs[0] @ e.T)
    gradient = torch.autograd.grad(loss_of(model, batches), list(eps.values()))
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    with torch.no_grad():
        for e, g in zip(eps.values(), gradient, strict=True):
            e += RHO * g / norm
            e.requires_grad_(False)
    loss_of(model, batches).backward()
    return gradients(model)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(
    ("method", "reference"), [("sam-lora", sam_over_factors), ("sam-full", sam_over_weights)]
)
def test_the_optimizer_gets_the_gradient_at_the_step_of_the_whole_batch(
    data: TaskData, source: ModelSource, method: str, reference: Any, accumulation: int
) -> None:
    seen = Steps()
    changes = {"epochs": 1, "batch_size": 8, "accumulation": accumulation, "sam_rho": RHO}
    fit(small_job(method, data, source, **changes), [seen])
    assert len(seen.steps) >= 2
    for batches, model, gradients in seen.steps[:3]:
        assert len(batches) == 2 * accumulation
        expected = reference(model, batches[:accumulation])
        total = torch.cat([g.flatten() for g in expected.values()]).norm()
        clip = min(1.0, 1.0 / (total.item() + 1e-6))
        assert expected.keys() == gradients.keys()
        for name, g in expected.items():
            torch.testing.assert_close(gradients[name], g * clip, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("method", SAMS)
def test_rho_zero_is_lora_to_the_bit_and_another_rho_is_not(
    data: TaskData, source: ModelSource, method: str, dtype: str
) -> None:
    changes = {"dtype": dtype, "dropout": 0.1, "batch_size": 8, "accumulation": 2, "epochs": 1}
    lora = run("lora", data, source, **changes)
    assert same(lora, run(method, data, source, sam_rho=0.0, **changes))
    there = run(method, data, source, sam_rho=0.05, **changes)
    assert not same(lora, there)
    assert same(there, run(method, data, source, sam_rho=0.05, **changes))


def test_with_noise_in_front_rho_zero_is_the_noise_alone(data: TaskData, source: ModelSource) -> None:
    """Both passes have the step's noise: NEFTune's draws begin again, and Flat-LoRA's draw stays."""
    alone = run("neftune+flat-lora", data, source, epochs=1)
    assert same(alone, run("neftune+sam+flat-lora", data, source, epochs=1, sam_rho=0.0))


@pytest.mark.parametrize("method", SAMS)
def test_accumulation_changes_nothing(data: TaskData, source: ModelSource, method: str) -> None:
    changes = {"epochs": 1, "sam_rho": RHO, "callbacks": [WithoutDropout()]}
    whole = run(method, data, source, batch_size=8, **changes)
    parts = run(method, data, source, batch_size=1, accumulation=8, **changes)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-4)
    columns = [name for name in whole.predictions if name.startswith("p_")]
    np.testing.assert_allclose(parts.predictions[columns], whole.predictions[columns], atol=1e-4)


@pytest.mark.parametrize("method", SAMS)
def test_both_passes_of_a_step_see_its_batches_with_the_masks_of_lora(
    data: TaskData, source: ModelSource, method: str
) -> None:
    changes = {"dropout": 0.1, "batch_size": 8, "accumulation": 2, "epochs": 1}
    (plain, _), (twice, _) = (watched(data, source, name, **changes) for name in ("lora", method))
    steps = len(plain.batches) // 2
    assert steps >= 3
    for step in range(steps):
        part, both = slice(2 * step, 2 * step + 2), slice(4 * step, 4 * step + 4)
        assert twice.batches[both] == 2 * plain.batches[part]
        pairs = zip(twice.masks[both], 2 * plain.masks[part], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_head_takes_no_step_beside_an_adapter_and_all_do_without_one(bert: nn.Module) -> None:
    names = {id(value): name for name, value in bert.named_parameters()}
    assert len(stepped_parameters(adapt("full", bert).model)) == len(names)
    model = adapt("lora", bert).model
    steps = stepped_parameters(model)
    assert {id(value) for value in steps} == {
        id(value) for name, value in model.named_parameters() if "lora_" in name
    }


@pytest.mark.parametrize("method", ["dora", "ia3"])
def test_the_head_takes_no_step_beside_an_adapter_of_peft(bert: nn.Module, method: str) -> None:
    model = adapt(method, bert).model
    trained = {id(value): name for name, value in model.named_parameters() if value.requires_grad}
    steps = {trained.pop(id(value)) for value in stepped_parameters(model)}
    assert steps
    assert not any("classifier" in name for name in steps)
    assert all("classifier" in name for name in trained.values())


def test_a_step_that_an_interrupted_run_left_is_undone() -> None:
    model = nn.Linear(2, 2)
    before = copy.deepcopy(model.state_dict())
    sam = SAM(rho=1.0)
    sam.on_train_begin(None, None, None, model=model)
    sam.before_batches(lambda: model(torch.ones(1, 2)).sum().backward())
    assert not torch.equal(model.weight, before["weight"])
    sam.on_train_begin(None, None, None, model=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", SAMS)
def test_several_processes_and_compile_are_refused_by_name(
    data: TaskData, source: ModelSource, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job(method, data, source, compile=True)
    if method == "sam-full":
        with pytest.raises(Mistake, match=r"^sam-full does not work with torch.compile; leave compile out"):
            check_methods_fit([job])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Mistake, match=rf"(?m)^{method} does not work where 2 processes train one run"):
        check_methods_fit([small_job(method, data, source)])
