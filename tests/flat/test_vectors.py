"""Noise on norms and biases: its size, its gradients, and parameters that are never written."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from lowland import LoRAConfig, add_lora, flat
from lowland.flat.perturbed import Perturbed
from lowland.flat.vectors import vector_noise
from tests.flat.conftest import canonical, net, ours, peft_lora, results, rows

ARMED = {"rho": 0.5, "schedule": "constant", "vectors": True}


def test_a_vector_counts_as_one_row() -> None:
    vector = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 3
    eps = torch.stack([vector_noise(vector, 0.4, seed) for seed in range(500)])
    expected = 0.4 / math.sqrt(200) * vector.norm()
    entries = eps.numel()
    assert eps.mean().abs() < 4 * expected / math.sqrt(entries)
    assert (eps.std() / expected).item() == pytest.approx(1, abs=4 / math.sqrt(2 * entries))
    among = torch.corrcoef(eps[:100])  # between seeds
    assert among.fill_diagonal_(0).abs().max() < 6 / math.sqrt(200)


def test_it_is_a_function_of_its_seed() -> None:
    state = torch.random.get_rng_state()
    vector = torch.ones(9)
    assert torch.equal(vector_noise(vector, 1, 3), vector_noise(vector, 1, 3))
    assert not torch.equal(vector_noise(vector, 1, 3), vector_noise(vector, 1, 4))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("build", [ours, peft_lora])
def test_outputs_and_gradients_are_those_of_explicit_noise(build: object) -> None:
    model = build().double()  # type: ignore[operator]
    norm = canonical(model)["norm"].requires_grad_(True)
    twin, x = copy.deepcopy(model), rows(torch.float64)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        assert list(noise.norms) == ["norm"]
        on_norm = noise.norms["norm"].drawn_noise
        on_layers = {
            name: (layer.drawn_noise.eps(), layer.bias_noise) for name, layer in noise.layers.items()
        }
        armed = results(model, x)
    weight, bias = (on_norm[name].double() for name in ("weight", "bias"))
    plain = canonical(twin)["norm"]

    def explicit(layer: nn.Module, inputs: tuple[Tensor], y: Tensor) -> Tensor:
        return nn.functional.layer_norm(inputs[0], (12,), plain.weight + weight, plain.bias + bias)

    plain.register_forward_hook(explicit)
    for name, (eps, shift) in on_layers.items():
        layer = canonical(twin)[name]
        layer.register_forward_hook(lambda layer, inputs, y, e=eps, s=shift: y + inputs[0] @ e.T + s)
    expected = results(twin, x)
    assert "norm.weight" in expected
    for name, tensor in expected.items():
        torch.testing.assert_close(armed[name], tensor, rtol=1e-10, atol=1e-10)
    assert norm.weight.grad is not None


def test_biases_have_their_own_noise_of_their_own_size() -> None:
    model = ours()
    drawn = []
    with flat.arm(model, **ARMED) as noise:
        for step in range(1500):
            noise.begin_step(step)
            drawn.append(model.up.bias_noise)
    eps = torch.stack(drawn)
    expected = 0.5 / math.sqrt(12) * model.up.bias.norm()
    assert (eps.std() / expected).item() == pytest.approx(1, abs=4 / math.sqrt(2 * eps.numel()))


def test_no_parameter_is_written() -> None:
    model = ours()
    before = copy.deepcopy(model.state_dict())
    with flat.arm(model, **ARMED) as noise:
        for step in range(3):
            noise.begin_step(step)
            parameters = dict(model.norm.named_parameters())
            results(model, rows())
            assert all(parameters[name] is parameter for name, parameter in model.norm.named_parameters())
        with pytest.raises(RuntimeError):
            model.norm(torch.zeros(2, 5))  # a wrong size raises an exception during the call
        assert all(parameters[name] is parameter for name, parameter in model.norm.named_parameters())
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_norm_layers_are_selected_by_name_only_on_request() -> None:
    model = nn.Sequential(
        ours(), LlamaRMSNorm(3), nn.LayerNorm(3, elementwise_affine=False), nn.BatchNorm1d(3)
    )
    with flat.arm(model, rho=0.5) as noise:
        assert not noise.norms
    with flat.arm(model, **ARMED) as noise:
        assert list(noise.norms) == ["0.norm", "1", "3"]
        noise.begin_step(0)
        noisy = model(rows())
        noise.end_step()
        assert not torch.equal(noisy, model(rows()))
    assert not any(isinstance(module, Perturbed) for module in model.modules())


def test_norms_without_noise_answer_to_the_bit_as_ever() -> None:
    model = ours(net())
    norm, x = model.norm, torch.randn(4, 12, generator=torch.Generator().manual_seed(2))
    expected = norm(x)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        assert not torch.equal(norm(x), expected)
        with torch.no_grad():
            assert torch.equal(norm(x), expected)
        norm.eval()
        assert torch.equal(norm(x), expected)
        norm.train()
        noise.end_step()
        assert torch.equal(norm(x), expected)


def test_a_hook_on_a_norm_is_called_once() -> None:
    model = add_lora(net(), LoRAConfig(r=2)).train()
    calls: list[int] = []
    model.norm.register_forward_hook(lambda *args: calls.append(1))
    with flat.arm(model, vectors=True, schedule="constant") as noise:
        noise.begin_step(0)
        model(torch.randn(4, 10))
    assert calls == [1]
