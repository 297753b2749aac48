"""PEFT's own adapters as rows of the table: on our targets, from the base's answers, and in files that fit the base."""

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
from lowland.models.find import ModelSource
from lowland.models.load import outline
from lowland.train.fit import check
from lowland.train.methods import METHODS
from lowland.train.peft_methods import save_peft
from tests.conftest import bert_config
from tests.train.test_methods import spec_of

ROWS = ("dora", "pissa", "vera", "ia3")


def fresh(kind: str, seed: int = 0) -> nn.Module:
    """A tiny classifier; another seed gives another head and the same body."""
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


def adapt(name: str, model: nn.Module, **asked: object) -> PeftModel:
    wrapped = METHODS[name].adapt(model, spec_of(name, **asked))
    assert isinstance(wrapped, PeftModel)
    return wrapped


def trained_a_little(model: nn.Module) -> nn.Module:
    """As training might leave it."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one += 0.2 * torch.randn(one.shape, generator=generator)
    return model.eval()


@torch.no_grad()
def answers(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return model.eval()(input_ids=tokens).logits


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_begins_at_the_answers_of_its_base(name: str, kind: str, tokens: torch.Tensor) -> None:
    base = answers(fresh(kind), tokens)
    torch.testing.assert_close(answers(adapt(name, fresh(kind)), tokens), base, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ["dora", "pissa", "vera"])
def test_a_row_adapts_the_layers_that_lora_adapts(name: str, kind: str) -> None:
    head = ("classifier",) if kind == "bert" else ("score",)
    ours = {one for one, _ in lora_layers(add_lora(fresh(kind), LoRAConfig(r=4, modules_to_save=head)))}
    model = adapt(name, fresh(kind)).get_base_model()
    assert {one for one, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)} == ours
    some = adapt(name, fresh("bert"), targets=("query",)).get_base_model()
    found = {one for one, layer in some.named_modules() if isinstance(layer, BaseTunerLayer)}
    assert found == {f"bert.encoder.layer.{i}.attention.self.query" for i in (0, 1)}


@pytest.mark.parametrize("name", ["dora", "vera"])
def test_the_seed_says_how_a_row_begins(name: str) -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        return adapt(name, fresh("bert"), seed=seed).state_dict()

    one, same, other = state(1), state(1), state(2)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("name", ROWS)
def test_what_is_saved_answers_the_same_on_a_fresh_base(
    name: str, kind: str, tokens: torch.Tensor, tmp_path: Path
) -> None:
    model = trained_a_little(adapt(name, fresh(kind)))
    save_peft(model, tmp_path, "some/base")
    again = PeftModel.from_pretrained(fresh(kind, seed=5), tmp_path)
    assert not torch.allclose(answers(fresh(kind), tokens), answers(model, tokens), atol=1e-2)
    torch.testing.assert_close(answers(again, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some/base"


def test_pissa_changes_the_base_and_its_file_is_plain_lora(tokens: torch.Tensor, tmp_path: Path) -> None:
    patterns = {"rank_pattern": {"query": 2}, "alpha_pattern": {"query": 6.0}}
    model = adapt("pissa", fresh("bert"), **patterns)
    layer = model.get_base_model().bert.encoder.layer[0].attention.self.query
    first = fresh("bert").bert.encoder.layer[0].attention.self.query.weight
    assert not torch.allclose(layer.base_layer.weight, first, atol=1e-3)
    left = torch.linalg.svdvals(first.detach())[2:]  # all but the two that the adapter took
    torch.testing.assert_close(torch.linalg.svdvals(layer.base_layer.weight)[:-2], left, atol=1e-5, rtol=1e-5)
    save_peft(trained_a_little(model), tmp_path, "some/base")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["use_dora"], config["init_lora_weights"]) == ("LORA", False, True)
    assert (config["r"], config["rank_pattern"], config["alpha_pattern"]) == (
        8,
        {"query": 4},
        {"query": 12.0},
    )
    again = PeftModel.from_pretrained(fresh("bert", seed=5), tmp_path)
    torch.testing.assert_close(answers(again, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


def test_lowlands_own_reader_reads_what_pissa_learned(tokens: torch.Tensor, tmp_path: Path) -> None:
    model = trained_a_little(adapt("pissa", fresh("bert")))
    save_peft(model, tmp_path, "some/base")
    again = load_adapter(fresh("bert", seed=5), tmp_path)
    torch.testing.assert_close(answers(again, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


def test_what_the_checkpoint_lacked_is_trained_and_saved(tokens: torch.Tensor, tmp_path: Path) -> None:
    for name in ROWS:
        base = fresh("bert")
        base.fresh_modules = ("bert.pooler.dense",)
        model = trained_a_little(adapt(name, base))
        save_peft(model, tmp_path / name, "some/base")
        other = fresh("bert", seed=5)
        nn.init.normal_(other.bert.pooler.dense.weight)
        again = PeftModel.from_pretrained(other, tmp_path / name)
        torch.testing.assert_close(answers(again, tokens), answers(model, tokens), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "asked", "says"),
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
        ("pissa", {"alpha_pattern": {"quer(": 2.0}}, "alpha_pattern: key .* is not a valid regular expression"),
        ("vera", {"targets": ("qurey",)}, "did you mean 'query'"),
        ("dora", {"targets": ("query", "word_embeddings")}, "word_embeddings is an embedding"),
    ],
)
def test_what_does_not_fit_is_a_sentence_before_anything_is_loaded(
    name: str, asked: dict, says: str, tiny_model: Path
) -> None:
    with pytest.raises(Mistake, match=says):
        METHODS[name].adapt(outline(tiny_model), spec_of(name, **asked))


def test_ia3_on_a_model_that_peft_does_not_know_is_a_sentence() -> None:
    sizes = {"hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.device("meta"):
        model = ElectraForSequenceClassification(ElectraConfig(vocab_size=64, intermediate_size=32, **sizes))
    with pytest.raises(Mistake, match=r"no layers for ia3 in a model of type electra; .*bert"):
        METHODS["ia3"].adapt(model, spec_of("ia3"))


def test_the_mistakes_of_all_rows_are_told_at_once(source: ModelSource) -> None:
    check([spec_of(name) for name in METHODS], source)
    with pytest.raises(Mistake) as caught:
        check([spec_of("pissa", rank=9, targets=("key",)), spec_of("dora", targets=("qurey",))], source)
    assert len(caught.value.problems) == 2
