"""One training run on a tiny model: paired, clean, whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import T5Config, T5ForSequenceClassification, TrainerCallback

from lowland.recipe import DATA, DEFAULT_MODEL, Recipe, RunSpec, run_spec
from lowland.tasks.classification import TextData, score
from lowland.tasks.table import load_task
from lowland.train.methods import METHODS
from lowland.train.models import ModelSource, find_model, load_tokenizer
from lowland.train.trainer import Diverged, train


def spec_of(method: str, seed: int = 42, **changes: object) -> RunSpec:
    recipe = Recipe(**{"epochs": 2, "lr": 0.01, "rank": 4, "overrides": {}, **changes})
    return run_spec(recipe, method, seed, METHODS[method].options)


@pytest.mark.parametrize("method", METHODS)
def test_it_learns(data: TextData, source: ModelSource, method: str) -> None:
    trained = train(spec_of(method, epochs=6), data, source)
    assert trained.scores["test"]["accuracy"] > 0.75  # half of them by chance
    losses = [entry["loss"] for entry in trained.history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_predictions_hold_the_scores(data: TextData, source: ModelSource) -> None:
    trained = train(spec_of("lora"), data, source)
    table, split = trained.predictions, data.splits["test"]
    assert list(table["example"]) == list(split.examples)
    names = np.array(data.label_names)
    assert (table["label"] == names[split.labels]).all()
    number = {name: i for i, name in enumerate(names)}
    assert trained.scores["test"] == score(split.labels, table["predicted"].map(number).to_numpy())
    probabilities = table[[f"p_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert (names[probabilities.argmax(1)] == table["predicted"]).all()


def test_a_diverging_run_is_stopped(data: TextData, source: ModelSource) -> None:
    with pytest.raises(Diverged, match="smaller lr"):
        train(spec_of("full", lr=1e30, warmup=0.0, epochs=30), data, source)


def test_nothing_looks_at_the_test_set_before_the_end(data: TextData, source: ModelSource) -> None:
    class Seen(TrainerCallback):
        def __init__(self) -> None:
            self.sizes: list[int] = []
            self.training = True

        def on_evaluate(
            self, args: object, state: object, control: object, eval_dataloader: object, **rest
        ) -> None:
            self.sizes.append(len(eval_dataloader.dataset))

    seen = Seen()
    train(spec_of("lora", epochs=3), data, source, callbacks=[seen])
    assert seen.sizes == [len(data.splits["validation"])] * 3


@pytest.mark.slow
@pytest.mark.data
def test_lora_learns_the_phrasebank(shared_data: Callable[[str], Path]) -> None:
    recipe = Recipe(
        task="financial-phrasebank", data=str(shared_data("financial_phrasebank/Sentences_50Agree.txt"))
    )
    data = load_task(recipe.task, {name: getattr(recipe, name) for name in DATA})
    spec = run_spec(recipe, "lora", 42, METHODS["lora"].options)
    assert train(spec, data, find_model(DEFAULT_MODEL)).scores["test"]["accuracy"] >= 0.80


def test_an_encoder_decoder_can_be_trained(data: TextData, tiny_model: Path, tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 64}
    T5ForSequenceClassification(T5Config(**sizes, decoder_start_token_id=0, eos_token_id=3)).save_pretrained(
        tmp_path
    )
    tokenizer = load_tokenizer(tiny_model)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    tokenizer.save_pretrained(tmp_path)
    trained = train(spec_of("flat-lora", epochs=1), data, find_model(str(tmp_path)))
    assert 0 < trained.parameters["share"] < 1


def test_weights_are_kept_only_where_asked(data: TextData, source: ModelSource, tmp_path: Path) -> None:
    train(spec_of("lora", epochs=1, keep_weights=False), data, source, tmp_path)
    assert not (tmp_path / "adapter").exists()
    train(spec_of("lora", epochs=1), data, source, tmp_path)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
