"""Adding and removing adapters, and parameter counts that are known in advance."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from lowland import LoRAConfig, LoRALinear, add_lora, count_parameters, remove_lora
from lowland.ground.mistakes import Mistake
from lowland.lora import find_head, lora_layers
from lowland.lora.inject import config_of
from tests.lora.conftest import assert_untouched, state_of


class Block(nn.Module):
    """GPT-2 block with six linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.ln_1(x)
        q, k, v = (layer(h).unsqueeze(1) for layer in (self.query, self.key, self.value))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.squeeze(1))
        return x + self.down(nn.functional.gelu(self.up(self.ln_2(x))))


class PlainGPT2(nn.Module):
    """GPT-2 with separate query, key and value layers and an untied output head."""

    def __init__(
        self, width: int = 768, layers: int = 12, vocabulary: int = 50_257, positions: int = 1024
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


SIX = LoRAConfig(r=8, targets=["query", "key", "value", "out", "up", "down"])


def test_counts_on_gpt2_with_six_linears_a_block() -> None:
    with torch.device("meta"):
        model = PlainGPT2()
    add_lora(model, SIX)
    count = count_parameters(model)
    assert (count.trainable, count.total) == (1_327_104, 164_364_288)
    model.lm_head = nn.Linear(768, 2, device="meta")
    count = count_parameters(model)
    assert (count.trainable, count.total) == (1_328_642, 125_768_450)
    assert count.share == 1_328_642 / 125_768_450


def test_adapters_have_gradients_and_nothing_else_has() -> None:
    model = add_lora(PlainGPT2(width=32, vocabulary=50), SIX)
    model(torch.arange(12).reshape(2, 6)).logsumexp(-1).sum().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert all(name.endswith(("lora_A", "lora_B")) for name in with_gradient)
    assert len(with_gradient) == 144
    assert len(list(model.parameters())) - len(with_gradient) == 197


def test_counts_on_hugging_faces_gpt2() -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    assert count_parameters(model).total == 124_439_808
    add_lora(model, LoRAConfig(r=8, targets="c_attn"))
    count = count_parameters(model)
    assert (count.trainable, count.total) == (294_912, 124_734_720)
    assert len(list(lora_layers(model))) == 12


def test_all_linear_skips_head_and_embeddings(bert: nn.Module, gpt2: nn.Module) -> None:
    assert find_head(bert) == ("classifier",)
    assert find_head(gpt2) == ("lm_head",)
    names = [name for name, _ in lora_layers(add_lora(bert))]
    assert len(names) == 2 * 6 + 1  # six a layer, and the pooler
    assert not any("classifier" in name or "embeddings" in name for name in names)
    assert all("c_" in name for name, _ in lora_layers(add_lora(gpt2)))
    model = add_lora(PlainGPT2(width=32, vocabulary=50, layers=1))
    assert "lm_head" not in dict(lora_layers(model))


@pytest.mark.parametrize(
    ("targets", "count"),
    [("query", 2), (["query", "value"], 4), (r".*layer\.0\..*dense", 3), ("all-linear", 13)],
)
def test_targets(bert: nn.Module, targets: str | list[str], count: int) -> None:
    assert len(list(lora_layers(add_lora(bert, LoRAConfig(targets=targets))))) == count


def test_modules_to_save_train_in_full(bert: nn.Module) -> None:
    add_lora(bert, LoRAConfig(modules_to_save=("classifier",)))
    trained = {
        name for name, parameter in bert.named_parameters() if parameter.requires_grad and "lora" not in name
    }
    assert trained == {"classifier.weight", "classifier.bias"}


def test_modules_that_train_in_full_are_not_adapted(bert: nn.Module) -> None:
    add_lora(bert, LoRAConfig(targets=["dense"], modules_to_save=("classifier", "bert.pooler")))
    names = [name for name, _ in lora_layers(bert)]
    assert len(names) == 6
    assert not any("pooler" in name or "classifier" in name for name in names)


def test_a_layer_whose_forward_is_never_called_is_left_alone() -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    assert [name for name, _ in lora_layers(add_lora(model))] == ["linear1", "linear2"]


def test_the_start_is_a_function_of_seed_and_name_and_leaves_the_global_generator(bert: nn.Module) -> None:
    before = torch.random.get_rng_state()
    models = [add_lora(copy.deepcopy(bert), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.random.get_rng_state())
    first, same, other = ([layer.lora_A for _, layer in lora_layers(model)] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1])
    alone = add_lora(copy.deepcopy(bert), LoRAConfig(targets=["value"]), seed=1)
    name, layer = next(iter(lora_layers(alone)))
    assert torch.equal(layer.lora_A, models[0].get_submodule(name).lora_A)


def test_removing_restores_the_base(bert: nn.Module, tokens: torch.Tensor) -> None:
    before, keys = bert(tokens).logits, list(bert.state_dict())
    add_lora(bert)
    for _, layer in lora_layers(bert):
        nn.init.ones_(layer.lora_B)
    assert not torch.equal(bert(tokens).logits, before)
    remove_lora(bert)
    assert torch.equal(bert(tokens).logits, before)
    assert list(bert.state_dict()) == keys


def test_patterns_give_layers_ranks_and_scales_of_their_own(bert: nn.Module) -> None:
    config = LoRAConfig(
        r=2, alpha=4, rank_pattern={"query": 3, r"layer\.1\..*": 5}, alpha_pattern={"layer.1.*.key": 7}
    )
    layers = {
        name.removeprefix("bert.encoder."): layer for name, layer in lora_layers(add_lora(bert, config))
    }
    assert layers["layer.0.attention.self.query"].lora_A.shape == (3, 16)
    assert layers["layer.1.attention.self.query"].r == 3
    assert layers["layer.1.attention.self.value"].r == 5
    assert layers["layer.0.attention.self.key"].r == 2
    assert layers["layer.1.attention.self.key"].scaling == 7 / 5
    assert layers["layer.0.attention.self.key"].scaling == 4 / 2


def test_a_mistake_leaves_the_model_unchanged(bert: nn.Module) -> None:
    before = state_of(bert)
    with pytest.raises(Mistake):
        add_lora(bert, LoRAConfig(modules_to_save=("head",)))
    assert_untouched(bert, before)


def test_adding_twice_and_removing_nothing_are_refused(bert: nn.Module) -> None:
    with pytest.raises(Mistake, match="no LoRA layers to remove"):
        remove_lora(bert)
    with pytest.raises(Mistake, match="has LoRA layers already"):
        add_lora(add_lora(bert))
    with pytest.raises(Mistake, match="no linear layer"):
        add_lora(nn.LayerNorm(3))


def test_the_config_is_read_from_the_adapted_layers_and_the_model_gets_no_attribute(bert: nn.Module) -> None:
    attributes = sorted(vars(bert))
    add_lora(bert, LoRAConfig(r=3, modules_to_save=("classifier",)))
    assert sorted(vars(bert)) == attributes
    for model in (bert, copy.deepcopy(bert), pickle.loads(pickle.dumps(bert))):
        assert config_of(model) == LoRAConfig(r=3, modules_to_save=("classifier",))
    with pytest.raises(Mistake, match=r"which is net\.bert\..*\.query in this ModuleDict"):
        config_of(nn.ModuleDict({"net": bert}))
    with pytest.raises(Mistake, match="no LoRA layers with a config"):
        config_of(remove_lora(bert))
    with pytest.raises(Mistake, match="no LoRA layers with a config"):
        config_of(nn.Sequential(LoRALinear(nn.Linear(4, 4), r=2, alpha=2)))


@pytest.mark.parametrize("config", [{"r": 8}, "all-linear", 8])
def test_a_config_of_another_kind_is_refused_with_the_right_call(bert, config):
    with pytest.raises(
        Mistake, match=r"^add_lora takes a LoRAConfig, .*; call add_lora\(model, LoRAConfig\("
    ):
        add_lora(bert, config)
