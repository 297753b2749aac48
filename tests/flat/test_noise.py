"""The noise against its formula: size, independence, gradients, and when there is any."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lowland import LoRAConfig, LoRALinear, add_lora, flat, merge_lora
from lowland.flat import FlatLoRALinear
from lowland.lora import linear, lora_layers
from lowland.lora.fused import Plan
from lowland.mistakes import Mistake


def adapted(model: nn.Module, **options: object) -> nn.Module:
    """With adapters whose B is not zero, so that W' is not W."""
    add_lora(model, LoRAConfig(r=2, **options))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.5, generator=torch.Generator().manual_seed(5))
    return model.train()


def small(outs: int = 12, ins: int = 10) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return adapted(nn.Sequential(nn.Linear(ins, outs)))


def draws(steps: int, rho: float = 0.3, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A layer, and eps (steps, out, in) of as many optimizer steps at one strength."""
    model = small()
    noise = flat.arm(model, rho=rho, total_steps=1, seed=seed)
    noise.sigma = lambda step: rho
    (layer,) = noise.layers.values()
    drawn = []
    for step in range(steps):
        noise.begin_step(step)
        drawn.append(layer._noise.draw(layer.weight))
    return model, torch.stack(drawn)


def test_variance_is_that_of_the_formula_row_by_row() -> None:
    model, eps = draws(4000)
    layer = model[0]
    merged = layer.weight + layer.delta()
    wanted = 0.3**2 / 10 * merged.pow(2).sum(1, keepdim=True).expand(12, 10)
    # (N - 1) s² / sigma² has N - 1 degrees of freedom; with known mean 0, N
    statistic = (eps.pow(2).sum(0) / wanted).detach().flatten().numpy()
    p = 2 * min_tail(stats.chi2(4000), statistic)
    assert p.min() > 1e-4
    assert wanted.max() / wanted.min() > 1.5  # rows differ, else this would show little


def min_tail(law: object, values: object) -> object:
    import numpy as np

    return np.minimum(law.cdf(values), law.sf(values))


def test_it_is_normal_with_mean_zero() -> None:
    model, eps = draws(400)
    layer = model[0]
    scale = 0.3 / math.sqrt(10) * (layer.weight + layer.delta()).norm(dim=1)
    standard = (eps / scale[:, None]).detach().flatten().numpy()
    assert stats.kstest(standard, "norm").pvalue > 1e-3


def test_entries_rows_and_steps_are_independent() -> None:
    _, eps = draws(3000)
    flat_eps = eps.flatten(1).detach().double()  # (steps, entries)
    among_entries = torch.corrcoef(flat_eps.T).fill_diagonal_(0)
    count = among_entries.numel() / 2
    bound = stats.norm.isf(0.5 * 1e-3 / count) / math.sqrt(3000)  # Bonferroni at 0.001
    assert among_entries.abs().max() < bound
    one_later = torch.stack([torch.corrcoef(torch.stack([s[:-1], s[1:]]))[0, 1] for s in flat_eps.T])
    assert one_later.abs().max() < stats.norm.isf(0.5e-3 / len(one_later)) / math.sqrt(3000)


def test_layers_and_seeds_have_noise_of_their_own(bert: nn.Module) -> None:
    model = adapted(bert)
    drawn = []
    for seed in (0, 1):
        with flat.arm(model, rho=0.1, total_steps=4, seed=seed) as noise:
            noise.begin_step(2)
            square = [one for one in noise.layers.values() if one.weight.shape == (16, 16)]
            drawn += [(one._noise.draw(one.weight) / one._noise.scale).flatten() for one in square]
    correlation = torch.corrcoef(torch.stack(drawn)).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / math.sqrt(256)


def test_a_draw_is_a_function_of_seed_step_and_name() -> None:
    _, first = draws(3)
    _, again = draws(3)
    _, other = draws(3, seed=1)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, other)


def test_sigma_ramps_up_as_a_cosine() -> None:
    noise = flat.arm(small(), rho=0.2, total_steps=8)
    told = [noise.sigma(step) for step in range(9)]
    assert told == pytest.approx([0.2 * 0.5 * (1 - math.cos(math.pi * t / 8)) for t in range(9)])
    assert told[0] == 0
    assert told[8] == pytest.approx(0.2)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_the_explicitly_perturbed_loss(
    dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(linear, "Plan", lambda *given: plans.append(Plan(*given)) or plans[-1])
    model = small().double()
    layer = model[0]
    layer.dropout.p = dropout
    x = torch.randn(7, 10, dtype=torch.float64, requires_grad=True)
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        eps = layer._noise.draw(layer.weight)
        model(x).pow(3).sum().backward()
    a, b = (one.detach().clone().requires_grad_() for one in (layer.lora_A, layer.lora_B))
    x2 = x.detach().clone().requires_grad_()
    dropped = plans[0].dropped(torch.ones_like(x2)) / (1 - dropout) * x2
    y = x2 @ (layer.weight + eps).T + layer.bias + layer.scaling * (dropped @ a.T @ b.T)
    y.pow(3).sum().backward()
    assert eps.abs().max() > 0.01
    for ours, theirs in ((layer.lora_A.grad, a.grad), (layer.lora_B.grad, b.grad), (x.grad, x2.grad)):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_conv1d_has_rows_where_its_outputs_are(gpt2: nn.Module, tokens: Tensor) -> None:
    model = adapted(gpt2)
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        layer = noise.layers["transformer.h.0.attn.c_attn"]  # 16 in, 48 out
        merged = layer.weight + layer.delta()
        assert layer._noise.scale.shape == (48, 1)
        torch.testing.assert_close(
            layer._noise.scale[:, 0].abs(), noise.sigma(1) / math.sqrt(16) * merged.norm(dim=1).detach()
        )
        assert torch.equal(layer._noise.scale.sign(), layer._noise.window.signs)
        assert set(layer._noise.window.signs.flatten().tolist()) == {-1.0, 1.0}
        model(tokens).logits.sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_meets_the_same_noise(reentrant: bool) -> None:
    model = adapted(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)))
    x = torch.randn(4, 6, requires_grad=True)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            if not self.checkpointed:
                return self.inner(x)
            return checkpoint(self.inner, x, use_reentrant=reentrant)

    whole = Whole().train()
    gradients = []
    with flat.arm(whole, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        for whole.checkpointed in (False, True):
            whole.zero_grad()
            whole(x).pow(2).sum().backward()  # not linear: the noise of the first forward pass counts, too
            gradients.append([one.grad.clone() for one in whole.parameters() if one.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_bf16_autocast_runs() -> None:
    model = adapted(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)))
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        with torch.autocast("cpu", torch.bfloat16):
            out = model(torch.randn(4, 6))
        out.float().sum().backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def without_gradients(model: nn.Module) -> None:
    torch.set_grad_enabled(False)


def evaluating(model: nn.Module) -> None:
    model.eval()


def merged(model: nn.Module) -> None:
    merge_lora(model)


@pytest.mark.parametrize("state", [without_gradients, evaluating, merged])
def test_there_is_noise_only_in_a_training_pass(state: Callable[[nn.Module], None]) -> None:
    model, x = small(), torch.randn(4, 10)
    clean = model(x)
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        assert torch.equal(model(x), clean)  # no step has begun
        noise.begin_step(1)
        noisy = model(x)
        assert not torch.equal(noisy, clean)
        assert torch.equal(model(x), noisy)  # one draw a step, over all its forward passes
        try:
            state(model)
            torch.testing.assert_close(model(x), clean)
        finally:
            torch.set_grad_enabled(True)
        model.train()
        if state is merged:
            return
        assert torch.equal(model(x), noisy)
        noise.end_step()
        assert torch.equal(model(x), clean)


def test_the_weight_and_the_global_generator_stay_as_they_are() -> None:
    model = small()
    weight, state = model[0].weight.clone(), torch.random.get_rng_state()
    with flat.arm(model, rho=0.5, total_steps=10) as noise:
        for step in range(10):
            noise.begin_step(step)
            model(torch.ones(2, 10)).sum().backward()
            noise.end_step()
    assert torch.equal(model[0].weight, weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_exception_in_mid_step_leaves_no_trace() -> None:
    model, x = small(), torch.randn(4, 10)
    clean, weight = model(x), model[0].weight.clone()

    def interrupted() -> None:
        with flat.arm(model, rho=0.5, total_steps=2) as noise:
            noise.begin_step(1)
            model(x)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(model[0].weight, weight)
    assert torch.equal(model(x), clean)


def test_an_armed_model_is_saved_copied_and_pickled_as_ever() -> None:
    model, x = small(), torch.randn(4, 10)
    keys = list(model.state_dict())
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        assert list(model.state_dict()) == keys
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(x), model(x))
            twin[0].lora_B.data.zero_()
            assert model[0].lora_B.abs().sum() > 0
    assert type(model[0]) is LoRALinear
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(("rho", "steps"), [(-0.1, 5), (math.nan, 5), (0.1, 0)])
def test_values_out_of_range_are_refused(rho: float, steps: int) -> None:
    model = small()
    with pytest.raises(Mistake):
        flat.arm(model, rho=rho, total_steps=steps)
    assert not isinstance(model[0], FlatLoRALinear)


def test_a_model_without_layers_armed_twice_or_merged_is_refused() -> None:
    with pytest.raises(Mistake, match="no LoRA layers to perturb"):
        flat.arm(nn.Linear(2, 2), total_steps=3)
    model = small()
    noise = flat.arm(model, total_steps=3)
    with pytest.raises(Mistake, match="armed already"):
        flat.arm(model, total_steps=3)
    noise.disarm()
    with pytest.raises(Mistake, match="merged"):
        flat.arm(merge_lora(model), total_steps=3)


def test_a_base_that_must_be_called_is_refused() -> None:
    hooked, thawed = small(), small()
    hooked[0].base.register_forward_hook(lambda *given: None)
    thawed[0].base.bias.requires_grad_()
    for model in (hooked, thawed):
        with pytest.raises(Mistake, match=r"base of 0 has hooks .* or is trained"):
            flat.arm(model, total_steps=3)
        assert type(model[0]) is LoRALinear


def test_under_a_compiler_the_noise_is_the_same() -> None:
    torch._dynamo.reset()
    model, x = small(), torch.randn(7, 10)
    compiled = torch.compile(model, backend="aot_eager")
    with flat.arm(model, rho=0.5, total_steps=4) as noise:
        for step in (1, 2, 3):
            noise.begin_step(step)
            wanted = model(x)
            with torch._dynamo.config.patch(error_on_recompile=step > 1):
                torch.testing.assert_close(compiled(x), wanted, rtol=0, atol=0)
    assert not torch.equal(wanted, model(x))
