"""The table of methods: what each row trains."""

from __future__ import annotations

import pytest
from torch import nn

from lowland import FlatLoRA, count_parameters
from lowland.lora import lora_layers
from lowland.recipe import Recipe, run_spec
from lowland.train.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_each_row_trains_what_it_says(bert: nn.Module, name: str) -> None:
    method = METHODS[name]
    method.adapt(bert, run_spec(Recipe(rank=4), name, 1, method.options))
    trained = {n for n, one in bert.named_parameters() if one.requires_grad}
    if name == "full":
        assert count_parameters(bert).share == 1
        return
    head = {n for n, _ in bert.named_parameters() if n.startswith("classifier")}
    adapters = {f"{n}.{which}" for n, _ in lora_layers(bert) for which in ("lora_A", "lora_B")}
    assert trained == head | adapters


def test_flat_lora_is_lora_and_a_callback() -> None:
    lora, flat = METHODS["lora"], METHODS["flat-lora"]
    assert flat.adapt is lora.adapt
    (callback,) = flat.perturb(run_spec(Recipe(rho=0.3), "flat-lora", 7, flat.options))
    assert isinstance(callback, FlatLoRA)
    assert (callback.rho, callback.seed) == (0.3, 7)
    assert set(flat.options) - set(lora.options) == {"rho"}
