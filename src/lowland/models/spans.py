"""Load models that mark answers: two outputs for each token, the logits of an answer's start and end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake
from lowland.models.load import (
    LoadedModel,
    load_pretrained,
    outline_with_head,
    read_model_config,
    with_fresh_modules,
)
from lowland.models.padding import settle_padding_of_spans

MARK_ANSWERS = "mark answers in a context"
"""Purpose of these models, as the end of "no model that can …"."""


def load_span_model(folder: Path, tokenizer: Any) -> LoadedModel:
    """Load a model with two outputs for each token, the logits of an answer's start and end, in float32.

    Weights that the checkpoint lacks are drawn from torch's global generator.

    Raises:
        Mistake: if the folder holds no model that can do so, or its weights do not fit its config.
    """
    _check_span_model(folder)
    model, loading = load_pretrained(folder, "AutoModelForQuestionAnswering", MARK_ANSWERS, num_labels=2)
    loaded = with_fresh_modules(model, loading, folder)
    sentence = settle_padding_of_spans(model, tokenizer)
    return loaded if sentence is None else replace(loaded, remarks=(*loaded.remarks, sentence))


def outline_span_model(folder: Path) -> LoadedModel:
    """Build a folder's model for spans on the meta device, without loading weights.

    Raises:
        Mistake: if the folder holds no such model.
    """
    _check_span_model(folder)
    return outline_with_head(folder, "AutoModelForQuestionAnswering", MARK_ANSWERS, num_labels=2)


def _check_span_model(folder: Path) -> None:
    """Check that transformers has a model of this kind that marks answers, and that it finds the folder's weights.

    In the classes for Llama and its like, the backbone has another name than in all others, so that they find only the
    weights that they have written.

    Raises:
        Mistake: if it has none, or would not find the weights.
    """
    from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING, MODEL_MAPPING

    config = read_model_config(folder)
    spans: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING.get(type(config), None)
    backbone: Any = MODEL_MAPPING.get(type(config), spans)
    backbone = backbone[0] if isinstance(backbone, tuple) else backbone
    if spans is None or (
        spans.base_model_prefix != backbone.base_model_prefix
        and spans.__name__ not in (config.architectures or ())
    ):
        raise Mistake(
            f"{folder} holds a {config.model_type} model, which transformers cannot give a head that marks answers in a"
            " context; use an encoder, such as BERT, or an encoder-decoder, such as T5"
        )
