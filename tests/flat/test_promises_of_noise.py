"""What docs/flat-lora.md guarantees of the noise: a test a sentence, which its docstring quotes."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import TrainerCallback

from lowland import FlatLoRA, LoRAConfig, add_lora, flat
from lowland.flat.linear import base_of
from lowland.ground.mistakes import Mistake
from tests.flat.conftest import (
    KINDS,
    canonical,
    net,
    ours,
    peft_lora,
    results,
    rows,
    under_explicit_noise,
)
from tests.flat.trainers import STEADY, Rows, Watch, adapted_layers, equal, is_trained, run, state, trainer

ARMED: dict[str, Any] = {"rho": 0.5, "schedule": "constant"}


def agree(kind: str, **options: Any) -> None:
    """Compare the output and all gradients of a kind of model with those of x (W' + eps)ᵀ by plain autograd."""
    model, x = KINDS[kind]().double(), rows(torch.float64)
    plain = copy.deepcopy(model)
    with flat.arm(model, **ARMED, **options) as noise:
        noise.begin_step(3)
        eps = {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}
        noisy = results(model, x)
    explicit, clean = results(under_explicit_noise(plain, eps), x), results(plain, x)
    for name, tensor in explicit.items():
        torch.testing.assert_close(noisy[name], tensor, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(noisy[name], clean[name], atol=1e-3)


def eps_of(model: nn.Module, step: int = 2, micro: int = 0, **options: Any) -> dict[str, Tensor]:
    with flat.arm(model, **ARMED, **options) as noise:
        noise.begin_step(step, micro)
        return {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}


def checkpointed(model: nn.Module, reentrant: bool) -> nn.Module:
    """Let a model run its inner layers in a checkpoint."""
    inner: Any = next(module for module in model.modules() if type(module).__name__ == "Net")
    layers = nn.Sequential(inner.up, inner.norm, nn.Tanh(), inner.down, nn.Tanh())
    object.__setattr__(inner, "forward", lambda x: inner.head(checkpoint(layers, x, use_reentrant=reentrant)))
    return model


class Frozen(TrainerCallback):
    """Compares the frozen weights in the middle and at the end of each step, and breaks the run off on request."""

    def __init__(self, model: nn.Module, stop: BaseException | None = None) -> None:
        self.model, self.stop, self.looks = model, stop, 0
        self.before = state(model)
        model.register_forward_hook(self.look)

    def look(self, *args: Any, **kwargs: Any) -> None:
        now = self.model.state_dict()
        assert all(torch.equal(now[name], self.before[name]) for name in now if not is_trained(name))
        self.looks += 1
        if self.stop and self.looks == 4:
            raise self.stop

    on_pre_optimizer_step = on_step_end = on_train_end = look


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RuntimeError("out of memory")])
def test_w_keeps_every_bit(adapt: Any, tmp_path: Path, error: BaseException | None) -> None:
    """**W keeps every bit**, before, during and after training and after any interruption, because nothing writes to
    it."""
    model = adapt()
    frozen = Frozen(model, error)
    with nullcontext() if error is None else pytest.raises(type(error)):
        trainer(model, tmp_path, FlatLoRA(**STEADY), frozen, max_steps=2).train()
    frozen.stop = None
    frozen.look()
    assert frozen.looks == (8 if error is None else 5)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_the_noise_is_a_pure_function(build: Any) -> None:
    """**The noise is a pure function** of (seed, optimizer step, layer name; with `redraw` or `per_rank`, of
    micro-batch or rank, too)."""
    model = build()
    first = eps_of(model, micro=1)
    assert equal(eps_of(model, micro=2), first)
    others = [{"seed": 1}, {"step": 3}, {"redraw": "micro-batch", "micro": 1}, {"redraw": "micro-batch"}]
    for options in others:
        other = eps_of(model, **options)
        assert equal(eps_of(model, **options), other)
        assert not any(torch.equal(first[name], other[name]) for name in first)
    same_size = eps_of(add_lora(nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}), LoRAConfig(r=2)))
    assert not torch.equal(same_size["a"].sign(), same_size["b"].sign())


def test_the_same_run_has_the_same_bits_resumed_or_not(adapt: Any, tmp_path: Path) -> None:
    """The same run gives the same bits, resumed or not."""
    model, saving = adapt(dropout=0.1), {"save_strategy": "steps", "save_steps": 1}
    whole = run(model, tmp_path, FlatLoRA(rho=0.1), **saving)
    assert equal(whole, run(model, tmp_path, FlatLoRA(rho=0.1), **saving))
    rest = copy.deepcopy(model)
    resumed = trainer(rest, tmp_path, FlatLoRA(rho=0.1), **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert equal(whole, state(rest))


def test_accumulation_changes_no_noise(adapt: Any, tmp_path: Path) -> None:
    """Accumulation 1 x 8 and 8 x 1 use the same noise, and so do groups that are cut short at the end of an epoch."""
    model, draws = adapt(), []
    for size, accumulation in ((8, 1), (1, 8), (1, 10)):
        watch = Watch(model)
        changes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
        run(model, tmp_path, FlatLoRA(**STEADY), watch, num_train_epochs=1, **changes)
        draws.append(watch.draws())
    whole, single, cut_short = draws
    assert None not in whole
    assert len(set(whole)) == 3
    assert single == [e for e in whole for _ in range(8)]
    assert cut_short == whole[:1] * 10 + whole[1:2] * 10 + whole[2:] * 4


def test_lowland_s_layers_and_peft_s_get_the_same_noise() -> None:
    """Lowland's layers and PEFT's with the same names get the same noise."""
    by_kind = []
    for model in (ours(), peft_lora()):
        with flat.arm(model, **ARMED) as noise:
            noise.begin_step(2)
            by_kind.append({name: layer.drawn_noise.blocks[0] for name, layer in noise.layers.items()})
    assert list(by_kind[0]) == ["up", "down"]
    assert equal(*by_kind)


@pytest.mark.parametrize("options", [{}, {"vectors": True}, {"noise": "token"}])
def test_the_global_generators_are_not_used(options: dict[str, Any]) -> None:
    """**The global random generators are not used.**"""
    model = peft_lora()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with flat.arm(model, **ARMED, **options) as noise:
        noise.begin_step(1)
        model(rows()).sum().backward()
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_batches_and_masks_are_lora_s_and_rho_0_is_lora(adapt: Any, tmp_path: Path) -> None:
    """Batches and dropout masks are those of LoRA with the same seed; rho = 0 *is* LoRA, to the bit."""
    model = adapt()  # BERT's own dropout is on
    plain, noisy = Watch(model), Watch(model)
    without = run(model, tmp_path, plain)
    assert not equal(without, run(model, tmp_path, FlatLoRA(**STEADY), noisy))
    assert plain.batches == noisy.batches
    assert plain.random == noisy.random
    assert equal(without, run(model, tmp_path, FlatLoRA(rho=0)))


@pytest.mark.parametrize("kind", ["ours", "LoRA", "DoRA", "VeRA", "IA3"])
def test_noise_acts_exactly_when_the_model_trains(kind: str) -> None:
    """**Noise acts exactly when the model trains**: the model is armed and in training mode, gradients are enabled (or
    were enabled when the model was called, so that a reentrant checkpoint gets noise and a reference pass does not),
    and the adapter is active and not merged."""
    model = KINDS[kind]()
    x = rows().requires_grad_()
    plain = model(x)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        assert not torch.equal(model(x), plain)
        model.eval()
        assert torch.equal(model(x), plain)
        model.train()
        with torch.no_grad():
            assert torch.equal(model(x), plain)
        if kind != "ours":
            with model.disable_adapter():
                assert torch.equal(model(x), net()(x))
            layer = canonical(model)["up"]
            layer.merge()
            assert torch.equal(layer(x), layer.get_base_layer()(x))
    assert torch.equal(KINDS[kind]()(x), plain)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_a_reentrant_checkpoint_gets_noise(build: Any) -> None:
    """so that a reentrant checkpoint gets noise and a reference pass does not"""
    model, x = build(), rows().requires_grad_()
    plain, forward = model(x), model.forward
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        noisy = model(x)
        model.forward = lambda x: checkpoint(forward, x, use_reentrant=True)
        checkpointed = model(x)
        with torch.no_grad():
            reference = forward(x)
        del model.forward
    assert torch.equal(checkpointed, noisy)
    assert torch.equal(reference, plain)


class ByTheWay(TrainerCallback):
    """Generates, saves and disables the adapter in the middle of each step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, []

    def on_pre_optimizer_step(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        assert adapted_layers(model)[0].drawn_noise is not None
        model.generate(Rows().ids[:2], max_new_tokens=2, do_sample=False, pad_token_id=0)
        model.save_pretrained(self.folder / "adapter")
        with model.disable_adapter(), torch.no_grad():
            model(Rows().ids)


def test_no_noise_in_evaluation_generation_saving_and_without_the_adapter(
    gpt2: nn.Module, tmp_path: Path
) -> None:
    """So there is no noise in evaluation, generation, saving, `disable_adapter()`"""
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = get_peft_model(gpt2, config)
    watch, rows = Watch(model), [{"input_ids": ids, "labels": ids} for ids in Rows().ids]
    changes = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 2, "train_dataset": rows}
    fresh = trainer(model, tmp_path, FlatLoRA(**STEADY), watch, ByTheWay(tmp_path), **changes)
    fresh.eval_dataset = rows
    fresh.train()
    assert len(watch.draws()) == 2
    assert None not in watch.draws()
    assert len(watch.other()) == 2 * (2 + 1 + 3)  # two tokens, a pass without the adapter, three batches
    assert set(watch.other()) == {None}


def test_no_noise_in_dpo_s_reference(tmp_path: Path) -> None:
    """or the reference passes of DPO and GRPO."""
    from tests.flat import test_trl as in_trl

    watch, parts = in_trl.Watch(), (in_trl.small_llama(), in_trl.small_lora(), in_trl.word_tokenizer())
    in_trl.dpo(*parts, tmp_path, FlatLoRA(**STEADY), watch, max_steps=2).train()
    assert watch.seen == [(True, True, True, True), (True, False, False, False)] * 2


def test_no_noise_in_grpo_s_reference(tmp_path: Path) -> None:
    """or the reference passes of DPO and GRPO."""
    from tests.flat import test_trl as in_trl

    watch, parts = in_trl.Watch(), (in_trl.small_llama(), in_trl.small_lora(), in_trl.word_tokenizer())
    in_trl.grpo(*parts, tmp_path, FlatLoRA(**STEADY), watch, max_steps=2).train()
    assert watch.seen.count((True, True, True, True)) == 2  # the policy's passes
    references = [noisy for _, gradients, on, noisy in watch.seen if not gradients and not on]
    assert len(references) == 2
    assert not any(noisy for _, gradients, _, noisy in watch.seen if not gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_perturbed_loss(kind: str) -> None:
    """**Gradients are those of the perturbed loss.**"""
    agree(kind)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("build", [ours, peft_lora])
def test_a_recomputation_under_other_noise_is_an_error(build: Any, reentrant: bool) -> None:
    """If a checkpoint is recomputed after the noise has changed, that is an error; a different gradient is never
    returned."""
    model = checkpointed(build(), reentrant)
    changes: list[Callable[[flat.Noise], Any]] = [
        lambda noise: noise.begin_step(2),
        lambda noise: noise.end_step(),
        lambda noise: model.eval(),
    ]
    for change in changes:
        with flat.arm(model.train(), **ARMED) as noise:
            noise.begin_step(1)
            y = model(rows().requires_grad_())
            change(noise)
            with pytest.raises(RuntimeError, match="the noise was changed"):
                y.sum().backward()


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_a_part_under_a_reentrant_checkpoint_by_itself_is_an_error(build: Any) -> None:
    """a different gradient is never returned."""
    model, x = build(), rows().requires_grad_()
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        model(x)  # the noise of this pass is that of the recomputation, and not that of the next pass
        y = checkpoint(canonical(model)["up"], x, use_reentrant=True)
        with pytest.raises(RuntimeError, match="the pass did not go through the armed model"):
            y.sum().backward()


def test_noise_is_never_left_out() -> None:
    """**Noise is never silently left out.**"""
    for kind, build in KINDS.items():
        model = build()
        layers = {name for name, layer in canonical(model).items() if layer in adapted_layers(model)}
        with flat.arm(model, **ARMED) as noise:
            noise.begin_step(1)
            assert layers == set(noise.layers) == {"up", "down"}, kind
            assert all(layer.drawn_noise is not None for layer in noise.layers.values())


def test_a_model_without_noise_is_refused(bert: nn.Module) -> None:
    """A model with no layer to perturb, or with an adapted linear layer that cannot be perturbed, is refused by
    name."""
    with pytest.raises(Mistake, match="the model has no LoRA layers to perturb"):
        flat.arm(bert)
    model = ours()
    base_of(model.down).register_forward_hook(print)
    with pytest.raises(Mistake, match=r"^down cannot get noise: its base layer has hooks"):
        flat.arm(model)


def test_embeddings_and_layers_trained_whole_get_no_noise(bert: nn.Module, tokens: Tensor) -> None:
    """Adapted embeddings and layers that are trained whole (a head, `modules_to_save`) get no noise: the method
    perturbs the weights of adapted linear layers."""
    names = {"target_modules": ["word_embeddings", "query"], "modules_to_save": ["classifier"]}
    model: Any = get_peft_model(bert, LoraConfig(r=2, **names)).train()
    embedding, head = (
        model.base_model.model.bert.embeddings.word_embeddings,
        model.base_model.model.classifier,
    )
    words, hidden = embedding(tokens), torch.randn(3, 16)
    logits = head(hidden)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        assert all(name.endswith("query") for name in noise.layers)
        assert torch.equal(embedding(tokens), words)
        assert torch.equal(head(hidden), logits)
