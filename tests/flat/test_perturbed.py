"""When noise acts in a module; copies, files and types of armed and disarmed modules."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from lowland import flat, load_adapter, merge_lora, save_adapter, unmerge_lora
from lowland.flat.perturbed import Perturbed
from lowland.lora import lora_layers
from tests.flat.conftest import (
    KINDS,
    PEFT_KINDS,
    canonical,
    net,
    ours,
    peft_lora,
    results,
    rows,
    two_adapters,
)

DROPOUT = [name for name in KINDS if "dropout" in name]
ARMED = {"rho": 0.5, "schedule": "constant"}


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    model.eval()
    yield
    model.train()


@contextmanager
def disabled(model: Any) -> Iterator[None]:
    with model.disable_adapter():
        yield


@contextmanager
def merged(model: Any) -> Iterator[None]:
    if not hasattr(model, "merge_adapter"):
        merge_lora(model)
        yield
        unmerge_lora(model)
        return
    before = copy.deepcopy(model.state_dict())
    model.merge_adapter()
    yield
    for name, layer in canonical(model).items():
        if name in ("up", "down"):
            layer.merged_adapters.clear()  # (unmerging is inexact, and warns for IA3)
    model.load_state_dict(before)


@contextmanager
def without_gradients(model: Any) -> Iterator[None]:
    with torch.no_grad():
        yield


STATES = {"eval": evaluating, "no_grad": without_gradients, "merged": merged, "disabled": disabled}


def forward(model: nn.Module) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return model(rows()).detach()


CASES = [(kind, state) for kind in KINDS for state in STATES if kind in PEFT_KINDS or state != "disabled"]


@pytest.mark.parametrize(("kind", "state"), CASES)
def test_there_is_noise_exactly_where_it_trains(kind: str, state: str) -> None:
    model = KINDS[kind]()
    plain = copy.deepcopy(model)
    with flat.arm(model, **ARMED) as noise:
        assert torch.equal(forward(model), forward(plain))  # no step has begun
        noise.begin_step(1)
        noisy = forward(model)
        assert not torch.equal(noisy, forward(plain))
        with STATES[state](model), STATES[state](plain):
            assert torch.equal(forward(model), forward(plain))
        assert torch.equal(forward(model), noisy)  # all forward passes of a step share one draw
        noise.end_step()
        assert torch.equal(forward(model), forward(plain))
        noise.begin_step(2)
        assert not torch.equal(forward(model), noisy)
    assert torch.equal(forward(model), forward(plain))


def test_another_adapter_takes_the_noise_along() -> None:
    model = two_adapters(["default"], target_modules=["down"])
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        model.base_model.set_adapter(["other"])
        plain = copy.deepcopy(model)
        up, down, x = canonical(model)["up"], canonical(model)["down"], torch.ones(2, 12)
        assert torch.equal(up(rows()), canonical(plain)["up"](rows()))  # "other" is not there
        assert not torch.equal(down(x), canonical(plain)["down"](x))


def test_a_batch_of_several_adapters_is_without_noise() -> None:
    model = two_adapters(["default"])
    layer, names = canonical(model)["up"], ["default", "other", "__base__", "default", "other"]
    with flat.arm(model, **ARMED) as noise:
        expected = layer(rows(), adapter_names=names)
        noise.begin_step(0)
        assert torch.equal(layer(rows(), adapter_names=names), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_rho_zero_is_lora_to_the_bit(kind: str) -> None:
    trained = []
    for rho in (None, 0.0, 0.5):
        model = KINDS[kind]()
        noise = None if rho is None else flat.arm(model, rho=rho, total_steps=3)
        torch.manual_seed(3)
        train(model, noise)
        trained.append({name: parameter for name, parameter in canonical(model)["head"].named_parameters()})
        trained[-1] |= {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        trained[-1]["generator"] = torch.random.get_rng_state()
    plain, zero, some = trained
    assert all(torch.equal(plain[name], zero[name]) for name in plain)
    assert all(torch.equal(plain[name], some[name]) == (name == "generator") for name in plain)


def train(model: nn.Module, noise: flat.Noise | None, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.01
    )
    for step in range(steps):
        if noise is not None:
            noise.begin_step(step)
        optimizer.zero_grad()
        model(rows()).pow(2).sum().backward()
        optimizer.step()
        if noise is not None:
            noise.end_step()


@pytest.mark.parametrize("kind", DROPOUT)
def test_the_dropout_masks_are_those_without_noise(kind: str) -> None:
    """Use noise too weak to show, so that only other masks could make a difference."""
    model = KINDS[kind]().double()
    clean = results(model, rows(torch.float64))
    with flat.arm(model, rho=1e-13, schedule="constant") as noise:
        noise.begin_step(0)
        weak = results(model, rows(torch.float64))
    for name in clean:
        torch.testing.assert_close(weak[name], clean[name], rtol=1e-9, atol=1e-9)


COPIES: dict[str, Callable[[nn.Module], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": lambda model: through_a_file(model),
}


def through_a_file(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", ["ours", "LoRA", "DoRA", "VeRA", "IA3"])
def test_a_copy_of_an_armed_model_is_plain(kind: str, way: str) -> None:
    model = KINDS[kind]()
    plain = copy.deepcopy(model)
    with flat.arm(model, vectors=True, **ARMED) as noise:
        noise.begin_step(1)
        forward(model)
        twin = COPIES[way](model)
        assert_same_kinds(twin, plain)
        assert torch.equal(forward(twin), forward(plain))
        with torch.no_grad():
            next(parameter for parameter in twin.parameters() if parameter.requires_grad).zero_()
        assert not torch.equal(forward(twin), forward(plain))
        with flat.arm(twin, **ARMED) as another:  # the copy can be armed
            assert another.layers.keys() == noise.layers.keys()


def assert_same_kinds(model: nn.Module, plain: nn.Module) -> None:
    mine, theirs = (dict(root.named_modules()) for root in (model, plain))
    assert list(mine) == list(theirs)
    for name in mine:
        assert type(mine[name]) is type(theirs[name])
        assert mine[name].__dict__.keys() == theirs[name].__dict__.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_disarmed_model_is_unchanged(kind: str) -> None:
    model = KINDS[kind]()
    plain = copy.deepcopy(model)
    noise = flat.arm(model, vectors=True, **ARMED)
    assert isinstance(canonical(model)["up"], Perturbed)
    noise.begin_step(0)
    results(model, rows())
    noise.disarm()
    assert_same_kinds(model, plain)
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())
    assert not noise.layers
    noise.disarm()  # a second call does no harm


@pytest.mark.parametrize("kind", KINDS)
def test_an_armed_model_prints_and_has_the_state_of_a_plain_one(kind: str) -> None:
    model = KINDS[kind]()
    plain = copy.deepcopy(model)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        mine, theirs = model.state_dict(), plain.state_dict()
        assert list(mine) == list(theirs)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert repr(model) == repr(plain)
        model.load_state_dict(theirs)


def test_an_armed_peft_model_is_saved_and_merged_like_a_plain_one(tmp_path: Path) -> None:
    model = peft_lora()
    plain = copy.deepcopy(model)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        model.save_pretrained(tmp_path / "armed")
        merged = copy.deepcopy(model).merge_and_unload()
        here = model.merge_and_unload()
    plain.save_pretrained(tmp_path / "plain")
    for file in (tmp_path / "plain").iterdir():  # PEFT writes a set into its config, in any order
        armed = (tmp_path / "armed" / file.name).read_bytes()
        assert (
            (sorted(armed) == sorted(file.read_bytes()))
            if file.suffix == ".json"
            else armed == file.read_bytes()
        )
    loaded = PeftModel.from_pretrained(net(), tmp_path / "armed").eval()
    loaded.base_model.model.head.load_state_dict(plain.base_model.model.head.state_dict())
    assert torch.equal(loaded(rows()), plain.eval()(rows()))
    expected = plain.merge_and_unload()
    for result in (merged, here):
        assert_same_kinds(result, expected)
        assert torch.equal(result(rows()), expected(rows()))


def test_our_armed_model_is_saved_and_merged_like_a_plain_one(tmp_path: Path) -> None:
    model = ours()
    plain = copy.deepcopy(model)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        save_adapter(model, tmp_path / "adapter")
        assert [name for name, _ in lora_layers(model)] == ["up", "down"]
        merged = merge_lora(copy.deepcopy(model), keep=False)
    loaded = load_adapter(net(), tmp_path / "adapter")
    assert torch.equal(loaded(rows()), plain(rows()))
    assert_same_kinds(merged, merge_lora(plain, keep=False))
    assert torch.equal(merged(rows()), plain(rows()))


def test_adapters_come_and_go_while_armed() -> None:
    model = peft_lora()
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(0)
        model.add_adapter("other", LoraConfig(r=2, target_modules=["up", "down"]))
        model.set_adapter("other")
        results(model, rows())
        noise.begin_step(1)
        results(model, rows())
        model.set_adapter("default")
        model.delete_adapter("other")
        noise.begin_step(2)
        results(model, rows())


def test_a_change_of_adapters_within_a_step_is_an_error() -> None:
    model = get_peft_model(net(), LoraConfig(r=2, target_modules=["up"])).train()
    model.add_adapter("other", LoraConfig(r=2, target_modules=["up"]))
    x = torch.randn(4, 10)
    with flat.arm(model, schedule="constant") as noise:
        noise.begin_step(0)
        model(x)
        model.set_adapter("other")
        with pytest.raises(RuntimeError, match="call begin_step again after set_adapter"):
            model(x)
        noise.begin_step(0)
        model(x)


def test_a_pickle_of_an_armed_model_opens_without_lowland(tmp_path: Path) -> None:
    model = get_peft_model(nn.Sequential(nn.Linear(4, 4)), LoraConfig(r=2, target_modules=["0"]))
    with flat.arm(model, rho=0.1, schedule="constant") as noise:
        noise.begin_step(0)
        torch.save(model, tmp_path / "armed.pt")
    opener = (
        "import sys; sys.modules['lowland'] = None; import torch;"
        f" print(type(torch.load({str(tmp_path / 'armed.pt')!r}, weights_only=False)).__module__)"
    )
    result = subprocess.run([sys.executable, "-c", opener], capture_output=True, text=True, check=True)
    assert result.stdout.split()[-1] == "peft.peft_model"


@pytest.mark.parametrize("kind", ["ours", "LoRA", "DoRA", "VeRA", "IA3"])
def test_the_classes_of_an_armed_model_keep_their_names(kind: str) -> None:
    model = KINDS[kind]()
    names = [
        type(module).__qualname__ for module in model.modules()
    ]  # auto-wrap policies and configs read them
    with flat.arm(model, rho=0.1, schedule="constant"):
        assert [type(module).__qualname__ for module in model.modules()] == names


def test_arming_adds_no_hooks() -> None:
    model = KINDS["LoRA"]()
    with flat.arm(model, rho=0.1, schedule="constant"):
        twin = copy.deepcopy(model)
    for module in (*model.modules(), *twin.modules()):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_replaced_forward_of_a_base_is_called_without_noise() -> None:
    model, x = KINDS["ours"](), rows()
    before = model(x)
    base = model.up.base
    real = base.forward
    base.forward = lambda inputs: 2 * real(inputs)
    assert not torch.equal(model(x), before)
    base.forward = real
    torch.testing.assert_close(model(x), before)
