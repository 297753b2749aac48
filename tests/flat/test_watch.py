"""Adapters and hooks that change after arming are noticed when the next step begins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import nn

from lowland import LoRAConfig, add_lora, flat, merge_lora, remove_lora
from lowland.flat.linear import base_of
from lowland.ground.mistakes import Mistake
from tests.flat.conftest import net, ours, peft_lora


def add_adapter(model: Any, name: str, **options: Any) -> None:
    config = LoraConfig(**{"r": 2, "target_modules": ["up", "down"], **options})
    model.add_adapter(name, config)
    model.base_model.set_adapter([name])


def replace_forward(module: Any) -> None:
    real = module.forward
    module.forward = lambda x: 2 * real(x)


def first(model: nn.Module) -> Any:
    return next(module for name, module in model.named_modules() if name.endswith("up"))


CHANGES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any], str]] = {
    "a layer is adapted": (
        lambda: peft_lora(target_modules=["up"]),
        lambda model: add_adapter(model, "more", target_modules=["down"]),
        "down was adapted after the model was armed, and gets no noise",
    ),
    "a layer is adapted by lowland": (
        lambda: add_lora(net(), LoRAConfig(r=2, targets=("up",))).train(),
        lambda model: setattr(model, "down", ours().down),
        "down was adapted after the model was armed, and gets no noise",
    ),
    "two are active, one of them DoRA": (
        peft_lora,
        lambda model: (
            add_adapter(model, "more", use_dora=True),
            model.base_model.set_adapter(["default", "more"]),
        ),
        "up cannot get noise any more: DoRA with several active adapters is not supported",
    ),
    "a variant without support": (
        peft_lora,
        lambda model: add_adapter(model, "more", init_lora_weights="mica"),
        "up cannot get noise any more: PEFT's MiCALinearVariant is not supported",
    ),
    "a hook on a base": (
        ours,
        lambda model: base_of(first(model)).register_forward_hook(print),
        "up cannot get noise any more: its base layer has hooks",
    ),
    "a replaced forward of a base": (
        peft_lora,
        lambda model: replace_forward(base_of(first(model))),
        "up cannot get noise any more: its forward method was replaced",
    ),
    "a trained base": (
        ours,
        lambda model: base_of(first(model)).weight.requires_grad_(True),
        "up cannot get noise any more: its base layer is trained",
    ),
    "a merged adapter": (
        peft_lora,
        lambda model: model.merge_adapter(),
        "up cannot get noise any more: its adapter is merged, and was not unmerged",
    ),
    "a merged adapter of lowland's": (
        ours,
        merge_lora,
        "up cannot get noise any more: its adapter is merged, and was not unmerged",
    ),
    "an adapter that was merged and unloaded": (
        peft_lora,
        lambda model: model.merge_and_unload(),
        "up is no longer in the model, after merge_and_unload or unload perhaps",
    ),
    "adapters that were removed": (
        ours,
        remove_lora,
        "up is no longer in the model",
    ),
    "a layer that was replaced": (
        ours,
        lambda model: setattr(model, "up", copy.deepcopy(model.up)),
        "up is no longer in the model",
    ),
    "a replaced forward of a layer": (
        ours,
        lambda model: replace_forward(first(model)),
        "up cannot get noise any more: its forward method was replaced",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_arming_would_refuse_is_refused_at_the_next_step(case: str) -> None:
    build, change, sentence = CHANGES[case]
    model = build()
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        noise.begin_step(0)
        noise.end_step()
        change(model)
        with pytest.raises(Mistake) as caught:
            noise.begin_step(1)
    (problem,) = caught.value.problems
    assert sentence in problem
    assert problem.endswith("disarm the model, and arm it when its adapters are complete")


def test_an_adapter_may_be_merged_between_the_steps() -> None:
    model: Any = peft_lora()
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        noise.begin_step(0)
        noise.end_step()
        model.merge_adapter()
        model.unmerge_adapter()
        noise.begin_step(1)


def test_another_plain_adapter_on_the_same_layers_may_be_activated() -> None:
    model: Any = peft_lora()
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        noise.begin_step(0)
        add_adapter(model, "more")
        noise.begin_step(1)
        x = torch.ones(2, 10)
        noisy = model(x)
        noise.end_step()
        assert not torch.equal(noisy, model(x))
        model.base_model.set_adapter(["default"])
        noise.begin_step(2)


def test_a_model_that_does_not_change_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lowland.flat import watch

    with flat.arm(ours(), rho=0.5, schedule="constant") as noise:
        monkeypatch.setattr(watch, "layers_to_perturb", lambda *rest: pytest.fail("checked again"))
        for step in range(3):
            noise.begin_step(step)
            noise.end_step()


def test_after_an_accepted_change_the_model_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from lowland.flat import watch

    model: Any = peft_lora()
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        add_adapter(model, "more")
        noise.begin_step(0)
        monkeypatch.setattr(watch, "layers_to_perturb", lambda *rest: pytest.fail("checked again"))
        noise.begin_step(1)
