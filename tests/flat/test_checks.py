"""Models that cannot be armed are refused with a reason, and stay unchanged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from peft import AdaLoraConfig, LoHaConfig, LoraConfig, get_peft_model
from torch import nn

from lowland import flat, merge_lora
from lowland.flat.checks import check_can_be_armed, layers_to_perturb
from lowland.flat.config import FlatConfig
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from tests.flat.conftest import TARGETS, canonical, net, of_tuner, ours, peft_lora, started, two_adapters


def base_of(model: nn.Module) -> Any:
    """Return the base layer of `up`."""
    layer: Any = canonical(model)["up"]
    return layer.base if hasattr(layer, "base") else layer.get_base_layer()


def with_base(change: Callable[[Any], Any], build: Callable[[], nn.Module] = ours) -> Callable[[], nn.Module]:
    """Return a builder of a model whose base layer of `up` is changed."""

    def build_changed() -> nn.Module:
        model = build()
        change(base_of(model))
        return model

    return build_changed


class FullyShardedDataParallel(nn.Module):
    """Module with the class name of FSDP1."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


class Block(nn.Module):
    """A block of an image model: convolutions, and attention under the names of diffusers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.proj_in = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.attn1 = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("to_q", "to_v")})
        self.attn1["to_out"] = nn.ModuleList([nn.Linear(4, 4), nn.Dropout(0.0)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.proj_in(self.conv1(x)).flatten(2).mT  # (batch, pixels, channels)
        return self.attn1["to_out"][0](torch.tanh(self.attn1["to_q"](y)) * self.attn1["to_v"](y))


def blocks(*targets: str) -> nn.Module:
    return get_peft_model(nn.Sequential(Block()), LoraConfig(r=2, target_modules=list(targets))).train()


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(3, 4, 2)


def armed() -> nn.Module:
    model = ours()
    flat.arm(model, layers="up")
    return model


def merged_by_peft() -> nn.Module:
    model = peft_lora()
    model.merge_adapter()
    return model


def twice_adapted() -> nn.Module:
    model = peft_lora()
    layer: Any = canonical(model)["up"]
    layer.base_layer = copy.deepcopy(layer)
    return model


def of_parameters() -> nn.Module:
    return get_peft_model(net(), LoraConfig(r=2, target_modules=[], target_parameters=["up.weight"]))


def of_pictures() -> nn.Module:
    return get_peft_model(Pictures(), LoraConfig(r=2, target_modules=["up"]))


def with_another_variant() -> nn.Module:
    class ArrowLinearVariant:
        pass

    model = peft_lora()
    layer: Any = canonical(model)["up"]
    layer.lora_variant["default"] = ArrowLinearVariant()
    return model


def two_with_dora() -> nn.Module:
    return two_adapters(["default", "other"], use_dora=True)


def adalora() -> nn.Module:
    return of_tuner(AdaLoraConfig(target_modules=TARGETS, total_step=10, init_r=3))


def replace_forward(module: Any) -> None:
    real = module.forward
    module.forward = lambda x: 2 * real(x)


NONE = r"has no LoRA layers to perturb; adapt it first, with add_lora\(model, config\)"
HOOKS = "up cannot get noise: its base layer has hooks"
OFFLOADED = "up cannot get noise: its weight is offloaded; load the whole model to one device"
UNKNOWN = r"up( and .*)? cannot get noise: noise on peft\.tuners\.{} is not supported; adapt linear layers with LoRA$"
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no adapters": (net, NONE),
    "unloaded": (lambda: peft_lora().merge_and_unload(), NONE),
    "armed": (armed, "armed already: take one FlatLoRA callback, or call disarm"),
    "merged": (lambda: merge_lora(ours()), r"the adapters are merged; unmerge them first"),
    "merged by PEFT": (merged_by_peft, r"the adapters are merged; .* model\.unmerge_adapter\(\)"),
    "ZeRO-3": (
        with_base(lambda base: setattr(base.weight, "ds_id", 1)),
        "up cannot .* DeepSpeed ZeRO-3 holds",
    ),
    "ZeRO-3, PEFT": (
        with_base(lambda base: setattr(base.weight, "ds_id", 1), peft_lora),
        "DeepSpeed ZeRO-3 holds",
    ),
    "offloaded": (with_base(lambda base: add_hook_to_module(base, ModelHook())), OFFLOADED),
    "offloaded, PEFT": (with_base(lambda base: add_hook_to_module(base, ModelHook()), peft_lora), OFFLOADED),
    "meta": (lambda: ours().to("meta"), OFFLOADED),
    "forward hook": (with_base(lambda base: base.register_forward_hook(print)), HOOKS),
    "forward pre-hook": (with_base(lambda base: base.register_forward_pre_hook(print), peft_lora), HOOKS),
    "backward hook": (with_base(lambda base: base.register_full_backward_hook(print)), HOOKS),
    "backward pre-hook": (with_base(lambda base: base.register_full_backward_pre_hook(print)), HOOKS),
    "replaced forward": (with_base(replace_forward), "up cannot get noise: its forward method was replaced"),
    "replaced forward, PEFT": (with_base(replace_forward, peft_lora), "its forward method was replaced"),
    "trained": (
        with_base(lambda base: base.weight.requires_grad_()),
        "up cannot .* its base layer is trained; .* freeze it",
    ),
    "trained bias": (
        with_base(lambda base: base.bias.requires_grad_(), peft_lora),
        "its base layer is trained",
    ),
    "8-bit floats": (
        with_base(lambda base: base.to(torch.float8_e4m3fn)),
        "float8_e4m3fn, quantised in a way",
    ),
    "LoHa": (
        lambda: of_tuner(LoHaConfig(r=2, target_modules=TARGETS)),
        UNKNOWN.format(r"loha\.layer\.Linear"),
    ),
    "AdaLoRA": (adalora, UNKNOWN.format(r"adalora\.layer\.SVDLinear")),
    "Conv2d": (of_pictures, UNKNOWN.format(r"lora\.layer\.Conv2d")),
    "Conv2d and linear layers": (
        lambda: blocks("conv1", "to_q"),
        r"0\.conv1 cannot get noise: noise on .*Conv2d is not .*; leave it without noise with layers=\['to_q'\],",
    ),
    "parameters": (of_parameters, UNKNOWN.format(r"lora\.layer\.ParamWrapper")),
    "adapted twice": (twice_adapted, "up cannot get noise: it is adapted twice; merge the first"),
    "DoRA and another": (two_with_dora, "DoRA with several active adapters is not supported; activate one"),
    "MiCA": (
        lambda: started(init_lora_weights="mica"),
        "PEFT's MiCALinearVariant is not supported; use plain LoRA or DoRA",
    ),
    "another variant": (with_another_variant, "PEFT's ArrowLinearVariant is not supported"),
    "DataParallel": (
        lambda: nn.DataParallel(ours()),
        "under nn.DataParallel, which copies the layers .* use DDP",
    ),
    "FSDP1": (lambda: FullyShardedDataParallel(ours()), r"sharded by FSDP1, .* use FSDP2 \(fully_shard\)"),
}


def test_a_layer_that_is_too_wide_for_the_bank_is_refused_at_arming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowland.flat.bank.MAX_WINDOW", 11)
    with pytest.raises(Mistake, match="a layer with 12 inputs is too wide for the noise bank"):
        flat.arm(ours(), rho=0.1, schedule="constant")
    with flat.arm(ours(), rho=0.1, schedule="constant", noise="token"):
        pass


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all that arming could change."""
    return {
        name: (
            type(module),
            set(module.__dict__),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            module.training,
        )
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_cannot_get_noise_is_refused_by_name(case: str) -> None:
    build, sentence = REFUSED[case]
    model = build()
    before = state_of(model)
    with pytest.raises(Mistake, match=sentence):
        flat.arm(model, total_steps=3)
    assert state_of(model) == before
    assert case == "armed" or not any(isinstance(module, Perturbed) for module in model.modules())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rho": -1}, "rho is -1; it must be at least 0"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"schedule": "sine"}, "unknown schedule 'sine'; did you mean 'cosine'"),
        ({"every": 0}, "every is 0"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"total_steps": 0}, "total_steps is 0; it must be the number of optimizer steps of the run"),
        ({"layers": "don"}, r"unknown layer to perturb 'don'; did you mean 'down'\? Allowed: down, up"),
        ({"layers": ["up", "x", "y"]}, "(?s)unknown layer to perturb 'x'.*unknown layer to perturb 'y'"),
        ({"layers": "head"}, "unknown layer to perturb 'head'"),  # a layer without adapter
    ],
    ids=str,
)
@pytest.mark.parametrize("build", [ours, peft_lora])
def test_options_out_of_their_range_are_refused(build: Any, options: dict[str, Any], sentence: str) -> None:
    model = build()
    before = state_of(model)
    with pytest.raises(Mistake, match=sentence):
        flat.arm(model, **{"total_steps": 3, **options})
    assert state_of(model) == before


@pytest.mark.parametrize(("step", "progress"), [(-1, None), (1, -0.5)])
def test_a_step_or_a_progress_below_zero_is_refused(step: int, progress: float | None) -> None:
    with (
        flat.arm(ours(), rho=0.1, total_steps=4) as noise,
        pytest.raises(Mistake, match="neither may be below 0"),
    ):
        noise.begin_step(step, progress=progress)


def test_a_step_that_is_not_whole_is_refused() -> None:
    with (
        flat.arm(ours(), rho=0.1, total_steps=4) as noise,
        pytest.raises(Mistake, match=r"step is 1\.5; it must be a whole number"),
    ):
        noise.begin_step(1.5)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        check_can_be_armed(
            merge_lora(with_base(lambda base: base.register_forward_hook(print))()), FlatConfig(), 0
        )
    assert len(caught.value.problems) == 3


def test_convolutions_among_linear_layers_are_refused_with_the_way_to_leave_them_out() -> None:
    """No noise on some of the adapted layers alone, unless it is asked for."""
    model = blocks("to_q", "to_v", "to_out.0", "conv1", "proj_in")
    with pytest.raises(Mistake) as caught:
        flat.arm(model, total_steps=3)
    (problem,) = caught.value.problems
    assert problem == (
        "base_model.model.0.conv1 and 1 further layer (those that end with 'conv1', 'proj_in') cannot get noise:"
        " noise on peft.tuners.lora.layer.Conv2d is not supported; leave them without noise with"
        " layers=['to_q', 'to_v', 'to_out.0'], which names the others, or do not adapt them"
    )
    assert not any(isinstance(module, Perturbed) for module in model.modules())
    with flat.arm(model, layers=["to_q", "to_v", "to_out.0"], total_steps=3) as noise:  # the advice works
        assert [name.partition("attn1.")[2] for name in noise.layers] == ["to_q", "to_v", "to_out.0"]


def test_a_convolution_that_is_adapted_later_is_refused_at_the_next_step() -> None:
    model: Any = blocks("to_q")
    with flat.arm(model, schedule="constant") as noise:
        noise.begin_step(0)
        model.add_adapter("more", LoraConfig(r=2, target_modules=["conv1"]))
        with pytest.raises(Mistake, match="conv1 was adapted after the model was armed, and gets no noise"):
            noise.begin_step(1)


def test_layers_that_are_left_out_need_not_be_supported() -> None:
    model = of_pictures()
    model.base_model.model.more = peft_lora()
    with flat.arm(model, layers=r".*more.*up") as noise:
        assert [name.rsplit(".", 1)[-1] for name in noise.layers] == ["up"]
    assert list(layers_to_perturb(ours(), layers=None)) == TARGETS


def test_an_inactive_dora_adapter_is_harmless() -> None:
    with flat.arm(two_adapters(["default"], use_dora=True)) as noise:
        assert len(noise.layers) == 2


@pytest.mark.parametrize("version", ["0.17.9", "0.99.0"])
def test_an_untested_version_of_peft_is_named(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peft, "__version__", version)
    with pytest.warns(UserWarning, match=f"peft is {version}; the noise was tested with versions from 0.18"):
        flat.arm(peft_lora())
    flat.arm(ours())  # no PEFT layers, so no warning (it would be an error)


def test_a_warning_points_at_the_line_that_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="rho is 1.5: the noise on each layer's output is larger") as warned:
        flat.arm(ours(), rho=1.5)
    assert warned[0].filename == __file__
    monkeypatch.setattr(peft, "__version__", "0.99")
    with pytest.warns(UserWarning, match="peft is 0.99") as warned:
        flat.arm(peft_lora())
    assert warned[0].filename == __file__
