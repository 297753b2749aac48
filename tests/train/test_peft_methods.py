"""PEFT's adapters as rows of the table: their targets, their start at the base's answers, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import (
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from lowland.ground.mistakes import Mistake
from lowland.lora import LoRAConfig, add_lora, load_adapter, lora_layers
from lowland.models.load import LoadedModel, outline_classifier
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train.adapted import AdaptedModel
from lowland.train.check_fit import check_methods_fit
from tests.conftest import bert_config
from tests.train import runs
from tests.train.runs import NETWORKS, small_job

ROWS = ("dora", "pissa", "vera", "ia3")


def fresh(kind: str, seed: int = 0) -> nn.Module:
    """A tiny classifier; the seed determines only its head."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "bert":
            model = BertForSequenceClassification(bert_config(num_labels=3))
        else:
            sizes = {"vocab_size": 64, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
            model = GPT2ForSequenceClassification(GPT2Config(**sizes, num_labels=3, pad_token_id=0))
        torch.manual_seed(seed)
        head = model.classifier if kind == "bert" else model.score
        nn.init.normal_(head.weight)
        return model.eval()


def adapt(name: str, model: nn.Module | LoadedModel, **values: object) -> AdaptedModel:
    adapted = runs.adapt(name, model, **values)
    assert isinstance(adapted.model, PeftModel)
    return adapted


def save(adapted: AdaptedModel, folder: Path) -> Path:
    """Save the trained adapter, and return its folder."""
    adapted.save(folder, "some/base", tokenizer=None)
    return folder / "adapter"


def train_a_little(adapted: AdaptedModel) -> PeftModel:
    """Change the weights as training would."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return adapted.model.eval()


@torch.no_grad()
def answers(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return model.eval()(input_ids=tokens).logits


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_begins_at_the_answers_of_its_base(name: str, kind: str, tokens: torch.Tensor) -> None:
    base = answers(fresh(kind), tokens)
    torch.testing.assert_close(answers(adapt(name, fresh(kind)).model, tokens), base, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ["dora", "pissa", "vera"])
def test_a_row_adapts_the_layers_that_lora_adapts(name: str, kind: str) -> None:
    head = ("classifier",) if kind == "bert" else ("score",)
    ours = {path for path, _ in lora_layers(add_lora(fresh(kind), LoRAConfig(r=4, modules_to_save=head)))}
    model = adapt(name, fresh(kind)).base_model
    assert {path for path, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)} == ours
    some = adapt(name, fresh("bert"), targets=("query",)).base_model
    adapted_paths = {path for path, layer in some.named_modules() if isinstance(layer, BaseTunerLayer)}
    assert adapted_paths == {f"bert.encoder.layer.{i}.attention.self.query" for i in (0, 1)}


@pytest.mark.parametrize("name", ["dora", "vera"])
def test_the_seed_says_how_a_row_begins(name: str) -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        return adapt(name, fresh("bert"), seed=seed).model.state_dict()

    first, same, other = state(1), state(1), state(2)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ROWS)
def test_a_saved_adapter_answers_the_same_on_a_fresh_base(
    name: str, kind: str, tokens: torch.Tensor, tmp_path: Path
) -> None:
    adapted = adapt(name, fresh(kind))
    model = train_a_little(adapted)
    folder = save(adapted, tmp_path)
    loaded = PeftModel.from_pretrained(fresh(kind, seed=5), folder)
    assert not torch.allclose(answers(fresh(kind), tokens), answers(model, tokens), atol=1e-2)
    torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some/base"


def test_pissa_changes_the_base_and_its_file_is_plain_lora(tokens: torch.Tensor, tmp_path: Path) -> None:
    patterns = {"rank_pattern": {"query": 2}, "alpha_pattern": {"query": 6.0}}
    adapted = adapt("pissa", fresh("bert"), **patterns)
    layer = adapted.base_model.bert.encoder.layer[0].attention.self.query
    first = fresh("bert").bert.encoder.layer[0].attention.self.query.weight
    assert not torch.allclose(layer.base_layer.weight, first, atol=1e-3)
    left = torch.linalg.svdvals(first.detach())[2:]  # all but the two that the adapter took
    torch.testing.assert_close(torch.linalg.svdvals(layer.base_layer.weight)[:-2], left, atol=1e-5, rtol=1e-5)
    model = train_a_little(adapted)
    folder = save(adapted, tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["peft_type"], config["use_dora"], config["init_lora_weights"]) == ("LORA", False, True)
    assert (config["r"], config["rank_pattern"], config["alpha_pattern"]) == (
        8,
        {"query": 4},
        {"query": 12.0},
    )
    loaded = PeftModel.from_pretrained(fresh("bert", seed=5), folder)
    torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


def test_lowlands_reader_loads_a_pissa_adapter(tokens: torch.Tensor, tmp_path: Path) -> None:
    adapted = adapt("pissa", fresh("bert"))
    model = train_a_little(adapted)
    folder = save(adapted, tmp_path)
    loaded = load_adapter(fresh("bert", seed=5), folder)
    torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


def test_weights_missing_from_the_checkpoint_are_trained_and_saved(
    tokens: torch.Tensor, tmp_path: Path
) -> None:
    for name in ROWS:
        adapted = adapt(name, LoadedModel(fresh("bert"), fresh_backbone=("bert.pooler.dense",)))
        model = train_a_little(adapted)
        folder = save(adapted, tmp_path / name)
        other = fresh("bert", seed=5)
        nn.init.normal_(other.bert.pooler.dense.weight)
        loaded = PeftModel.from_pretrained(other, folder)
        torch.testing.assert_close(answers(loaded, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dora", {"rank": 17}, "rank 17 is larger than layer .*; it must be at most 16$"),
        ("pissa", {"rank": 9}, "rank 9 is too large for pissa in layer .*; it must be at most 8, half"),
        ("dora", {"rank_pattern": {"query": 99}}, "rank 99 is larger than layer .*query"),
        (
            "dora",
            {"rank_pattern": {"qurey": 2}},
            "unknown layer in rank_pattern 'qurey'; did you mean 'query'",
        ),
        ("pissa", {"alpha_pattern": {"classifier": 2.0}}, "unknown layer in alpha_pattern 'classifier'"),
        (
            "pissa",
            {"alpha_pattern": {"quer(": 2.0}},
            "alpha_pattern: key .* is not a valid regular expression",
        ),
        ("vera", {"targets": ("qurey",)}, "did you mean 'query'"),
        ("dora", {"targets": ("query", "word_embeddings")}, "word_embeddings is an embedding"),
    ],
)
def test_an_unsuitable_method_is_reported_before_anything_is_loaded(
    name: str, options: dict, message: str, tiny_model: Path
) -> None:
    with pytest.raises(Mistake, match=message):
        runs.adapt(name, outline_classifier(tiny_model), **options)


def test_ia3_on_a_model_that_peft_does_not_know_is_a_sentence() -> None:
    sizes = {"hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.device("meta"):
        model = ElectraForSequenceClassification(ElectraConfig(vocab_size=64, intermediate_size=32, **sizes))
    with pytest.raises(Mistake, match=r"no layers for ia3 in a model of type electra; .*bert"):
        runs.adapt("ia3", model)


def test_the_mistakes_of_all_rows_are_reported_at_once(data: TaskData, source: ModelSource) -> None:
    check_methods_fit([small_job(name, data, source, rank=4) for name in NETWORKS])
    with pytest.raises(Mistake) as caught:
        check_methods_fit(
            [
                small_job("pissa", data, source, rank=9, targets=("key",)),
                small_job("dora", data, source, targets=("qurey",)),
            ]
        )
    assert len(caught.value.problems) == 2
