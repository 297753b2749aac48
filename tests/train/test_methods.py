"""The table of methods: what each row trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from torch import nn

from lowland import FlatLoRA, count_parameters
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from lowland.train.methods import callbacks_of, method_named
from lowland.train.neftune import NEFTune
from lowland.train.prefixes import PREFIXES
from lowland.train.table import ALIASES, METHODS
from tests.train.runs import NETWORKS, adapt, settings_of


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_row_trains_the_described_parameters(bert: nn.Module, name: str) -> None:
    model = adapt(name, bert).model
    if name in ("full", "flat-full"):
        assert count_parameters(model).share == 1
        return
    if isinstance(model, PeftModel):
        kinds = {"dora": "lora_", "pissa": "lora_", "vera": "vera_lambda_", "ia3": "ia3_l"}
        head = {"base_model.model.classifier.modules_to_save.default." + part for part in ("weight", "bias")}
        assert head < trained(model)
        assert all(f".{kinds[name]}" in key for key in trained(model) - head)
        return
    head = {n for n, _ in model.named_parameters() if n.startswith("classifier")}
    if name in ("head", "bitfit"):
        biases = {n for n, _ in model.named_parameters() if n.endswith(".bias")}
        assert trained(model) == (head if name == "head" else head | biases)
        return
    adapters = {f"{n}.{matrix}" for n, _ in lora_layers(model) for matrix in ("lora_A", "lora_B")}
    if name == "bi-lora":
        adapters |= {key.replace("lora_", "auxiliary_") for key in adapters}
    assert trained(model) == head | adapters


def test_flat_lora_is_lora_and_a_callback() -> None:
    lora, flat = METHODS["lora"], METHODS["flat-lora"]
    assert flat.adapt is lora.adapt
    (callback,) = callbacks_of(flat, settings_of("flat-lora", rho=0.3), seed=7)
    assert isinstance(callback, FlatLoRA)
    assert (callback.rho, callback.seed) == (0.3, 7)
    assert set(flat.options) - set(lora.options) == {"rho"}


def test_rslora_is_lora_with_the_other_scale(bert: nn.Module) -> None:
    adapt("rslora", bert, alpha=8.0)
    assert {layer.scaling for _, layer in lora_layers(bert)} == {4.0}  # 8 / sqrt(4)
    assert "rslora" not in METHODS["rslora"].options


def test_lora_plus_is_lora_in_other_parameter_groups(bert: nn.Module) -> None:
    lora, plus = METHODS["lora"], METHODS["lora-plus"]
    assert plus.adapt is lora.adapt
    values = {"lr": 0.01, "lr_ratio": 4.0, "weight_decay": 0.1}
    adapt("lora-plus", bert, **values)
    assert lora.parameter_groups(bert, settings_of("lora")) is None
    groups = plus.parameter_groups(bert, settings_of("lora-plus", **values))
    assert groups is not None
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (0.01, 0.1),
        (0.01, 0.0),
        (0.04, 0.1),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_adapting_depends_on_the_seed_and_not_on_the_global_generator(name: str, bert: nn.Module) -> None:
    before = torch.random.get_rng_state()
    state = adapt(name, bert).model.state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if "rank_pattern" in row.options])
def test_patterns_give_layers_ranks_of_their_own(name: str, bert: nn.Module) -> None:
    model = adapt(name, bert, rank_pattern={"query": 2}, alpha_pattern={"query": 6.0}).model
    shapes = {n: tuple(parameter.shape) for n, parameter in model.named_parameters() if ".lora_A" in n}
    assert {shape[0] for n, shape in shapes.items() if ".query." in n} == {2}
    assert {shape[0] for n, shape in shapes.items() if ".query." not in n} == {4}
    scales = {n: module.scaling for n, module in model.named_modules() if n.endswith((".query", ".value"))}
    scales = {n: scale["default"] if isinstance(scale, dict) else scale for n, scale in scales.items()}
    query = 6 / 2 if name != "rslora" else 6 / 2**0.5
    assert {scale for n, scale in scales.items() if n.endswith("query")} == {query}


def test_every_summary_is_one_line() -> None:
    for row in (*METHODS.values(), *PREFIXES.values()):
        assert "\n" not in row.summary
        assert len(row.summary) <= 110


@pytest.mark.parametrize("name", METHODS)
def test_every_row_is_found_by_its_name(name: str) -> None:
    assert method_named(name) is METHODS[name]
    assert METHODS[name].name == name


@pytest.mark.parametrize(
    ("name", "own", "prefixes"),
    [
        ("flat+dora", "flat+dora", ("flat",)),
        ("flat+lora-plus", "flat+lora-plus", ("flat",)),
        ("neftune+full", "neftune+full", ("neftune",)),
        ("neftune+flat+lora-plus", "neftune+flat+lora-plus", ("neftune", "flat")),
        ("flat+neftune+ia3", "neftune+flat+ia3", ("neftune", "flat")),
        ("neftune+flat-lora", "neftune+flat-lora", ("neftune", "flat")),
        ("flat+lora", "flat-lora", ("flat",)),
        ("neftune+flat+lora", "neftune+flat-lora", ("neftune", "flat")),
        ("flat+neftune+lora", "neftune+flat-lora", ("neftune", "flat")),
        ("flat+full", "flat-full", ("flat",)),
        ("sam+lora", "sam-lora", ("sam",)),
        ("sam-w+lora", "sam-full", ("sam-w",)),
        ("sam+full", "sam+full", ("sam",)),
        ("flat+sam-lora", "sam+flat-lora", ("sam", "flat")),
        ("flat+ema+full", "ema+flat-full", ("ema", "flat")),
        ("swa+sam+dora", "swa+sam+dora", ("swa", "sam")),
    ],
)
def test_a_composed_name_is_the_row_with_noise_and_has_one_spelling(
    name: str, own: str, prefixes: tuple[str, ...]
) -> None:
    method, row = method_named(name), METHODS[own.rpartition("+")[2]]
    assert (method.name, method.prefixes) == (own, prefixes)
    assert method == method_named(own)
    assert (method.adapt, method.parameter_groups) == (row.adapt, row.parameter_groups)
    added = {prefix: PREFIXES[prefix].options for prefix in prefixes}
    assert set(method.options) == {
        *row.options,
        *(option for options in added.values() for option in options),
    }
    assert len(set(method.options)) == len(method.options)


def test_the_perturbations_of_a_name_reach_the_trainer() -> None:
    name = "flat+neftune+dora"
    settings = settings_of(name, rho=0.3, neftune_alpha=9.0)
    neftune, flat = callbacks_of(method_named(name), settings, seed=7)
    assert isinstance(neftune, NEFTune)
    assert (neftune.alpha, neftune.seed) == (9.0, 7)
    assert isinstance(flat, FlatLoRA)
    assert (flat.rho, flat.seed) == (0.3, 7)
    assert callbacks_of(METHODS["dora"], settings_of("dora"), seed=7) == []


@pytest.mark.parametrize("name", ALIASES)
def test_a_row_that_is_a_composition_by_another_name_is_that(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = method_named(name)
    assert row is METHODS[ALIASES[name]]
    monkeypatch.setattr("lowland.train.methods.ALIASES", {})
    composed = method_named(name)
    assert composed.name == name
    assert replace(composed, name=row.name, summary=row.summary) == row


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "sam-w+full",
            r"'sam-w\+full' cannot be used: sam-w changes an adapter's merged weight, and full has no adapter",
        ),
        (
            "flat+head",
            r"flat\+head' cannot be used: flat changes an adapter's merged weight, or weights that are all trained",
        ),
        ("neftune+flat+head", r"flat\+head' cannot be used"),
        ("ema+bag-of-words", r"bag-of-words trains no network that ema could change$"),
        (
            "ema+swa+lora",
            r"'ema\+swa\+lora' cannot be used: ema and swa exclude each other; use one of them$",
        ),
        ("flat+sam-w+dora", "sam-w and flat exclude each other"),
        ("flat+sam-full", "sam-w and flat exclude each other"),
        ("sam+sam-full", "sam and sam-w exclude each other"),
        ("sam+sam-lora", r"'sam\+sam-lora' has sam twice: sam-lora has it already"),
        ("sam", r"sam in 'sam' is a prefix; put a method behind it, as in sam\+lora"),
        ("flat+flat-lora", r"'flat\+flat-lora' has flat twice: flat-lora has it already"),
        ("flat+flat+dora", "has flat twice"),
        ("flat+neftune+flat-lora", "has flat twice"),
        ("neftune+flat+neftune+dora", "has neftune twice"),
        ("flatlora", "unknown method 'flatlora'; did you mean 'flat-lora'\\?"),
        ("flat+doora", r"unknown method 'flat\+doora'; did you mean 'flat\+dora'\?"),
        ("neftun+lora", r"unknown method 'neftun\+lora'; did you mean 'neftune\+lora'\?"),
        ("falt+doora", r"unknown method 'falt\+doora'; did you mean 'flat\+dora'\?"),
        ("lora+flat", r"^'lora\+flat' has the method first; write flat\+lora$"),
        ("dora+flat+neftune", r"write flat\+neftune\+dora$"),
        ("lora+dora", r"joins the methods lora and dora; give one method, or list them one by one$"),
        ("lora,flat-lora", r"names 2 methods; .*\(lowland compare --methods lora flat-lora\)$"),
        ("lora flat-lora", r"names 2 methods; .*\(lowland compare --methods lora flat-lora\)$"),
        ("neftune", r"neftune in 'neftune' is a prefix; put a method behind it, as in neftune\+lora"),
        ("neftune+flat", r"has no method; put one behind the prefixes, as in neftune\+flat\+lora$"),
        ("+lora", r"unknown method '\+lora'; Allowed: full, lora, .*; in front of them ema\+, .*, flat\+$"),
        ("flat+", r"unknown method 'flat\+'; Allowed: full"),
        ("Flat+dora", r"unknown method 'Flat\+dora'; did you mean 'flat\+dora'\?"),
    ],
)
def test_an_impossible_name_is_refused_in_one_sentence(name: str, message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        method_named(name)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
