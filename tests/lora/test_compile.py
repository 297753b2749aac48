"""`torch.compile` of adapted models: a single graph, compiled once, with the results of eager mode."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from transformers import PreTrainedModel

from lowland import LoRAConfig, add_lora
from lowland.lora import lora_layers

INDUCTOR = pytest.param(
    "inductor",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"),
    ],
)
# (inductor uses parts of PyTorch that PyTorch deprecates)
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
BACKENDS = pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset the compiler, make recompilation an error, and let it draw masks as eager mode does."""
    torch._dynamo.reset()
    counters.clear()
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        torch._inductor.config.patch(fallback_random=True),
    ):
        yield
    torch._dynamo.reset()


def adapted(model: nn.Module, dropout: float) -> nn.Module:
    add_lora(model, LoRAConfig(r=2, alpha=2, dropout=dropout))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.5, generator=torch.Generator().manual_seed(5))
    return model.train()


def stack(dropout: float) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return adapted(nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 4)), dropout)


def in_pieces(model: nn.Module) -> nn.Module:
    """Add hooks to the bases, so that eager mode also calls the base and computes the branch separately."""
    for _, layer in lora_layers(model):
        layer.base.register_forward_hook(lambda *arguments: None)
    return model


def gradients(model: nn.Module, *inputs: Tensor, seed: int = 0) -> tuple[Tensor, ...]:
    model.zero_grad()
    torch.manual_seed(seed)
    y = model(*inputs)
    (y if isinstance(y, Tensor) else y.logits).float().pow(2).mean().backward()
    return tuple(parameter.grad for parameter in model.parameters() if parameter.requires_grad)


def assert_near(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float = 1e-5) -> None:
    scale = max(other.norm() for other in expected)
    assert 0 < scale < torch.inf
    for gradient, other in zip(actual, expected, strict=True):
        assert (gradient - other).norm() <= tolerance * scale


@BACKENDS
@pytest.mark.parametrize("tokens", [8, 64])
def test_gradients_are_those_of_the_fused_path(backend: str, tokens: int) -> None:
    model = stack(0.0)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend=backend)
    x = torch.randn(2, tokens // 2, 8)
    assert_near(gradients(compiled, x), gradients(model, x))


@BACKENDS
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_graph_serves_all_steps_masks_differ_and_are_those_of_eager_mode(
    backend: str, dropout: float
) -> None:
    model = stack(dropout)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend=backend)
    eager = in_pieces(model)
    optimizers = [torch.optim.SGD(trained.parameters(), lr=0.01) for trained in (compiled, eager)]
    for step in range(4):
        x = torch.randn(16, 8, generator=torch.Generator().manual_seed(9))
        actual, expected = gradients(compiled, x, seed=step), gradients(eager, x, seed=step)
        assert_near(actual, expected)
        for optimizer in optimizers:
            optimizer.step()
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    first, other = (gradients(compiled, x, seed=seed)[0].clone() for seed in (8, 9))
    assert first.isfinite().all()
    assert torch.equal(first, other) == (dropout == 0)


@BACKENDS
@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_under_bf16_autocast(backend: str, held: torch.dtype) -> None:
    model = stack(0.0)
    for _, layer in lora_layers(model):
        layer.base.to(held)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend=backend)
    x = torch.randn(16, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x).dtype == torch.bfloat16
        actual, expected = gradients(compiled, x), gradients(model, x)
    assert all(gradient.dtype == torch.float32 for gradient in actual)
    assert_near(actual, expected, 4 * torch.finfo(torch.bfloat16).eps)


@BACKENDS
def test_a_bert_is_one_graph(bert: PreTrainedModel, tokens: Tensor, backend: str) -> None:
    model = adapted(bert, 0.1)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend=backend)
    eager = in_pieces(model)
    for step in range(2):
        assert_near(gradients(compiled, tokens, seed=step), gradients(eager, tokens, seed=step))
    assert counters["stats"]["unique_graphs"] == 1
