"""What docs/flat-lora.md promises in "Options": a test a sentence, which its docstring quotes."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lowland import FlatLoRA, flat
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from lowland.train.methods import callbacks_of, method_named
from lowland.train.neftune import NEFTune, input_embeddings
from lowland.train.settings import Settings
from tests.flat.conftest import net, ours, peft_lora, results, rows
from tests.flat.trainers import STEADY, Watch, equal, run


def test_the_callback_and_arm_share_the_options() -> None:
    """`FlatLoRA(...)` and `flat.arm(model, ...)` share the options of `flat.FlatConfig`:"""
    values = {
        "rho": 0.2,
        "schedule": "linear",
        "every": 2,
        "layers": ("up",),
        "vectors": True,
        "redraw": "micro-batch",
        "per_rank": True,
        "noise": "token",
        "weights": "adapted",
        "seed": 3,
    }
    assert values.keys() == flat.FlatConfig.model_fields.keys()
    assert FlatLoRA(**values).config == flat.FlatConfig(**values)
    with flat.arm(ours(), total_steps=2, **values) as noise:
        assert noise.config == flat.FlatConfig(**values)


def test_rho_is_the_strength_where_the_schedule_is_1() -> None:
    """| `rho` | 0.05 | strength of the noise where the schedule is 1;"""
    with flat.arm(ours(), rho=0.3, total_steps=4) as noise:
        assert noise.sigma(4) == pytest.approx(0.3)
    with flat.arm(ours(), total_steps=4) as noise:
        assert noise.sigma(4) == pytest.approx(0.05)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_rho_0_is_lora(build: Any) -> None:
    """0 is LoRA to the bit;"""
    model = build()
    plain = results(build(), rows())
    with flat.arm(model, rho=0, schedule="constant") as noise:
        noise.begin_step(1)
        assert equal(results(model, rows()), plain)


def test_rho_above_1_warns(adapt: Any, tmp_path: Path) -> None:
    """above 1 there is a warning (from `FlatLoRA` with the effect on the loss)"""
    with pytest.warns(UserWarning, match=r"rho is 2: .*than the output itself; usual"):
        flat.arm(ours(), rho=2)
    with pytest.warns(UserWarning, match=r"changes the loss of a first batch from [\d.]+ to [\d.]+\)"):
        run(adapt(), tmp_path, FlatLoRA(rho=2), max_steps=1)
    flat.arm(ours(), rho=1)  # silent


def test_the_schedules() -> None:
    """| `schedule` | `"cosine"` | sigma / rho over the progress t/T: the paper's ramp, `"linear"`, `"constant"`, or a
    function of the progress in [0, 1] |"""

    def sigmas(**options: Any) -> list[float]:
        with flat.arm(ours(), rho=1, total_steps=4, **options) as noise:
            return [noise.sigma(step) for step in range(5)]

    assert sigmas() == pytest.approx([0.5 * (1 - math.cos(math.pi * t / 4)) for t in range(5)])
    assert sigmas(schedule="linear") == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert sigmas(schedule="constant") == [1] * 5
    assert sigmas(schedule=lambda progress: progress**2) == pytest.approx([0, 1 / 16, 1 / 4, 9 / 16, 1])


def test_every_kth_step() -> None:
    """| `every` | 1 | add noise at every k-th optimizer step; the steps between are LoRA's |"""
    model = ours()
    plain = results(model, rows())
    with flat.arm(model, every=3, **STEADY) as noise:
        for step in range(5):
            noise.begin_step(step)
            assert equal(results(model, rows()), plain) == (step not in (0, 3))


@pytest.mark.parametrize("layers", ["base_model.model.up", "up", r".*\.u\w"])
def test_layers_are_names_last_parts_or_expressions(layers: str) -> None:
    """| `layers` | all | names of adapted layers, last parts of names, or regular expressions for whole names |"""
    with flat.arm(peft_lora(), **STEADY) as noise:
        assert list(noise.layers) == ["up", "down"]
    with flat.arm(peft_lora(), layers=layers, **STEADY) as noise:
        assert list(noise.layers) == ["up"]
    with pytest.raises(Mistake, match="unknown layer to perturb 'p'"):  # a part of a name is no whole name
        flat.arm(peft_lora(), layers="p")


def test_weights() -> None:
    """| `weights` | `"adapted"` | or `"trained"`: the noise is on the linear layers of a model that is trained in full,
    but its output head (the method `flat-full`) |"""
    with flat.arm(net(), weights="trained", **STEADY) as noise:
        assert list(noise.layers) == ["up", "down"]
    (callback,) = callbacks_of(method_named("flat-full"), Settings(), seed=1)
    assert callback.config.weights == "trained"
    assert FlatLoRA().config.weights == "adapted"


def test_vectors() -> None:
    """| `vectors` | `False` | perturb the norms' weights and biases and the adapted layers' biases, too (the paper's
    appendix); a vector counts as one row |"""
    model = ours()
    layer, norm = model.up, model.norm
    with flat.arm(model, **STEADY) as noise:
        noise.begin_step(1)
        assert layer.bias_noise is None
        assert not isinstance(norm, Perturbed)
    squares = {"weight": 0.0, "bias": 0.0, "of the layer": 0.0}
    with flat.arm(model, vectors=True, **STEADY) as noise:
        for step in range(400):
            noise.begin_step(step)
            for name, eps in {**norm.drawn_noise, "of the layer": layer.bias_noise}.items():
                squares[name] += eps.pow(2).sum().item() / 400
    for name, vector in (("weight", norm.weight), ("bias", norm.bias), ("of the layer", layer.bias)):
        assert squares[name] == pytest.approx(0.1**2 * vector.pow(2).sum().item(), rel=0.1)


def test_redraw_per_micro_batch(adapt: Any, tmp_path: Path) -> None:
    """| `redraw` | `"step"` | or `"micro-batch"`: a new draw for each micro-batch under gradient accumulation |"""
    model = adapt()
    for redraw, draws in (("step", 2), ("micro-batch", 6)):
        watch = Watch(model)
        changes = {"gradient_accumulation_steps": 3, "max_steps": 2}
        run(model, tmp_path, FlatLoRA(redraw=redraw, **STEADY), watch, **changes)
        assert len(watch.draws()) == 6
        assert len(set(watch.draws()) - {None}) == draws


def test_per_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """| `per_rank` | `False` | under data parallelism, a different draw in each process |"""

    def drawn(rank: int, per_rank: bool) -> Tensor:
        world = SimpleNamespace(is_initialized=lambda: True, get_rank=lambda: rank)
        monkeypatch.setitem(flat.arm.__globals__, "distributed", world)
        with flat.arm(ours(), per_rank=per_rank, **STEADY) as noise:
            noise.begin_step(1)
            return noise.layers["up"].drawn_noise.eps()

    assert torch.equal(drawn(0, False), drawn(1, False))
    assert not torch.equal(drawn(0, True), drawn(1, True))


def test_the_paper_s_noise_is_the_default() -> None:
    """| `noise` | `"weight"` | the paper's noise; or `"token"`, see below |"""
    model = ours()
    with flat.arm(model, **STEADY) as noise:
        noise.begin_step(1)
        eps, y, x = model.up.drawn_noise.eps(), model.up(rows()), rows()
    torch.testing.assert_close(y, model.up(x) + x @ eps.T)


def test_the_seed_is_the_trainer_s(adapt: Any, tmp_path: Path) -> None:
    """| `seed` | 0 | seed of the noise; the callback uses the Trainer's seed |"""
    model, draws = adapt(), []
    for own, trainers in ((None, 7), (7, 8), (None, 8)):
        watch = Watch(model)
        run(model, tmp_path, FlatLoRA(seed=own, **STEADY), watch, seed=trainers, max_steps=2)
        draws.append(watch.draws())
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_only_the_callback_has_auto_share_and_total_tokens() -> None:
    """Only the callback has:"""
    FlatLoRA(rho="auto", share=0.1, total_tokens=5)
    for options in ({"rho": "auto"}, {"share": 0.1}, {"total_tokens": 5}):
        with pytest.raises(Mistake, match=next(iter(options))):
            flat.arm(ours(), **options)


def test_total_tokens(adapt: Any, tmp_path: Path) -> None:
    """| `total_tokens` | | run the schedule over the tokens seen, t/T = seen / total; the Trainer must count them
    (`include_num_input_tokens_seen`) |"""
    seen: list[float] = []
    counted = {"include_num_input_tokens_seen": True, "max_steps": 3}
    schedule = lambda progress: seen.append(progress) or 1.0  # noqa: E731
    model = adapt()
    run(model, tmp_path, FlatLoRA(schedule=schedule, total_tokens=10 * 8 * 7), **counted)
    assert seen == pytest.approx([0.0, 0.1, 0.2])  # 8 texts of 7 tokens a step
    with pytest.raises(Mistake, match="set include_num_input_tokens_seen=True"):
        run(model, tmp_path, FlatLoRA(total_tokens=100))


def test_only_arm_has_total_steps() -> None:
    """Only `arm` has `total_steps`, T."""
    assert "total_steps" in inspect.signature(flat.arm).parameters
    with pytest.raises(Mistake, match="total_steps"):
        FlatLoRA(total_steps=3)


def test_where_total_steps_is_not_needed() -> None:
    """It is not needed with `schedule="constant"`, or if you give `begin_step(t, progress=…)` the progress."""
    with flat.arm(ours(), schedule="constant") as noise:
        noise.begin_step(1)
        assert noise.layers["up"].drawn_noise is not None
    with flat.arm(ours()) as noise:
        noise.begin_step(1, progress=0.5)
        assert noise.layers["up"].drawn_noise is not None
        with pytest.raises(Mistake, match="give total_steps"):
            noise.begin_step(1)


def test_token_noise_has_the_same_variance() -> None:
    """draws, for each token's output, a value with the same variance as `x epsᵀ`: `‖x_t‖ c_i zeta_ti` with
    `c_i = sigma / sqrt(n) · ‖W'_i‖` and zeta standard normal"""
    model, x = ours(), rows()
    squares, plain = torch.zeros(5, 12), model.up(x)
    with torch.no_grad():
        c = 0.1 / math.sqrt(10) * (model.up.weight + model.up.delta()).norm(dim=1)
    with flat.arm(model, noise="token", **STEADY) as noise:
        for step in range(2000):
            noise.begin_step(step)
            squares += (model.up(x) - plain).detach().pow(2) / 2000
    assert ((squares / (x.norm(dim=1, keepdim=True) * c).pow(2) - 1).abs() < 6 * math.sqrt(2 / 2000)).all()


def test_tokens_share_no_eps_in_token_noise_alone() -> None:
    """the tokens of a batch do not share one eps"""
    model, x = ours(), rows()[:1].expand(4, 10)
    for kind, distinct in (("weight", 1), ("token", 4)):
        with flat.arm(model, noise=kind, **STEADY) as noise:
            noise.begin_step(1)
            assert len(torch.unique((model.up(x)).detach().round(decimals=4), dim=0)) == distinct


def test_neftune_adds_uniform_noise_of_one_size_to_the_embeddings(bert: nn.Module, tokens: Tensor) -> None:
    """it adds uniform noise to the outputs of the input embeddings, of the same size from the first step to the
    last."""
    callback = NEFTune(alpha=5.0, seed=1)
    (layer,) = input_embeddings(bert.train())
    plain, bound = layer(tokens), 5 / math.sqrt(7 * 16)
    callback.on_train_begin(None, None, None, model=bert)  # type: ignore[arg-type]
    for step in (0, 50, 99):
        callback.on_step_begin(None, SimpleNamespace(global_step=step), None)  # type: ignore[arg-type]
        noise = layer(tokens) - plain
        assert 0.95 * bound < noise.abs().max() <= bound + 1e-6
        assert noise.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
