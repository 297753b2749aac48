"""Rows of a classifier's head are matched with the data's labels by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lowland.models.heads import rows_of_labels
from lowland.models.load import LoadedModel, load_classifier, load_tokenizer
from tests.conftest import GOOD

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("names", "labels", "rows"),
    [
        (["neg", "pos"], ["neg", "pos"], [0, 1]),
        (["pos", "neg"], ["neg", "pos"], [1, 0]),
        (["POSITIVE", "Negative ", "neutral"], ["negative", "neutral", "positive"], [1, 2, 0]),
        (["gru\u0308n", "rot"], ["rot", "grün"], [1, 0]),
        (["LABEL_0", "LABEL_1"], ["0", "1"], [0, 1]),
        (["LABEL_0", "LABEL_1"], ["LABEL_0", "LABEL_1"], [0, 1]),
        (["Pos", "pos"], ["pos", "Pos"], [1, 0]),
        (["LABEL_0", "LABEL_1"], ["neg", "pos"], None),
        (["neg", "pos"], ["neg", "neutral", "pos"], None),
        (["neg", "neutral", "pos"], ["neg", "pos"], None),
        (["Pos", "neg"], ["pos", "POS"], None),
    ],
)
def test_rows_of_labels(names: list[str], labels: list[str], rows: list[int] | None) -> None:
    assert rows_of_labels(dict(enumerate(names)), labels) == rows


@pytest.fixture(params=["bert", "roberta"])
def classifier(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Path:
    """A folder with a classifier whose labels are not in alphabetical order."""
    names = {0: "Positive", 1: "neutral", 2: "negative"}
    classes = {
        "bert": (BertConfig, BertForSequenceClassification),
        "roberta": (RobertaConfig, RobertaForSequenceClassification),
    }
    config_class, model_class = classes[request.param]
    config = config_class(vocab_size=64, pad_token_id=0, max_position_embeddings=48, id2label=names, **SMALL)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: PreTrainedModel = model_class(config)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    return tmp_path


def load(folder: Path, labels: Sequence[str]) -> LoadedModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return load_classifier(folder, labels, load_tokenizer(folder))


def logits(loaded: LoadedModel, folder: Path) -> Tensor:
    batch = load_tokenizer(folder)([f"the firm {verb}" for verb in GOOD], return_tensors="pt", padding=True)
    with torch.no_grad():
        output: Tensor = loaded.model.eval()(**batch).logits
    return output


def test_a_head_of_the_same_labels_is_kept_in_their_order(classifier: Path) -> None:
    own = load(classifier, ["Positive", "neutral", "negative"])
    sorted_labels = load(classifier, ["negative", "neutral", "positive"])
    assert not own.fresh_modules
    assert not sorted_labels.fresh_modules
    assert not sorted_labels.remarks
    torch.testing.assert_close(logits(sorted_labels, classifier), logits(own, classifier).flip(-1))
    assert sorted_labels.model.config.id2label == {0: "negative", 1: "neutral", 2: "positive"}


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["negative", "positive"]])
def test_the_output_layer_for_other_labels_is_drawn_anew_and_the_rest_is_kept(
    classifier: Path, labels: list[str]
) -> None:
    own, other = load(classifier, ["Positive", "neutral", "negative"]), load(classifier, labels)
    (layer,) = other.fresh_head
    (remark,) = other.remarks
    assert "a classifier of Positive, neutral, negative" in remark
    assert ", ".join(labels) in remark
    new, old = (dict(loaded.model.named_parameters()) for loaded in (other, own))
    changed = {name for name in new if not torch.equal(new[name], old[name])} if len(labels) == 3 else set()
    assert changed <= {f"{layer}.weight", f"{layer}.bias"}
    assert len(labels) == 2 or f"{layer}.weight" in changed
    again = dict(load(classifier, labels).model.named_parameters())
    assert all(torch.equal(new[name], again[name]) for name in new)  # a function of the generator's state


def test_a_model_without_a_head_gets_a_new_one_without_a_remark(tiny_model: Path) -> None:
    for labels in (["bad", "good"], ["a", "b", "c"]):
        loaded = load(tiny_model, labels)
        assert loaded.fresh_head == ("classifier",)
        assert not loaded.remarks


def test_loading_a_model_without_a_head_logs_nothing(tiny_model: Path) -> None:
    logger, records = logging.getLogger("transformers"), []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        load(tiny_model, ["bad", "good"])
        assert logger.level == logging.WARNING
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert records == []
