"""The same noise and the same promises on a GPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lowland import FlatLoRA, LoRAConfig, add_lora, flat
from lowland.lora import lora_layers
from tests.flat.test_callback import equal, run, state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture()
def adapted(bert: nn.Module) -> nn.Module:
    model = add_lora(bert, LoRAConfig(r=4, modules_to_save=("classifier",))).train()
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.3, generator=torch.Generator().manual_seed(5))
    return model


def test_the_noise_has_the_same_numbers_as_on_the_cpu(adapted: nn.Module) -> None:
    drawn = []
    for device in ("cpu", "cuda"):
        model = copy.deepcopy(adapted).to(device)
        with flat.arm(model, rho=0.3, total_steps=2, seed=3) as noise:
            noise.begin_step(1)
            drawn.append([layer._noise.draw(layer.weight).cpu() for layer in noise.layers.values()])
    for a, b in zip(*drawn, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)  # the row norms are summed in another order


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_explicitly_perturbed_loss(dtype: torch.dtype) -> None:
    model = add_lora(nn.Sequential(nn.Linear(64, 48)), LoRAConfig(r=4)).to("cuda", dtype)
    layer = model[0]
    nn.init.normal_(layer.lora_B, std=0.3)
    x = torch.randn(7, 64, device="cuda", dtype=dtype, requires_grad=True)
    with flat.arm(model, rho=0.5, total_steps=2) as noise:
        noise.begin_step(1)
        perturbed = layer._noise.added_to(layer.weight)
        model(x).float().pow(2).sum().backward()
    a, b = (one.detach().clone().requires_grad_() for one in (layer.lora_A, layer.lora_B))
    x2 = x.detach().clone().requires_grad_()
    y = x2 @ perturbed.T + layer.bias + layer.scaling * (x2 @ a.T @ b.T)
    y.float().pow(2).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.05, "atol": 1.0}
    for ours, theirs in ((layer.lora_A.grad, a.grad), (layer.lora_B.grad, b.grad), (x.grad, x2.grad)):
        torch.testing.assert_close(ours, theirs, **close)


def test_rho_zero_is_lora_to_the_bit_and_the_weights_stay(adapted: nn.Module, tmp_path: Path) -> None:
    def trained(*callbacks: FlatLoRA) -> dict[str, Tensor]:
        model = copy.deepcopy(adapted)
        run(model, tmp_path, *callbacks, use_cpu=False)
        assert next(model.parameters()).is_cuda
        return {name: one.cpu() for name, one in state(model).items()}

    plain, zero, some = trained(), trained(FlatLoRA(rho=0.0)), trained(FlatLoRA(rho=0.3))
    assert equal(plain, zero)
    assert not equal(plain, some)
    base = [name for name in plain if "lora_" not in name and "classifier" not in name]
    assert all(torch.equal(some[name], state(adapted)[name]) for name in base)
