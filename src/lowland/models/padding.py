"""Padding of a classifier: the model gets the tokenizer's pad token, and padding must not change the logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHORT, LONG = "a", "a b c d e f g h"
"""Two texts of different lengths, which every tokenizer can read."""
LARGEST_CHANGE = 1e-3
"""Largest change of a logit, as a share of the largest logit, that counts as rounding."""


def align_padding(model: Any, tokenizer: Any) -> None:
    """Give a model the pad token of its tokenizer.

    A classifier that reads a text's last token finds it by the pad token of its config. Where that differs from the
    tokenizer's, it would read a padding position instead.
    """
    for config in {id(config): config for config in (model.config, model.config.get_text_config())}.values():
        config.pad_token_id = tokenizer.pad_token_id


def settle_padding(model: Any, tokenizer: Any) -> str | None:
    """Align a classifier's padding with its tokenizer, and check that padding does not change the logits.

    The logits of a short text alone are compared with those of the same text padded to a longer one. If they differ
    with the tokenizer's padding side, the other side is tried, and kept if it is right. (Padding on the left is wrong
    for a model with absolute positions, for instance.)

    Args:
        model: a sequence classifier.
        tokenizer: its tokenizer, with a pad token; `padding_side` may be changed.

    Returns:
        None, or a sentence if padding changes the logits on both sides. A quantised model is aligned, but not checked.
    """
    align_padding(model, tokenizer)
    if getattr(model, "is_quantized", False):
        return None  # a first forward pass may repack such weights, for good
    encoded = [tokenizer(text) for text in (SHORT, LONG)]
    ids = {number for example in encoded for number in (*example["input_ids"], tokenizer.pad_token_id)}
    if max(ids) >= model.get_input_embeddings().weight.shape[0]:
        return None  # the tokenizer is not the model's; those who load both say so
    first = tokenizer.padding_side
    change = _change_by_padding(model, tokenizer, encoded)
    if change <= LARGEST_CHANGE:
        return None
    tokenizer.padding_side = "left" if first == "right" else "right"
    if _change_by_padding(model, tokenizer, encoded) <= LARGEST_CHANGE:
        return None
    tokenizer.padding_side = first
    return (
        f"a text's logits depend on its padding in a {type(model).__name__} (a logit changes by {change:.1%} of the"
        " largest one); batches of another size give other predictions"
    )


def _change_by_padding(model: Any, tokenizer: Any, encoded: list[Mapping[str, Any]]) -> float:
    """Return the largest change of a logit of the first example by padding, as a share of the largest logit."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            alone, padded = (
                model(**tokenizer.pad(examples, return_tensors="pt").to(model.device)).logits[0].double()
                for examples in (encoded[:1], encoded)
            )
    finally:
        model.train(training)
    scale = alone.abs().max()
    if not torch.isfinite(scale) or scale == 0:
        return 0.0  # nothing can be compared
    return float((alone - padded).abs().max() / scale)
