"""Noise under both kinds of gradient checkpointing: a recomputed pass uses the first pass's noise, or raises.

Also the gate, which distinguishes a training pass whose gradients are off from a pass without gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import LlamaForCausalLM, PreTrainedModel

from lowland import LoRAConfig, add_lora, flat
from tests.lora.test_checkpointing import calls_of, llama

__all__ = ["llama"]
KINDS = ("ours", "peft", "dora")
BOTH = pytest.mark.parametrize("reentrant", [True, False])


def adapted(model: nn.Module, kind: str, p: float = 0.0) -> nn.Module:
    """Return the model adapted, in training mode, with a B that is not zero."""
    if kind == "ours":
        add_lora(model, LoRAConfig(r=2, dropout=p))
    else:
        names = ["0", "2"] if isinstance(model, Blocks) else None
        names = names or (
            ["q_proj", "up_proj"] if isinstance(model, LlamaForCausalLM) else ["query", "dense"]
        )
        config = LoraConfig(r=2, lora_dropout=p, target_modules=names, use_dora=kind == "dora")
        model = get_peft_model(model, config)
    source = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5, generator=source)
    return model.train()


class Blocks(nn.Sequential):
    """Two linear layers with a GELU between, as one checkpoint if `kind` says so."""

    kind: bool | None = None  # use_reentrant, or None for no checkpointing

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., 6) for x (..., 6)."""
        run = super().forward
        return run(x) if self.kind is None else checkpoint(run, x, use_reentrant=self.kind)


def blocks(kind: str = "ours", reentrant: bool | None = None) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = Blocks(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        inner.kind = reentrant
        return adapted(inner, kind).double()


def data() -> Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randn(5, 6, generator=source, dtype=torch.float64).requires_grad_()


def grads_of(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]


def trained(model: nn.Module, x: Tensor, between: Callable[[], Any] = lambda: None) -> list[Tensor]:
    """Return the gradients of one pass; `between` is called between its forward and its backward pass."""
    model.zero_grad()
    loss = model(x).pow(2).sum()
    between()
    loss.backward()
    return grads_of(model)


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    assert len(some) == len(others) > 0
    return all(torch.equal(mine, theirs) for mine, theirs in zip(some, others, strict=True))


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("p", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_gradients_are_to_the_bit_those_without_checkpointing(
    name: str, kind: str, p: float, reentrant: bool, tokens: Tensor, request: pytest.FixtureRequest
) -> None:
    base: PreTrainedModel = request.getfixturevalue(name)
    model = adapted(base, kind, p)

    def gradients_of(model: PreTrainedModel) -> dict[str, Tensor]:
        model.zero_grad()
        torch.manual_seed(7)
        labels = tokens if name == "llama" else tokens[:, 0] % 3
        model(input_ids=tokens, labels=labels).loss.backward()
        return {
            key: parameter.grad.clone()
            for key, parameter in model.named_parameters()
            if parameter.grad is not None
        }

    clean = gradients_of(model)
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(2)
        expected = gradients_of(model)
        former = "gradient_checkpointing_enable"  # its name until transformers 6
        enable = getattr(model, "activation_checkpointing_enable", None) or getattr(model, former)
        enable({"use_reentrant": reentrant})
        if reentrant:
            base.enable_input_require_grads()
        calls = calls_of(next(iter(noise.layers.values())))
        actual = gradients_of(model)
    assert len(calls) == 2  # the second time in the backward pass
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    assert not any(torch.equal(expected[key], clean[key]) for key in expected if "lora_A" in key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reentrant", [True, False, None])
def test_a_reference_pass_before_backward_is_noise_free_and_harmless(
    kind: str, reentrant: bool | None
) -> None:
    model, x = blocks(kind, reentrant), data()
    with torch.no_grad():
        clean = model(x)
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        expected, seen = trained(model, x), []

        def reference() -> None:  # as in DPO: in training mode, with the adapter disabled if possible
            with torch.no_grad():
                seen.append(model(x))
                if kind != "ours":
                    with model.disable_adapter():
                        seen.append(model(x))
                    assert not torch.equal(seen[1], seen[0])

        assert same(trained(model, x, reference), expected)
        assert torch.equal(seen[0], clean)
        if kind != "ours":
            noise.end_step()
            with torch.no_grad(), model.disable_adapter():
                assert torch.equal(seen[1], model(x))


CHANGES: dict[str, Callable[[nn.Module, flat.Noise], Any]] = {
    "begin_step": lambda model, noise: noise.begin_step(1),
    "end_step": lambda model, noise: noise.end_step(),
    "eval": lambda model, noise: model.eval(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["ours", "peft"])
@BOTH
def test_a_change_before_a_backward_pass_that_recomputes_is_refused(
    change: str, kind: str, reentrant: bool
) -> None:
    model, x = blocks(kind, reentrant), data()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        with pytest.raises(RuntimeError, match=r"noise was changed .* call backward\(\) first"):
            trained(model, x, lambda: CHANGES[change](model, noise))
        model.train()
        noise.begin_step(0)  # nothing is left behind
        assert same(trained(model, x), trained(blocks_under(noise, kind), x))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_a_backward_pass_that_recomputes_after_another_forward_pass_is_refused(
    change: str, kind: str, reentrant: bool
) -> None:
    model, x = blocks(kind, reentrant), data()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        first = model(x).pow(2).sum()
        CHANGES[change](model, noise)
        second = (
            model(x).pow(2).sum()
        )  # its noise is that of now, so only the order of the passes shows the fault
        with pytest.raises(RuntimeError, match=r"noise was changed .* call backward\(\) first"):
            first.backward()
        model.zero_grad()
        second.backward()
        actual = grads_of(model)
        assert same(trained(model, x), actual)


@BOTH
def test_several_forward_passes_before_their_backward_passes_share_a_step(reentrant: bool) -> None:
    model, x = blocks("ours", reentrant), data()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        for step in range(2):
            noise.begin_step(step)
            expected = trained(model, x)
            losses = [model(x).pow(2).sum() for _ in range(3)]
            model.zero_grad()
            losses[1].backward()
            assert same(grads_of(model), expected)
            losses[0].backward()
            losses[2].backward()
            noise.end_step()


def test_a_reentrant_checkpoint_inside_another_is_refused() -> None:
    inner, x = blocks("ours", True), data()
    outer = Blocks(inner)
    outer.kind = True
    with flat.arm(outer, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        with pytest.raises(RuntimeError, match="use_reentrant=False"):
            trained(outer, x)


def blocks_under(noise: flat.Noise, kind: str) -> nn.Module:
    """Return a new copy of the model under the same noise, without checkpointing."""
    model = blocks(kind)
    flat.arm(model, rho=0.3, schedule="constant").begin_step(0)
    return model


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_without_recomputation_the_gradient_stays_that_of_the_forward_pass(change: str, kind: str) -> None:
    model, x = blocks(kind), data()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        expected = trained(model, x)
        assert same(trained(model, x, lambda: CHANGES[change](model, noise)), expected)


@pytest.mark.parametrize("reentrant", [True, False, None])
def test_an_exception_within_the_model_leaves_the_gate_shut(reentrant: bool | None) -> None:
    model, x = blocks("ours", reentrant), data()
    whole = nn.Sequential(model, nn.Identity())
    with torch.no_grad():
        clean = model(x)
    with flat.arm(whole, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        expected = trained(whole, x)
        hook = whole[1].register_forward_hook(lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            whole(x)
        with torch.no_grad():
            assert torch.equal(model(x), clean)  # a part called by itself does not pass the gate
        hook.remove()
        assert same(trained(whole, x), expected)


def test_the_gate_alone_lets_noise_into_a_pass_whose_gradients_are_off_inside() -> None:
    model, x = blocks(), data()

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return self.inner(x)

    whole, clean = Inside(), model(x)
    with flat.arm(whole, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        assert torch.equal(whole(x), model(x))
        assert not torch.equal(whole(x), clean)
        with torch.no_grad():
            assert torch.equal(whole(x), clean)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_differences(kind: str) -> None:
    model, x = blocks(kind), data()
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        assert torch.autograd.gradgradcheck(model, (x,))


def test_function_transforms_answer_as_those_of_lora_do() -> None:
    x = data().detach()
    model = blocks("peft")
    with flat.arm(model, rho=0.3, schedule="constant") as noise:
        noise.begin_step(0)
        with pytest.raises(RuntimeError, match=r"functorch|setup_context"):
            torch.func.grad(lambda tensor: model(tensor).sum())(x)
    plain = blocks("ours")
    with pytest.raises(RuntimeError, match=r"functorch|setup_context"):
        torch.func.grad(lambda tensor: plain(tensor).sum())(x)
