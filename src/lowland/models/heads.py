"""Heads of classifiers: rows are matched with labels by name, never by position."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def rows_of_labels(names: Mapping[int, str], label_names: Sequence[str]) -> list[int] | None:
    """Return the row of a head for each label, or None if the head's names are not those of the labels.

    Names are compared as they are, then without regard to case and spaces. `LABEL_3`, the default name in a config, is
    taken for the label `3`.

    Args:
        names: names of the head's rows, as a config's `id2label` holds them.
        label_names: label names of the data, in the order of the outputs that the model should have.

    Examples:
        >>> rows_of_labels({0: "Positive", 1: "Negative"}, ["negative", "positive"])
        [1, 0]
        >>> rows_of_labels({0: "LABEL_0", 1: "LABEL_1"}, ["negative", "positive"]) is None
        True
    """
    for form in (str, _folded):
        row_of = {form(name): row for row, name in names.items()}
        labels = [form(name) for name in label_names]
        if len(row_of) == len(names) and len(set(labels)) == len(labels) and set(row_of) == set(labels):
            return [row_of[name] for name in labels]
    return None


def output_layer(model: Any, head: Sequence[str]) -> str | None:
    """Return the name of the head's last linear layer, which has a row for each label; None if there is none."""
    from torch import nn

    from lowland.lora.targets import is_under

    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and is_under(name, head)
        and module.out_features == model.config.num_labels
    ]
    return names[-1] if names else None


def order_rows(layer: Any, rows: Sequence[int]) -> None:
    """Put the rows of an output layer into another order, in place."""
    import torch

    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter[list(rows)].clone())


def draw_again(model: Any, layer: Any) -> None:
    """Draw the weights of a layer as the model's architecture draws new ones, from torch's global generator."""
    for part in (layer, *layer.parameters()):
        part._is_hf_initialized = False  # transformers leaves alone what it has loaded
    model._init_weights(layer)


def redrawn_sentence(names: Mapping[int, str], label_names: Sequence[str]) -> str:
    """Return a sentence on a head whose labels are not those of the data."""
    return (
        f"the base model is a classifier of {_listed([names[row] for row in sorted(names)])}, and the data's labels are"
        f" {_listed(label_names)}; its output layer is drawn anew"
    )


def _folded(name: str) -> str:
    folded = " ".join(unicodedata.normalize("NFC", str(name)).casefold().split())
    return re.sub(r"^label_(\d+)$", r"\1", folded)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
