"""Retention: base and tuned models on the same texts in the same folds, one model at a time."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModel

from lowland import load_adapter, merge_lora
from lowland.deploy.forgetting import retention as module
from lowland.deploy.forgetting.measure import LIKELIHOOD, PROBE, probe
from lowland.deploy.forgetting.retention import BASE, COLUMNS, Retention, measure_retention
from lowland.deploy.forgetting.settings import ColumnsOfTexts, RetentionSettings
from lowland.deploy.forgetting.states import Frozen, pooled_states
from lowland.deploy.forgetting.texts import read_other_texts
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from lowland.models.load import load_classifier, load_tokenizer
from tests.generation_runs import TOYS, trained
from tests.small_study import SEEDS

Study = dict[str, list[Path]]


def measured(runs: list[Path], data: Path, **changes: Any) -> Retention:
    return measure_retention(RetentionSettings(runs=runs, data=data, **changes))


@pytest.fixture
def result(study: Study, other: Path) -> Retention:
    return measured([*study["full"], *study["lora"], study["dora"][0]], other)


def test_the_table_has_a_row_for_each_method_seed_and_text(result: Retention, other: Path) -> None:
    table, texts = result.table, read_other_texts(other, ColumnsOfTexts())
    assert tuple(table.columns) == COLUMNS
    assert result.score == PROBE
    assert result.seeds == {BASE: 1, "full": 2, "lora": 2, "dora": 1}
    assert len(table) == len(texts) * (2 + 2 + 2 + 1)
    assert not table.duplicated(["example", "seed", "method"]).any()
    assert dict(zip(table["example"], table["text"], strict=True)) == dict(
        zip(texts.examples, texts.texts, strict=True)
    )
    for method, figures in result.figures.items():
        mean = table[table["method"] == method]["score"].mean()
        assert figures == {"accuracy": pytest.approx(mean)}
    assert result.majority == pytest.approx(1 / 3)


def test_the_base_models_rows_are_the_same_for_each_seed(result: Retention) -> None:
    of_base = result.table[result.table["method"] == BASE]
    first, second = (of_base[of_base["seed"] == seed].drop(columns="seed") for seed in SEEDS)
    assert first.to_numpy().tolist() == second.to_numpy().tolist()


def test_scores_are_those_of_a_probe_on_plain_models(
    result: Retention, study: Study, other: Path, tiny_model: Path
) -> None:
    texts, tokenizer = read_other_texts(other, ColumnsOfTexts()), load_tokenizer(tiny_model)
    assert texts.labels is not None
    classifier = load_classifier(tiny_model, ["bad", "good"], tokenizer).model
    lora = merge_lora(load_adapter(classifier, study["lora"][0] / "adapter"), keep=False).base_model
    models = {
        BASE: AutoModel.from_pretrained(tiny_model),
        "full": AutoModel.from_pretrained(study["full"][0] / "model"),
        "lora": lora,
    }
    for method, model in models.items():
        states = pooled_states(Frozen(model.eval(), tokenizer, 40), texts.texts, lambda count: None)
        rows = result.table[(result.table["method"] == method) & (result.table["seed"] == SEEDS[0])]
        assert (rows["score"].to_numpy() == probe(states, texts.labels)).mean() > 0.98


def test_one_model_is_in_memory_at_a_time(study: Study, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[Any]] = []
    load = module.load

    def counted(folder: Path) -> Any:
        assert not [model for model in loaded if model() is not None]
        predictor = load(folder)
        loaded.append(weakref.ref(predictor.model))
        return predictor

    monkeypatch.setattr(module, "load", counted)
    measured([*study["full"], *study["lora"]], other)
    assert len(loaded) == 4


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory, first_run: Any) -> list[Path]:
    """Runs of a decoder that writes letters."""
    model = first_run("prompt") / "model"
    return trained(
        TOYS["prompt"], tmp_path_factory.mktemp("decoders"), model, ["lora"], epochs=1, rank=2, lr=0.001
    )


def test_without_labels_a_decoders_loss_is_that_of_a_plain_loop(
    decoders: list[Path], first_run: Any, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    path, texts = tmp_path / "other.csv", ("Q: ab c", "some other words", "xyz")
    path.write_text("\n".join(["text", *texts]) + "\n")
    result = measured(decoders, path)
    assert (result.score, result.majority) == (LIKELIHOOD, None)
    folder = first_run("prompt") / "model"
    models = {BASE: AutoModelForCausalLM.from_pretrained(folder).eval()}
    models["lora"] = load_adapter(
        AutoModelForCausalLM.from_pretrained(folder), decoders[0] / "adapter"
    ).eval()
    tokenizer = load_tokenizer(folder)
    for method, model in models.items():
        losses = []
        for text in texts:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0]
            losses.append(cross_entropy(logits[:-1], ids[0, 1:], reduction="none").numpy())
        rows = result.table[result.table["method"] == method]
        np.testing.assert_allclose(rows["score"], [-each.mean() for each in losses], rtol=1e-5)
        assert result.figures[method] == {
            "loss": pytest.approx(float(np.mean([each.mean() for each in losses])), rel=1e-5),
            "perplexity": pytest.approx(float(np.exp(np.concatenate(losses).mean())), rel=1e-4),
        }


def test_an_encoder_without_labels_is_told_to_have_some(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("text\nhere\nthere\n")
    with pytest.raises(Mistake, match=r"other\.csv has no labels, and a model for classification has no"):
        measured(study["lora"], path)


def test_all_problems_are_told_at_once(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("words\nhere\n")
    with pytest.raises(Mistake) as caught:
        measured([*study["lora"], study["bag-of-words"][0]], path, reference="dora")
    reference, words, column = caught.value.problems
    assert reference.startswith("unknown reference 'dora'; did you mean 'lora'?")
    assert "trains no language model and so forgets nothing; leave it out" in words
    assert column.startswith(f"{path}: unknown text column 'text'")


def test_runs_of_two_studies_are_refused(study: Study, decoders: list[Path], other: Path) -> None:
    with pytest.raises(Mistake, match="the runs differ in their task"):
        measured([study["lora"][0], decoders[0]], other)


def test_a_label_that_names_the_base_model_is_refused(
    study: Study, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(study["lora"][0])
    record.asked["method"]["label"] = BASE
    monkeypatch.setattr("lowland.deploy.study_runs.finished_record", lambda folder: record)
    with pytest.raises(Mistake, match="with the label base, which here names the base model"):
        measured(study["lora"][:1], other)
