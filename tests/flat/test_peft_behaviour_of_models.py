"""Whole models: what PEFT's do between steps and in the middle of one, armed ones do, to the bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
)
from torch import Tensor, nn

from lowland import flat
from lowland.flat.perturbed import Perturbed
from tests.flat.behaviours import (
    Model,
    flags,
    same,
    with_other,
)
from tests.flat.conftest import filled

ARMED: dict[str, Any] = {"rho": 0.5, "schedule": "constant"}


def language_model(gpt2: nn.Module) -> Model:
    names = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}
    return filled(get_peft_model(copy.deepcopy(gpt2), LoraConfig(r=2, **names)))


def classifier(bert: nn.Module) -> Model:
    names = {"target_modules": ["query", "value"], "modules_to_save": ["classifier"], "task_type": "SEQ_CLS"}
    return filled(get_peft_model(copy.deepcopy(bert), LoraConfig(r=2, **names)))


def of_trained_tokens(bert: nn.Module) -> Model:
    tokens = {"trainable_token_indices": {"word_embeddings": [7, 8]}, "target_modules": ["query"]}
    return filled(get_peft_model(copy.deepcopy(bert), LoraConfig(r=2, **tokens)))


def integrated(bert: nn.Module) -> Model:
    """Return a model whose adapter was added by transformers."""
    model: Any = copy.deepcopy(bert)
    model.add_adapter(LoraConfig(r=2, target_modules=["query"]))
    return filled(model)


def injected(bert: nn.Module) -> Model:
    config = LoraConfig(r=2, target_modules=["query"])
    return filled(inject_adapter_in_model(config, copy.deepcopy(bert)))


def mixed(bert: nn.Module) -> Model:
    config = LoraConfig(r=2, target_modules=["query"])
    return filled(get_peft_model(copy.deepcopy(bert), config, mixed=True))


def is_used_by_transformers(model: Model, tokens: Tensor, folder: Path) -> Any:
    model.save_pretrained(folder)
    model.disable_adapters()
    off = logits(model, tokens)
    model.enable_adapters()
    model.add_adapter(LoraConfig(r=2, target_modules=["query"]), "more")
    filled(model)
    model.set_adapter("more")
    more = logits(model, tokens), model.active_adapters()
    model.delete_adapter("more")
    model.set_adapter("default")
    return (
        sorted(path.name for path in folder.iterdir()),
        off,
        *more,
        logits(model, tokens),
        model.config.to_dict(),
    )


def is_one_of_several_tuners(model: Model, tokens: Tensor, folder: Path) -> Any:
    with model.disable_adapter():
        off = logits(model, tokens)
    merged = copy.deepcopy(model).merge_and_unload()
    return off, logits(model, tokens), logits(merged, tokens), repr(model)


def has_a_state(model: Model, tokens: Tensor, folder: Path) -> Any:
    twin = pickle.loads(pickle.dumps(model))
    twin.load_state_dict(model.state_dict())
    return dict(model.state_dict()), get_peft_model_state_dict(model), logits(twin, tokens), repr(model)


def generates(model: Model, tokens: Tensor, folder: Path) -> Any:
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    greedy = [model.train(mode).generate(input_ids=tokens[:, :3], **options) for mode in (True, False)]
    torch.manual_seed(3)
    return greedy, model.train().generate(input_ids=tokens[:, :3], **options | {"do_sample": True})


def saves_the_head_too(model: Model, tokens: Tensor, folder: Path) -> Any:
    model.save_pretrained(folder)
    base = copy.deepcopy(model).unload()
    return PeftModel.from_pretrained(base, folder).eval()(tokens).logits, logits(model, tokens)


def switches_heads(model: Model, tokens: Tensor, folder: Path) -> Any:
    with_other(model)
    first = logits(model, tokens)
    model.set_adapter("more")
    second = logits(model, tokens), flags(model)
    with model.disable_adapter():
        off = logits(model, tokens)
    model.set_adapter("default")
    return first, *second, off, logits(model, tokens)


def is_checkpointed(model: Model, tokens: Tensor, folder: Path) -> Any:
    former = "gradient_checkpointing"  # its name until transformers 6
    name = "activation_checkpointing" if hasattr(model, "activation_checkpointing_enable") else former
    getattr(model, f"{name}_enable")()
    model(input_ids=tokens).logits.sum().backward()
    trained = {name: p.grad is not None for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    getattr(model, f"{name}_disable")()
    return trained, logits(model, tokens)


def logits(model: Model, tokens: Tensor) -> Tensor:
    training = model.training
    y = model.eval()(input_ids=tokens).logits.detach()
    model.train(training)
    return y


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("in_step", [False, True], ids=["between steps", "in a step"])
@pytest.mark.parametrize(
    ("build_whole", "behaviour"),
    [
        (language_model, generates),
        (language_model, is_checkpointed),
        (classifier, saves_the_head_too),
        (classifier, switches_heads),
        (classifier, is_checkpointed),
        (of_trained_tokens, saves_the_head_too),
        (of_trained_tokens, is_checkpointed),
        (integrated, is_used_by_transformers),
        (integrated, is_checkpointed),
        (injected, has_a_state),
        (mixed, is_one_of_several_tuners),
    ],
)
def test_an_armed_whole_model_behaves_as_one_without_noise(
    build_whole: Callable[[nn.Module], Model],
    behaviour: Callable[[Model, Tensor, Path], Any],
    in_step: bool,
    bert: nn.Module,
    gpt2: nn.Module,
    tokens: Tensor,
    tmp_path: Path,
) -> None:
    base = gpt2 if build_whole is language_model else bert
    with torch.random.fork_rng():
        torch.manual_seed(1)
        plain = build_whole(base)
        model = copy.deepcopy(plain)
        state = torch.random.get_rng_state()
        expected = behaviour(plain, tokens, tmp_path / "plain")
        with flat.arm(model, **ARMED) as noise:
            if in_step:
                noise.begin_step(1)
            torch.random.set_rng_state(state)
            actual = behaviour(model, tokens, tmp_path / "armed")
            noise.begin_step(2)
    assert same(actual, expected)
    assert not any(isinstance(part, Perturbed) for part in model.modules())
