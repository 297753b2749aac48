"""Arming a model: the noise's moments, and its bits as a pure function of (seed, step, name)."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats
from torch import Tensor, nn

from lowland import LoRAConfig, add_lora, flat
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from tests.flat.conftest import canonical, filled, ours, peft_lora, results, rows

Bits = dict[str, Tensor]


def bits(model: nn.Module, step: int = 2, micro: int = 0, **options: Any) -> Bits:
    """Return eps of each layer in an optimizer step."""
    with flat.arm(model, **{"rho": 0.3, "schedule": "constant", **options}) as noise:
        noise.begin_step(step, micro)
        return {name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}


def same(a: Bits, b: Bits) -> bool:
    assert a.keys() == b.keys()
    equal = {torch.equal(a[name], b[name]) for name in a}
    assert len(equal) == 1  # all layers, or none
    return equal.pop()


def draws(steps: int, rho: float = 0.3, seed: int = 0) -> tuple[Any, Tensor]:
    """Return a layer and its eps (steps, 12, 10) over `steps` optimizer steps."""
    model = ours()
    with flat.arm(model, rho=rho, schedule="constant", seed=seed) as noise:
        drawn = []
        for step in range(steps):
            noise.begin_step(step)
            drawn.append(noise.layers["up"].drawn_noise.eps())
    return model.up, torch.stack(drawn)


def test_variance_is_that_of_the_formula_row_by_row() -> None:
    layer, eps = draws(4000)
    merged = layer.weight + layer.delta()
    expected = 0.3**2 / 10 * merged.pow(2).sum(1, keepdim=True).expand(12, 10)
    statistic = (
        (eps.pow(2).sum(0) / expected).detach().flatten().numpy()
    )  # with known mean: N degrees of freedom
    law = stats.chi2(4000)
    assert 2 * np.minimum(law.cdf(statistic), law.sf(statistic)).min() > 1e-4
    assert expected.max() / expected.min() > 1.5  # rows differ; otherwise the test would show little


def test_the_noise_is_normal_with_mean_zero() -> None:
    layer, eps = draws(400)
    scale = 0.3 / math.sqrt(10) * (layer.weight + layer.delta()).norm(dim=1)
    standard = (eps / scale[:, None]).detach()
    assert stats.kstest(standard.flatten().numpy(), "norm").pvalue > 1e-3
    assert standard.mean(0).abs().max() < stats.norm.isf(0.5e-3 / 120) / math.sqrt(400)


def test_entries_rows_and_steps_are_independent() -> None:
    _, eps = draws(3000)
    entries = eps.flatten(1).detach().double()  # (steps, entries)
    among = torch.corrcoef(entries.T).fill_diagonal_(0)
    assert among.abs().max() < stats.norm.isf(1e-3 / among.numel()) / math.sqrt(3000)  # Bonferroni at 0.001
    z = (entries - entries.mean(0)) / entries.std(0)
    one_later = (z[:-1] * z[1:]).mean(0)
    assert one_later.abs().max() < stats.norm.isf(0.5e-3 / len(one_later)) / math.sqrt(3000)


def test_layers_and_seeds_have_noise_of_their_own(bert: nn.Module) -> None:
    model = filled(add_lora(bert, LoRAConfig(r=2)))
    drawn = []
    for seed in (0, 1):
        noise = bits(model, seed=seed)
        drawn += [eps.flatten() for eps in noise.values() if eps.shape == (16, 16)]
    assert len(drawn) > 10
    assert torch.corrcoef(torch.stack(drawn)).fill_diagonal_(0).abs().max() < 6 / math.sqrt(256)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_the_bits_are_a_function_of_seed_step_and_name(build: Any) -> None:
    first = bits(build(), seed=5)
    torch.manual_seed(77)
    assert same(bits(build(), seed=5), first)
    assert not same(bits(build(), seed=6), first)
    assert not same(bits(build(), step=3, seed=5), first)
    assert same(bits(build(), seed=5, total_steps=100, every=2), first)
    up = bits(build(), seed=5, layers="up")["up"]
    assert torch.equal(up, first["up"])  # independent of the other layers


def test_the_noise_of_a_step_does_not_depend_on_earlier_steps() -> None:
    model = ours()
    expected = bits(model, step=5)
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        for step in (0, 7, 5, 5):
            noise.begin_step(step)
        assert same({name: layer.drawn_noise.eps() for name, layer in noise.layers.items()}, expected)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_checkpoint_wrapped_module"])
def test_wrappers_change_no_bits(wrapper: str) -> None:
    assert same(bits(nn.ModuleDict({wrapper: ours()})), bits(ours()))


def test_micro_batches_share_a_draw_unless_each_is_to_have_its_own() -> None:
    model = ours()
    assert same(bits(model, micro=0), bits(model, micro=3))
    own = {"redraw": "micro-batch"}
    assert not same(bits(model, micro=0, **own), bits(model, micro=3, **own))
    assert same(bits(model, micro=3, **own), bits(model, micro=3, **own))


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_accumulated_batches_have_the_noise_of_one_batch(build: Any) -> None:
    model, x = build().double(), torch.cat([rows(torch.float64), rows(torch.float64) ** 2])[:8]
    gradients = []
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        for size in (8, 1, 3):  # the last leaves a trailing part
            noise.begin_step(4)
            model.zero_grad()
            for micro, part in enumerate(x.split(size)):
                if micro:
                    noise.begin_step(4, micro)
                model(part).pow(3).sum().backward()
            gradients.append(
                [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]
            )
    for other in gradients[1:]:
        for mine, theirs in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_ranks_share_a_draw_unless_each_is_to_have_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model, alone = ours(), bits(ours())
    assert same(bits(model, per_rank=True), alone)  # one process

    def on(rank: int, per_rank: bool) -> Bits:
        world = SimpleNamespace(is_initialized=lambda: True, get_rank=lambda: rank)
        monkeypatch.setitem(flat.arm.__globals__, "distributed", world)
        return bits(model, per_rank=per_rank)

    assert same(on(0, False), alone)
    assert same(on(1, False), alone)
    assert not same(on(0, True), on(1, True))
    assert same(on(1, True), on(1, True))


@pytest.mark.parametrize("options", [{}, {"noise": "token"}, {"vectors": True}])
@pytest.mark.parametrize("build", [ours, peft_lora])
def test_the_global_generators_are_not_touched(build: Any, options: dict[str, Any]) -> None:
    model = build()
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with flat.arm(model, rho=0.5, schedule="constant", **options) as noise:
        for step in range(3):
            noise.begin_step(step)
            model(rows()).sum().backward()
            noise.end_step()
    after = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(before[0], after[0])
    assert (before[1] == after[1]).all()
    assert before[2] == after[2]


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_dropout_draws_as_many_random_numbers_as_without_noise(build: Any) -> None:
    option = "dropout" if build is ours else "lora_dropout"
    states = []
    for rho in (0, 0.5):
        model = build(**{option: 0.3})
        torch.manual_seed(1)
        with flat.arm(model, rho=rho, schedule="constant") as noise:
            noise.begin_step(0)
            model(rows()).sum().backward()
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


def test_sigma_is_rho_times_the_schedule() -> None:
    noise = flat.arm(ours(), rho=0.2, total_steps=8)
    sigmas = [noise.sigma(step) for step in range(9)]
    assert sigmas == pytest.approx([0.2 * 0.5 * (1 - math.cos(math.pi * t / 8)) for t in range(9)])
    assert sigmas[0] == 0
    assert sigmas[8] == pytest.approx(0.2)
    assert noise.sigma(1, progress=1.0) == pytest.approx(0.2)


def test_steps_between_have_no_noise() -> None:
    model, noisy = ours(), []
    clean = results(model, rows())["y"]
    with flat.arm(model, rho=0.2, schedule=lambda progress: 1.0, every=3, total_steps=9) as noise:
        for step in range(7):
            noise.begin_step(step)
            noisy.append(not torch.equal(results(model, rows())["y"], clean))
    assert noisy == [True, False, False, True, False, False, True]


def test_the_length_must_be_known_where_the_schedule_needs_it() -> None:
    with flat.arm(ours(), rho=0.2) as noise:
        with pytest.raises(Mistake, match="needs the length of the training, which is not known"):
            noise.begin_step(1)
        noise.begin_step(1, progress=0.5)
        assert noise.layers["up"].drawn_noise is not None
        noise.begin_step(2, progress=0.0)  # sigma is 0
        assert noise.layers["up"].drawn_noise is None


@pytest.mark.parametrize("layers", ["up", ["up"], r"u\w", ("up",)])
def test_layers_that_are_not_selected_have_no_noise(layers: Any) -> None:
    model = ours()
    down = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    with flat.arm(model, rho=0.3, schedule="constant", layers=layers) as noise:
        noise.begin_step(0)
        assert list(noise.layers) == ["up"]
        noisy_up, clean_down = model.up(rows()), model.down(down)
    assert not torch.equal(model.up(rows()), noisy_up)
    assert torch.equal(model.down(down), clean_down)


def test_adapted_embeddings_stay_without_noise(bert: nn.Module) -> None:
    config = LoraConfig(r=2, target_modules=["word_embeddings", "query"])
    for model in (
        get_peft_model(bert, config),
        add_lora(net_of_words(), LoRAConfig(r=2, targets=["0", "1"])),
    ):
        with flat.arm(model, rho=0.3, schedule="constant") as noise:
            noise.begin_step(0)
            assert noise.layers
            assert not any(name == "0" or "embeddings" in name for name in noise.layers)


def net_of_words() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 8))


def test_gpt2_and_bert_train_under_noise(bert: nn.Module, gpt2: nn.Module, tokens: Tensor) -> None:
    for model in (bert, gpt2):
        add_lora(model, LoRAConfig(r=2)).train()
        with flat.arm(model, rho=0.1, total_steps=4) as noise:
            assert len(noise.layers) == len(list(lora_layers(model)))
            noise.begin_step(2)
            model(tokens).logits.sum().backward()
        assert all(layer.lora_B.grad.isfinite().all() for _, layer in lora_layers(model))


def test_token_noise_has_the_same_variance_and_learns() -> None:
    model = peft_lora()
    x, layer = rows(), canonical(model)["up"]
    with flat.arm(model, rho=0.4, schedule="constant", noise="token") as noise:
        noise.begin_step(0)
        token_scale = layer.drawn_noise.scale
        y = layer(x)
        assert torch.equal(layer(x), y)
        results(model, x)
        noise.begin_step(1)
        assert not torch.equal(layer(x), y)
    with flat.arm(model, rho=0.4, schedule="constant") as noise:
        noise.begin_step(0)
        torch.testing.assert_close(layer.drawn_noise.scale.abs(), token_scale, rtol=1e-6, atol=0)


def test_layers_that_would_share_a_name_without_their_wrappers_keep_their_own() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.module = nn.Linear(6, 6), nn.ModuleDict({"inner": nn.Linear(6, 6)})

    model = add_lora(Two(), LoRAConfig(r=2))
    with flat.arm(model, total_steps=3) as noise:
        assert list(noise.layers) == ["inner", "module.inner"]
