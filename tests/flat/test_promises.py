"""The promises of docs/flat-lora.md: a test a sentence, which the test's docstring quotes.

Here are the promises of the section "How to use it"; the other sections have files of their own. Two tests compare the
quotes with the document, so that neither can change without the other.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lowland import FlatLoRA, flat
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from lowland.train.methods import method_named
from lowland.train.table import METHODS
from tests.flat import (
    document,
    test_promises_of_auto,
    test_promises_of_noise,
    test_promises_of_options,
    test_promises_of_support,
)
from tests.flat.conftest import ours, peft_lora, results, rows
from tests.flat.trainers import STEADY, Watch, equal, run, state, trainer
from tests.train.runs import adapt as adapted_by

SECTIONS = ("How to use it", "Options", 'rho = "auto"', "What is guaranteed", "What is supported")
NO_BEHAVIOUR = (
    "It is meant for experiments.",
    "It changes what the model reads, and does not make the minimum flat in the weights.",
    "This is lowland's own, and not part of the paper.",
    "The right strength of the noise differs from model to model.",
    "At the start the adapter has learned nothing; later the loss is lower and the noise, under the default schedule,"
    " is strongest.",
    "So the measurement finds the order of magnitude and does not replace validation.",
)
"""Sentences that explain, and promise nothing that a test could break."""
ELSEWHERE = ("`examples/hello_t5.py` is the paper's own sanity run",)
"""Starts of sentences that only a long test can keep: test_hello_t5.py."""


def all_quotes() -> dict[str, str]:
    from tests.flat import test_promises

    modules = (
        test_promises,
        test_promises_of_options,
        test_promises_of_auto,
        test_promises_of_noise,
        test_promises_of_support,
    )
    return {name: quote for module in modules for name, quote in document.quotes(module).items()}


def test_every_quoted_sentence_stands_in_the_document() -> None:
    """## How to use it"""
    text = document.in_one_line(document.DOCS)
    assert {name: quote for name, quote in all_quotes().items() if not quote or quote not in text} == {}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_sentence_is_quoted(section: str) -> None:
    """## What is guaranteed"""
    kept = [*all_quotes().values(), *NO_BEHAVIOUR, *test_promises_of_support.REFUSED]
    unkept = [
        sentence
        for sentence in document.sentences(section)
        if not any(quote in sentence or sentence in quote for quote in kept)
        and not sentence.startswith(ELSEWHERE)
    ]
    assert unkept == []


# How to use it


def test_one_callback_in_transformers_trainer(adapt: Any, tmp_path: Path) -> None:
    """In a Trainer of transformers or TRL, on lowland's LoRA layers or on PEFT's, it is one callback:"""
    model = adapt()
    watch = Watch(model)
    run(model, tmp_path, FlatLoRA(**STEADY), watch)
    assert len(set(watch.draws())) == 6
    assert None not in watch.draws()


def test_one_callback_in_trl(tmp_path: Path) -> None:
    """(TRL: `SFTTrainer(model, peft_config=LoraConfig(), …, callbacks=[FlatLoRA(rho=0.05)])`.)"""
    from tests.flat import test_trl as in_trl

    watch = in_trl.Watch()
    parts = in_trl.small_llama(), in_trl.small_lora(), in_trl.word_tokenizer()
    in_trl.sft(*parts, tmp_path, FlatLoRA(**STEADY), watch, max_steps=2).train()
    assert watch.seen == [(True, True, True, True)] * 2


WORKS: dict[str, Callable[[Any, Path], dict[str, Tensor]]] = {
    "save_pretrained": lambda model, folder: saved(model, folder),
    "merge_and_unload": lambda model, folder: copy.deepcopy(model).merge_and_unload().state_dict(),
    "disable_adapter": lambda model, folder: {"y": without_adapter(model)},
    "state_dict": lambda model, folder: model.state_dict(),
    "pickling": lambda model, folder: state(pickle.loads(pickle.dumps(model))),
    "copying": lambda model, folder: {**state(copy.deepcopy(model)), "y": copy.deepcopy(model)(rows())},
}


def saved(model: Any, folder: Path) -> dict[str, Tensor]:
    model.save_pretrained(folder)
    return load_file(folder / "adapter_model.safetensors")


def without_adapter(model: Any) -> Tensor:
    with model.disable_adapter():
        return model(rows())


@pytest.mark.parametrize("work", WORKS)
def test_in_mid_step_it_works_as_without_noise(work: str, tmp_path: Path) -> None:
    """Nothing else changes: `save_pretrained`, `merge_and_unload`, `disable_adapter`, `state_dict`, pickling and
    copying work as in a model without noise"""
    model, plain = peft_lora(), peft_lora()
    with flat.arm(model, **STEADY) as noise:
        noise.begin_step(1)
        assert not torch.equal(model(rows()), plain(rows()))
        assert equal(WORKS[work](model, tmp_path / "armed"), WORKS[work](plain, tmp_path / "plain"))


def test_after_training_the_model_is_ordinary(adapt: Any, tmp_path: Path) -> None:
    """after training the model is an ordinary one."""
    model = adapt()
    plain = copy.deepcopy(model)
    trainer(model, tmp_path, FlatLoRA(**STEADY), max_steps=2).train()
    trainer(plain, tmp_path, max_steps=2).train()
    for module, other in zip(model.modules(), plain.modules(), strict=True):
        assert type(module) is type(other)
        assert vars(module).keys() == vars(other).keys()


def test_a_loop_of_ones_own() -> None:
    """In a loop of your own:"""
    model, noisy = ours(), []
    plain = results(model, rows())["y"]
    with flat.arm(model.train(), rho=0.05, total_steps=3) as noise:
        for step in range(3):
            noise.begin_step(step)
            noisy.append(not torch.equal(results(model, rows())["y"], plain))
            noise.end_step()
            assert torch.equal(results(model, rows())["y"], plain)
    assert noisy == [False, True, True]  # the ramp starts at 0
    assert not any(isinstance(module, Perturbed) for module in model.modules())


def test_accumulated_micro_batches_are_one_batch() -> None:
    """Under gradient accumulation, run all forward passes of one optimizer step between its `begin_step` and
    `end_step`."""
    model, x = ours().double(), rows(torch.float64)
    with flat.arm(model, **STEADY) as noise:
        noise.begin_step(1)
        whole = results(model, x)
        model.zero_grad()
        for part in x.split(2):
            model(part).pow(3).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, whole[name])


def test_noise_acts_between_begin_step_and_end_step() -> None:
    """A forward pass before the first `begin_step`, or between `end_step` and the next `begin_step`, has no noise."""
    model, plain = peft_lora(), peft_lora()(rows())
    with flat.arm(model, **STEADY) as noise:
        assert torch.equal(model(rows()), plain)
        noise.begin_step(1)
        assert not torch.equal(model(rows()), plain)
        noise.end_step()
        assert torch.equal(model(rows()), plain)


def test_training_without_a_step_is_said() -> None:
    """If the `with` block ends, and the model was trained although no step was begun, there is a warning."""
    model = peft_lora().train()
    with pytest.warns(UserWarning, match="trained without noise"), flat.arm(model, **STEADY):
        model(rows())
    for passes in (lambda: model.eval()(rows()), lambda: None):
        with flat.arm(model.train(), **STEADY):
            passes()


def test_disarming_without_a_context() -> None:
    """Without `with`, call `noise.disarm()` at the end."""
    model = peft_lora()
    noise = flat.arm(model, **STEADY)
    noise.begin_step(1)
    noise.disarm()
    assert torch.equal(model(rows()), peft_lora()(rows()))
    assert not any(isinstance(module, Perturbed) for module in model.modules())


@pytest.mark.parametrize("row", METHODS)
def test_flat_goes_in_front_of_any_method_with_an_adapter(row: str, bert: nn.Module) -> None:
    """put `flat+` in front of any other method with an adapter (`--rho`)."""
    if row == "full":
        assert method_named("flat+full") is METHODS["flat-full"]
        return
    if row in ("flat-lora", "sam-full") or not METHODS[row].has_adapter:
        with pytest.raises(Mistake, match=row):
            method_named(f"flat+{row}")
        return
    method = method_named(f"flat+{row}")
    assert "flat" in method.prefixes
    assert "rho" in method.uses
    with flat.arm(adapted_by(method.name, bert).model, **STEADY) as noise:
        assert noise.layers


def test_the_command_line(lowland: Callable[..., tuple]) -> None:
    """On the command line, use the method `flat-lora`"""
    options = ("--rho", "0.1", "--epochs", "1")
    assert lowland("train", "--method", "flat-lora", *options)[0] == 0
    assert lowland("train", "--method", "lora", *options)[0] == 2  # LoRA has no rho
