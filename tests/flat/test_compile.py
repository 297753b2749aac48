"""`torch.compile` under noise: one graph, compiled once for all steps, with the gradients of W + eps.

Step 0 of a ramp has no noise and a graph of its own, LoRA's.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch._dynamo.utils import counters
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lowland import LoRAConfig, add_lora, flat
from lowland.flat import bank
from lowland.flat.linear import base_of
from tests.lora.test_bases import quantised

NO_COMPILER = not (shutil.which("g++") or shutil.which("clang++"))
INDUCTOR_S = [pytest.mark.slow, pytest.mark.skipif(NO_COMPILER, reason="no C++ compiler")]
# (inductor uses deprecated parts of PyTorch)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]
BACKENDS = pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=INDUCTOR_S)])
KINDS = ("ours", "ours, dropout", "ours, Conv1D", "peft", "peft, dropout")
INS, OUTS = 8, 12


@pytest.fixture(autouse=True)
def compiled_once() -> Iterator[None]:
    """Reset the compiler, make recompilation an error, and draw dropout masks as eager PyTorch does."""
    torch._dynamo.reset()
    counters.clear()
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        torch._inductor.config.patch(fallback_random=True),
        torch.random.fork_rng(),
    ):
        torch.manual_seed(0)
        yield
    torch._dynamo.reset()


def filled(model: nn.Module) -> nn.Module:
    """Return the model in training mode, with a B that is not zero."""
    source = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5, generator=source)
    return model.train()


def adapted(kind: str, model: nn.Module | None = None) -> nn.Module:
    """Return two adapted layers, or a whole model adapted."""
    name, _, rest = kind.partition(", ")
    p = 0.3 if rest == "dropout" else 0.0
    if model is None:
        first = Conv1D(OUTS, INS) if rest == "Conv1D" else nn.Linear(INS, OUTS)
        model = nn.Sequential(first, nn.GELU(), nn.Linear(OUTS, 4))
    if name == "ours":
        return filled(add_lora(model, LoRAConfig(r=2, alpha=2, dropout=p)))
    targets = ["0", "2"] if isinstance(model, nn.Sequential) else ["query", "value", "dense"]
    return filled(
        get_peft_model(
            model, LoraConfig(r=2, lora_dropout=p, target_modules=targets, use_dora=name == "dora")
        )
    )


def gradients(model: nn.Module, *inputs: Tensor, seed: int = 0) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    y = model(*inputs)
    (y if isinstance(y, Tensor) else y.logits).float().pow(2).mean().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {
        name.removeprefix("_orig_mod."): gradient.clone()
        for name, gradient in grads.items()
        if gradient is not None
    }


def with_explicit_noise(model: nn.Module, noise: flat.Noise) -> nn.Module:
    """A copy, not armed, with W + eps for W; our layers run in pieces, to draw dropout as compiled code."""
    other = copy.deepcopy(model)
    for layer, plain in (
        (module, other.get_submodule(name))
        for name, module in model.named_modules()
        if module in list(noise.layers.values())
    ):
        base, eps = base_of(plain), layer.drawn_noise.eps().to(base_of(plain).weight.dtype)
        base.weight.data += eps.T if isinstance(base, Conv1D) else eps
        base.register_forward_hook(lambda *args: None)
    return other


def assert_near(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert actual.keys() == expected.keys()
    scale = max(gradient.norm() for gradient in expected.values())
    assert 0 < scale < torch.inf
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= tolerance * scale, name


def assert_one_graph() -> None:
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@BACKENDS
@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_serves_all_steps_and_its_gradients_are_those_of_the_noise(backend: str, kind: str) -> None:
    model = adapted(kind)
    with flat.arm(model, rho=0.5, total_steps=6) as noise:
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        optimizer = torch.optim.SGD(compiled.parameters(), lr=0.01)
        x = torch.randn(16, INS)
        plain = gradients(copy.deepcopy(model), x)
        for step in range(1, 5):
            noise.begin_step(step)
            actual = gradients(compiled, x, seed=step)
            assert_near(actual, gradients(with_explicit_noise(model, noise), x, seed=step))
            optimizer.step()
            noise.end_step()
        assert_one_graph()
        with pytest.raises(AssertionError):
            assert_near(actual, plain, 1e-2)


@BACKENDS
def test_a_ramp_s_first_step_has_no_noise_and_is_one_graph_more(backend: str) -> None:
    model = adapted("ours")
    plain = copy.deepcopy(model)
    with torch._dynamo.config.patch(error_on_recompile=False), flat.arm(model, total_steps=4) as noise:
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        x, graphs = torch.randn(16, INS), []
        for step in range(4):
            noise.begin_step(step)
            actual = gradients(compiled, x)
            graphs.append(counters["stats"]["unique_graphs"])
            if step == 0:
                assert_near(actual, gradients(plain, x))
            noise.end_step()
    assert graphs == [1, 2, 2, 2]


@BACKENDS
@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_a_layer_of_several_windows(backend: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "MAX_WINDOW", 5 * INS)
    model = adapted(kind)
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        x = torch.randn(16, INS)
        for step in range(3):
            noise.begin_step(step)
            assert [len(block) for block in next(iter(noise.layers.values())).drawn_noise.blocks] == [5, 5, 2]
            assert_near(gradients(compiled, x), gradients(with_explicit_noise(model, noise), x))
        assert_one_graph()


@BACKENDS
@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_w_plus_eps_is_built_again_for_the_backward_pass(backend: str, kind: str) -> None:
    model, saved = adapted(kind), []
    with flat.arm(model, rho=0.5, schedule="constant") as noise:
        noise.begin_step(0)
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        known.add(next(iter(noise.layers.values())).drawn_noise.blocks[0].untyped_storage().data_ptr())
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
        ):
            compiled(torch.randn(2, INS, requires_grad=True)).sum().backward()
    fresh = [tensor for tensor in saved if tensor.untyped_storage().data_ptr() not in known]
    assert len(saved) > len(fresh) > 0
    assert max(tensor.numel() for tensor in fresh) <= 2 * OUTS  # outputs, and one number a row


@BACKENDS
@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_under_bf16_autocast(backend: str, kind: str, held: torch.dtype) -> None:
    model = adapted(kind)
    for layer in (model[0], model[2]) if kind == "ours" else (model.model[0], model.model[2]):
        base_of(layer).to(held)
    with flat.arm(model, rho=0.5, schedule="constant") as noise, torch.autocast("cpu", torch.bfloat16):
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        x = torch.randn(16, INS)
        for step in range(3):
            noise.begin_step(step)
            actual = gradients(compiled, x)
            assert all(gradient.dtype == torch.float32 for gradient in actual.values())
            assert_near(
                actual, gradients(with_explicit_noise(model, noise), x), 8 * torch.finfo(torch.bfloat16).eps
            )
        assert_one_graph()


@BACKENDS
@pytest.mark.parametrize("kind", ["ours, dropout", "peft, dropout"])
def test_a_bert_is_one_graph_with_its_hooks(
    bert: PreTrainedModel, tokens: Tensor, kind: str, backend: str
) -> None:
    model = adapted(kind, bert)
    with flat.arm(model, rho=0.2, schedule="constant") as noise:
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        for step in range(3):
            noise.begin_step(step)
            expected = gradients(with_explicit_noise(model, noise), tokens, seed=step)
            assert_near(gradients(compiled, tokens, seed=step), expected, 1e-4)
            noise.end_step()
    assert_one_graph()


@BACKENDS
@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_there_is_no_noise_in_evaluation_nor_in_a_pass_without_gradients(backend: str, kind: str) -> None:
    model = adapted(kind)
    x = torch.randn(16, INS)
    with (
        torch._dynamo.config.patch(error_on_recompile=False),
        flat.arm(model, rho=0.5, schedule="constant") as noise,
    ):
        compiled, plain = torch.compile(model, fullgraph=True, backend=backend), model(x)
        noise.begin_step(0)
        assert not torch.allclose(compiled(x), plain, atol=1e-2)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), plain)
        torch.testing.assert_close(compiled.eval()(x), plain)
        compiled.train()
        graphs = counters["stats"]["unique_graphs"]
        for step in range(1, 4):  # both graphs are used again
            noise.begin_step(step)
            assert not torch.allclose(compiled(x), plain, atol=1e-2)
            with torch.no_grad():
                compiled(x)
        assert counters["stats"]["unique_graphs"] == graphs


@BACKENDS
@pytest.mark.parametrize("armed_first", [False, True])
@pytest.mark.parametrize("outer", [False, True])
def test_noise_is_the_same_whether_the_model_is_armed_or_compiled_first(
    backend: str, armed_first: bool, outer: bool
) -> None:
    model, x = adapted("ours"), torch.randn(16, INS)
    draws, grads = [], []
    for mode in ("eager", "compiled"):
        copied = copy.deepcopy(model)
        compiled = (
            copied
            if mode == "eager" or armed_first
            else torch.compile(copied, fullgraph=True, backend=backend)
        )
        with flat.arm(compiled if outer else copied, rho=0.5, schedule="constant") as noise:
            if mode == "compiled" and armed_first:
                compiled = torch.compile(copied, fullgraph=True, backend=backend)
            noise.begin_step(3)
            grads.append(gradients(compiled, x))
            draws.append([layer.drawn_noise.eps() for layer in list(noise.layers.values())])
            assert list(noise.layers) == ["0", "2"]
    assert_near(grads[1], grads[0])
    for mine, theirs in zip(*draws, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", ["nf4", "8bit"])
def test_a_quantised_base_breaks_the_graph_and_its_gradients_are_right(kind: str) -> None:
    model = filled(add_lora(nn.Sequential(quantised(nn.Linear(64, 64), kind)), LoRAConfig(r=2)))
    with (
        torch._dynamo.config.patch(error_on_recompile=False),
        flat.arm(model, rho=0.5, schedule="constant") as noise,
    ):
        compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(16, 64)
        for step in range(3):
            noise.begin_step(step)
            assert_near(gradients(compiled, x), gradients(model, x), 1e-4)


@pytest.mark.parametrize("kind", ["dora", "dora, dropout"])
def test_peft_s_dora_breaks_the_graph_by_itself_and_its_gradients_are_right(kind: str) -> None:
    model = adapted(kind)
    with (
        torch._dynamo.config.patch(error_on_recompile=False),
        flat.arm(model, rho=0.5, schedule="constant") as noise,
    ):
        compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(16, INS)
        for step in range(3):
            noise.begin_step(step)
            assert_near(gradients(compiled, x, seed=step), gradients(model, x, seed=step))


def test_noise_for_each_token_breaks_the_graph_and_is_that_of_eager_mode() -> None:
    model = adapted("ours")
    with (
        torch._dynamo.config.patch(error_on_recompile=False),
        flat.arm(model, rho=0.5, schedule="constant", noise="token") as noise,
    ):
        compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(16, INS)
        for step in range(3):
            noise.begin_step(step)
            assert_near(gradients(compiled, x), gradients(model, x))
