"""Noise on the attention of diffusers' UNet and DiT, which PEFT adapts; convolutions are refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from lowland import FlatLoRA, LoRAConfig, add_lora, flat
from lowland.ground.mistakes import Mistake
from tests.flat.conftest import canonical, filled, under_explicit_noise
from tests.flat.trainers import adapted_layers, equal, options, state

diffusers = pytest.importorskip("diffusers", reason="the models of these tests are diffusers'")

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONVOLUTIONS = ["conv1", "proj_in"]
STEADY: dict[str, Any] = {"rho": 0.5, "schedule": "constant"}


def unet() -> nn.Module:
    """A UNet of two resolutions with cross-attention, as of Stable Diffusion: `proj_in` is a convolution."""
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def dit() -> nn.Module:
    """A diffusion transformer of two blocks, conditioned on a class."""
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=2, out_channels=2, num_layers=2, sample_size=8,
        patch_size=2, num_embeds_ada_norm=4, norm_num_groups=2,
    )  # fmt: skip


class Denoiser(nn.Module):
    """A model of diffusers with its conditions and its loss, as a Trainer calls it."""

    def __init__(self, net: nn.Module, conditions: Callable[[int], dict[str, Tensor]]) -> None:
        super().__init__()
        self.net, self.conditions = net, conditions

    def forward(self, sample: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and the denoised images (n, 2, 8, 8)."""
        steps = torch.full((len(sample),), 7)
        out = self.net(sample, timestep=steps, **self.conditions(len(sample))).sample
        return {"loss": mse_loss(out, labels), "out": out}


def texts(n: int) -> dict[str, Tensor]:
    """Return n encoded texts (n, 3, 8), all alike."""
    return {"encoder_hidden_states": torch.linspace(-1, 1, 24).reshape(1, 3, 8).expand(n, 3, 8)}


def classes(n: int) -> dict[str, Tensor]:
    """Return n classes (n,), all alike."""
    return {"class_labels": torch.full((n,), 2)}


NETS = {"UNet": (unet, texts), "DiT": (dit, classes)}


class Images(Dataset):
    """12 noisy images, and what to make of them."""

    def __init__(self) -> None:
        self.rows = torch.randn(12, 2, 2, 8, 8, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"sample": self.rows[index, 0], "labels": self.rows[index, 1]}


def adapted(kind: str, way: str, targets: list[str] = ATTENTION) -> Denoiser:
    """Return a denoiser adapted in one of the ways that diffusers' users take."""
    build, conditions = NETS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build()
        if way == "add_adapter":
            net.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=targets))
        elif way == "get_peft_model":
            net = get_peft_model(net, LoraConfig(r=2, lora_alpha=4, target_modules=targets))
        else:
            net = add_lora(net, LoRAConfig(r=2, alpha=4, targets="extended"))
    return filled(Denoiser(net, conditions))


WAYS = [(kind, way) for kind in NETS for way in ("add_adapter", "get_peft_model", "lowland")]
WAYS.remove(("DiT", "add_adapter"))  # the class has no such method


def batch() -> dict[str, Tensor]:
    rows = Images()
    return {name: torch.stack([rows[i][name] for i in range(3)]) for name in ("sample", "labels")}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Return the images and the gradients, from a fixed state of the global generator: DiT drops classes at random."""
    model.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(4)
        out = model(**batch())
    out["loss"].backward()
    grads = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }
    assert grads
    return {"out": out["out"].detach(), **grads}


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_every_adapted_layer_computes_with_the_perturbed_weight(kind: str, way: str) -> None:
    """Outputs and gradients are those of plain autograd with x (W' + eps)ᵀ in each layer."""
    model = adapted(kind, way)
    layers = [name for name, module in canonical(model).items() if module in adapted_layers(model)]
    assert (
        len(layers) == {"UNet": 4 * 2 * 4, "DiT": 2 * 4}[kind]
    )  # transformers, attentions in each, projections
    plain = gradients(model)
    with flat.arm(model, **STEADY) as noise:
        assert list(noise.layers) == layers
        noise.begin_step(3)
        noisy = gradients(model)
        eps = {name: layer.drawn_noise.eps().detach() for name, layer in noise.layers.items()}
        noise.end_step()
        assert torch.equal(gradients(model)["out"], plain["out"])
    expected = gradients(under_explicit_noise(model, eps))
    assert noisy.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            noisy[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, at=name: f"{at}: {text}"
        )
    assert (noisy["out"] - plain["out"]).abs().max() > 1e-2


def test_checkpointing_in_the_unet_changes_nothing() -> None:
    model, twin = adapted("UNet", "add_adapter"), adapted("UNet", "add_adapter")
    twin.net.enable_gradient_checkpointing()
    results = []
    for each in (model, twin):
        with flat.arm(each, **STEADY) as noise:
            noise.begin_step(3)
            results.append(gradients(each))
    assert equal(*results)


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_the_callback_trains_them_and_leaves_the_base_as_it_was(tmp_path: Path, kind: str, way: str) -> None:
    start = adapted(kind, way)

    def trained(*callbacks: FlatLoRA) -> dict[str, Tensor]:
        model = copy.deepcopy(start)
        arguments = TrainingArguments(**options(tmp_path, num_train_epochs=1, per_device_train_batch_size=4))
        Trainer(model, arguments, train_dataset=Images(), callbacks=list(callbacks)).train()
        return state(model)

    before, plain, flat_lora = state(start), trained(), trained(FlatLoRA(**STEADY))
    assert equal(plain, trained(FlatLoRA(rho=0.0)))
    for name, value in flat_lora.items():
        changed = "lora_" in name
        assert torch.equal(value, before[name]) != changed, name
        assert torch.equal(value, plain[name]) != changed, name


@pytest.mark.parametrize("way", ["add_adapter", "get_peft_model"])
@pytest.mark.parametrize("targets", [CONVOLUTIONS, ATTENTION + CONVOLUTIONS])
def test_convolutions_are_refused_by_name(tmp_path: Path, way: str, targets: list[str]) -> None:
    model = adapted("UNet", way, targets)
    before = state(model)
    arguments = TrainingArguments(**options(tmp_path, num_train_epochs=1))
    with pytest.raises(Mistake) as caught:
        Trainer(model, arguments, train_dataset=Images(), callbacks=[FlatLoRA(**STEADY)]).train()
    (problem,) = caught.value.problems
    assert (
        "down_blocks.0.resnets.0.conv1 and 11 further layers (those that end with 'conv1', 'proj_in')"
        in problem
    )
    assert "noise on peft.tuners.lora.layer.Conv2d is not supported" in problem
    assert equal(state(model), before)
    if targets != CONVOLUTIONS:
        assert "leave them without noise with layers=['to_q', 'to_k', 'to_v', 'to_out.0']" in problem
        Trainer(
            model, arguments, train_dataset=Images(), callbacks=[FlatLoRA(**STEADY, layers=ATTENTION)]
        ).train()
