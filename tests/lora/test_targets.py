"""Selection of layers, recognition of output heads, and tied weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lowland import LoRAConfig, add_lora
from lowland.ground.mistakes import Mistake
from lowland.lora import find_head, lora_layers
from lowland.lora.inject import config_of
from lowland.lora.targets import saved_names, target_names
from tests.lora.conftest import MODELS, assert_untouched, state_of

HEADS = {
    "bert": {"classifier"},
    "bert for words": {"cls"},
    "bert for tokens": {"classifier"},
    "roberta": {"classifier"},
    "distilbert": {"classifier", "pre_classifier"},
    "gpt2": {"lm_head"},
    "gpt2 for texts": {"score"},
    "llama": {"lm_head"},
    "llama for texts": {"score"},
    "t5": {"lm_head"},
    "t5 for texts": {"classification_head"},
    "bart": {"lm_head"},
}
LINEAR_LAYERS = {
    "bert": 13,  # six a layer, and the pooler
    "bert for words": 12,
    "bert for tokens": 12,
    "roberta": 12,
    "distilbert": 12,
    "gpt2": 8,
    "gpt2 for texts": 8,
    "llama": 14,
    "llama for texts": 14,
    "t5": 32,  # two encoder layers of 6, two decoder layers of 10
    "t5 for texts": 32,
    "bart": 16,
}


@pytest.mark.parametrize("name", MODELS)
def test_all_linear_is_all_but_the_head(build: Callable[[str], Any], name: str) -> None:
    model = build(name)
    assert set(find_head(model)) == HEADS[name]
    output = model.get_output_embeddings()
    names = [name for name, _ in lora_layers(add_lora(model, LoRAConfig(r=2)))]
    assert len(names) == LINEAR_LAYERS[name]
    assert not any(layer.split(".")[0] in HEADS[name] or "embed" in layer for layer in names)
    assert output is None or output is model.get_output_embeddings()


class Wrapped(nn.Module):
    """A user's own module around a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"model": model})
        self.value = nn.Linear(16, 1)


class Tied(nn.Module):
    """A plain language model whose output layer shares the embedding, under an unusual name."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.inner, self.out = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9, bias=False)
        self.out.weight = self.words.weight


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(4, 4)
        self.other = nn.Linear(4, 4)


def test_heads_inside_other_modules_are_found(build: Callable[[str], Any]) -> None:
    assert find_head(Wrapped(build("gpt2"))) == ("net.model.lm_head",)
    assert find_head(Wrapped(build("t5"))) == ("net.model.lm_head",)
    plain = nn.ModuleDict({"body": nn.ModuleDict({"layer": nn.Linear(2, 2), "head": nn.Linear(2, 2)})})
    assert find_head(plain) == ("body.head",)
    assert target_names(plain, LoRAConfig()) == ["body.layer"]


def test_a_linear_layer_that_is_the_embedding_is_a_head() -> None:
    assert find_head(Tied()) == ("out",)
    assert target_names(Tied(), LoRAConfig()) == ["inner"]


TIED = [
    ("gpt2", {"targets": ["lm_head"]}, "lm_head shares its weight with transformer.wte"),
    ("gpt2", {"targets": ["c_attn", "wte"]}, "transformer.wte shares its weight with lm_head"),
    (
        "gpt2",
        {"modules_to_save": ("lm_head",)},
        "lm_head in modules_to_save shares its weight with transformer.wte",
    ),
    (
        "gpt2",
        {"modules_to_save": ("wte",)},
        "transformer.wte in modules_to_save shares its weight with lm_head",
    ),
    ("t5", {"targets": ["shared"]}, "shared shares its weight with"),
    ("bert for words", {"modules_to_save": ("cls",)}, "cls.predictions.decoder in modules_to_save shares"),
]


@pytest.mark.parametrize(("name", "config", "message"), TIED)
def test_tied_weights_are_refused(
    build: Callable[[str], Any], name: str, config: dict[str, Any], message: str
) -> None:
    model = build(name)
    before = state_of(model)
    with pytest.raises(Mistake, match=message):
        add_lora(model, LoRAConfig(r=2, **config))
    assert_untouched(model, before)


def test_tied_modules_may_both_be_trained(build: Callable[[str], Any]) -> None:
    model = add_lora(build("gpt2"), LoRAConfig(r=2, modules_to_save=("lm_head", "wte")))
    assert model.lm_head.weight is model.transformer.wte.weight
    assert model.lm_head.weight.requires_grad


@pytest.mark.parametrize("targets", ["all-linear", ["first"], ["second", "other"]])
def test_a_layer_under_two_names_is_refused(targets: str | list[str]) -> None:
    model = Twice()
    if targets == ["second", "other"]:
        with pytest.raises(Mistake, match="unknown target module 'second'"):
            add_lora(model, LoRAConfig(r=2, targets=targets))
        return
    before = state_of(model)
    with pytest.raises(Mistake, match="first shares its weight with second"):
        add_lora(model, LoRAConfig(r=2, targets=targets))
    assert_untouched(model, before)
    assert len(list(lora_layers(add_lora(model, LoRAConfig(r=2, targets="other"))))) == 1


def test_entries_of_modules_to_save_match_the_end_of_a_name_as_in_peft(build: Callable[[str], Any]) -> None:
    model = build("distilbert")
    assert saved_names(model, ["classifier"]) == ("pre_classifier", "classifier")
    assert saved_names(model, ["pre_classifier"]) == ("pre_classifier",)
    assert saved_names(model, []) == ()
    add_lora(model, LoRAConfig(r=2, targets=["lin1"], modules_to_save="classifier"))
    assert config_of(model).modules_to_save == ("pre_classifier", "classifier")
    trained = {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and "lora" not in name
    }
    assert trained == {f"{part}classifier.{kind}" for part in ("pre_", "") for kind in ("weight", "bias")}


class Router(nn.Linear):
    """A linear layer that computes more than a matrix product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(-1)


def test_a_layer_with_a_forward_of_its_own_is_left_alone_and_refused_by_name() -> None:
    model = nn.ModuleDict({"router": Router(4, 4), "plain": nn.Linear(4, 4)})
    assert target_names(model, LoRAConfig()) == ["plain"]
    with pytest.raises(Mistake, match="Router has a forward pass of its own"):
        add_lora(model, LoRAConfig(r=2, targets=["router"]))
    attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    with pytest.raises(Mistake, match="never calls it"):
        add_lora(attention, LoRAConfig(r=2, targets=["out_proj"]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"targets": ["querry"]}, "unknown target module 'querry'; did you mean 'query'?"),
        ({"r": 17}, "rank 17 is larger than layer bert.encoder.layer.0.attention.self.query (16 x 16)"),
        ({"rank_pattern": {"value": 20}}, "rank 20 is larger than layer"),
        ({"rank_pattern": {"valu": 2}}, "unknown layer in rank_pattern 'valu'; did you mean 'value'?"),
        ({"alpha_pattern": {"layer.7.*": 2}}, "unknown layer in alpha_pattern 'layer.7.*'"),
        ({"targets": ["query"], "alpha_pattern": {"value": 2}}, "unknown layer in alpha_pattern 'value'"),
        ({"modules_to_save": ("head",)}, "unknown module to save 'head'"),
    ],
)
def test_a_config_that_does_not_fit_leaves_the_model_unchanged(
    bert: nn.Module, config: dict[str, Any], message: str
) -> None:
    before = state_of(bert)
    with pytest.raises(Mistake, match=re.escape(message)):
        add_lora(bert, LoRAConfig(**config))
    assert_untouched(bert, before)


def test_an_unsupported_quantisation_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight = nn.Parameter(model[0].weight.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(Mistake, match=r"layer 0 cannot be adapted: its weight is torch\.float8_e4m3fn"):
        add_lora(model, LoRAConfig(r=2))


def test_a_layer_alone_is_not_a_model() -> None:
    with pytest.raises(Mistake, match="Linear has no linear layer to adapt"):
        add_lora(nn.Linear(4, 4))
