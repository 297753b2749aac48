"""`LoRALinear` against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lowland import LoRALinear
from lowland.ground.mistakes import Mistake


def filled(layer: LoRALinear) -> LoRALinear:
    """Return the layer with a random, nonzero B."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.lora_B.normal_(generator=generator)
    return layer


@pytest.mark.parametrize("base", [nn.Linear(6, 5), nn.Linear(6, 5, bias=False), Conv1D(5, 6)])
@pytest.mark.parametrize("rslora", [False, True])
def test_forward_is_the_formula(base: nn.Module, rslora: bool) -> None:
    layer = filled(LoRALinear(base, r=4, alpha=10, rslora=rslora)).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    s = 10 / (math.sqrt(4) if rslora else 4)
    w = base.weight.T if isinstance(base, Conv1D) else base.weight
    expected = x @ (w + s * layer.lora_B @ layer.lora_A).T + (0 if base.bias is None else base.bias)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_gradients_are_those_of_plain_autograd_on_the_merged_weight() -> None:
    layer = filled(LoRALinear(nn.Linear(6, 5), r=3, alpha=7)).double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    layer(x).pow(2).sum().backward()
    a, b = (matrix.detach().clone().requires_grad_() for matrix in (layer.lora_A, layer.lora_B))
    x2 = x.detach().clone().requires_grad_()
    y = x2 @ (layer.base.weight + 7 / 3 * b @ a).T + layer.base.bias
    y.pow(2).sum().backward()
    for ours, theirs in ((layer.lora_A.grad, a.grad), (layer.lora_B.grad, b.grad), (x.grad, x2.grad)):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_new_layer_computes_what_its_base_does_and_only_the_branch_trains() -> None:
    base = nn.Linear(8, 6)
    layer = LoRALinear(base, r=2, alpha=4)
    x = torch.randn(5, 8)
    assert torch.equal(layer(x), base(x))
    assert layer.lora_A.abs().sum() > 0
    assert {name for name, parameter in layer.named_parameters() if parameter.requires_grad} == {
        "lora_A",
        "lora_B",
    }


def test_a_is_kaiming_uniform() -> None:
    layer = LoRALinear(nn.Linear(600, 300), r=200, alpha=1, generator=torch.Generator().manual_seed(0))
    bound = 1 / math.sqrt(600)  # sqrt(6 / (1 + 5)) / sqrt(in)
    assert layer.lora_A.abs().max() <= bound
    assert layer.lora_A.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)


def test_dropout_applies_to_the_branch_alone_and_only_in_training() -> None:
    layer = filled(LoRALinear(nn.Linear(8, 6), r=2, alpha=4, dropout=0.5))
    x = torch.randn(5, 8)
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    layer.lora_B.data.zero_()
    assert torch.equal(layer(x), layer.base(x))


def test_a_rank_below_1_is_refused() -> None:
    with pytest.raises(Mistake, match="r is 0; it must be at least 1"):
        LoRALinear(nn.Linear(8, 6), r=0, alpha=1)
