"""`LoRAEmbedding` against its formula."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lowland import LoRAConfig, add_lora, merge_lora, remove_lora, unmerge_lora
from lowland.ground.mistakes import Mistake
from lowland.lora import LoRAEmbedding, lora_layers
from tests.lora.conftest import answers, assert_untouched, fill_adapters, state_of

WORDS = torch.tensor([[1, 4, 0], [8, 1, 1]])


class Scaled(nn.Embedding):
    """Embedding that scales its output, as in Gemma and BART."""

    embed_scale = 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.embed_scale


class Shifted(nn.Embedding):
    """Embedding that shifts its indices, as OPT's for positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + 2)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("kind", [nn.Embedding, Scaled])
def test_forward_and_gradients_are_those_of_the_formula(kind: type[nn.Embedding], rslora: bool) -> None:
    layer = fill_adapters(LoRAEmbedding(kind(9, 6), r=4, alpha=10, rslora=rslora).double())
    a, b = (matrix.detach().clone().requires_grad_() for matrix in (layer.lora_A, layer.lora_B))
    s = 10 / (math.sqrt(4) if rslora else 4)
    full = layer.base.weight + s * (b @ a).T
    expected = full[WORDS] * (3 if kind is Scaled else 1)
    y = layer(WORDS)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.weight + layer.delta(), full, rtol=0, atol=1e-12)
    y.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    torch.testing.assert_close(layer.lora_A.grad, a.grad)
    torch.testing.assert_close(layer.lora_B.grad, b.grad)
    assert layer.base.weight.grad is None


def test_a_new_layer_answers_as_its_base_and_learns_at_once() -> None:
    base = nn.Embedding(9, 6)
    layer = LoRAEmbedding(base, r=2, alpha=4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer(WORDS), base(WORDS))
    layer(WORDS).sum().backward()
    met = layer.lora_A.grad.abs().sum(0) > 0
    assert torch.equal(met.nonzero().flatten(), WORDS.unique())
    twin = LoRAEmbedding(base, r=2, alpha=4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer.lora_B, twin.lora_B)


def test_padding_gets_no_gradient() -> None:
    layer = LoRAEmbedding(nn.Embedding(9, 6, padding_idx=0), r=2, alpha=4)
    layer(WORDS).sum().backward()
    assert not layer.lora_A.grad[:, 0].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_16_bits_has_an_adapter_in_32(dtype: torch.dtype) -> None:
    layer = LoRAEmbedding(nn.Embedding(9, 6, dtype=dtype), r=2, alpha=4)
    assert {layer.lora_A.dtype, layer.lora_B.dtype} == {torch.float32}
    assert layer(WORDS).dtype == dtype


def test_a_rank_that_does_not_fit_is_refused() -> None:
    with pytest.raises(Mistake, match="r is 0; it must be at least 1"):
        LoRAEmbedding(nn.Embedding(9, 6), r=0, alpha=1)
    with pytest.raises(Mistake, match=r"rank 7 is larger than layer words \(9 x 6\)"):
        add_lora(nn.ModuleDict({"words": nn.Embedding(9, 6)}), LoRAConfig(r=7, targets="words"))


def test_only_embeddings_that_are_named_are_adapted(build: Callable[[str], Any]) -> None:
    model = add_lora(build("bert"))
    assert not any(isinstance(layer, LoRAEmbedding) for _, layer in lora_layers(model))
    model = add_lora(build("bert"), LoRAConfig(r=2, targets=["word_embeddings", "query"]))
    kinds = {name.rsplit(".", 1)[-1]: type(layer).__name__ for name, layer in lora_layers(model)}
    assert kinds == {"word_embeddings": "LoRAEmbedding", "query": "LoRALinear"}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.rsplit(".", 1)[-1] for name in trained} == {"lora_A", "lora_B"}


def test_merging_unmerging_and_removing(build: Callable[[str], Any], tokens: torch.Tensor) -> None:
    base = build("bert")
    model = add_lora(copy.deepcopy(base), LoRAConfig(r=2, targets=["word_embeddings", "query"]))
    before = answers(fill_adapters(model), tokens)
    assert not torch.allclose(before, answers(base, tokens))
    merge_lora(model)
    torch.testing.assert_close(answers(model, tokens), before, rtol=0, atol=1e-5)
    unmerge_lora(model)
    assert torch.equal(answers(model, tokens), before)
    plain = merge_lora(copy.deepcopy(model), keep=False)
    assert list(plain.state_dict()) == list(base.state_dict())
    torch.testing.assert_close(answers(plain, tokens), before, rtol=0, atol=1e-5)
    assert torch.equal(answers(remove_lora(model), tokens), answers(base, tokens))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Embedding(9, 6, max_norm=1.0), "with max_norm an embedding overwrites its weight"),
        (Shifted(9, 6), "Shifted has a forward pass of its own"),
    ],
)
def test_embeddings_that_cannot_be_adapted_are_refused(layer: nn.Module, message: str) -> None:
    model = nn.ModuleDict({"words": layer})
    before = state_of(model)
    with pytest.raises(Mistake, match=f"layer words cannot be adapted: {message}"):
        add_lora(model, LoRAConfig(r=2, targets="words"))
    assert_untouched(model, before)
