"""Padding: the model gets the tokenizer's pad token, and padding must not change the logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    encoded = _examples(model, tokenizer)
    if encoded is None:
        return None
    first = tokenizer.padding_side
    other = "left" if first == "right" else "right"
    change = _change_by_padding(model, tokenizer, encoded, first, _logits)
    if change <= LARGEST_CHANGE:
        return None
    if _change_by_padding(model, tokenizer, encoded, other, _logits) <= LARGEST_CHANGE:
        tokenizer.padding_side = other
        return None
    return _sentence(model, change)


def settle_padding_of_spans(model: Any, tokenizer: Any) -> str | None:
    """Align the padding of a model with logits for each token, as `settle_padding`; the padding is on the right.

    Returns:
        None, or a sentence if padding changes the logits.
    """
    import torch

    align_padding(model, tokenizer)
    encoded = _examples(model, tokenizer)
    if encoded is None:
        return None
    length = len(encoded[0]["input_ids"])

    def logits(answer: Any) -> Any:
        return torch.cat([answer.start_logits[0, :length], answer.end_logits[0, :length]])

    change = _change_by_padding(model, tokenizer, encoded, "right", logits)
    return None if change <= LARGEST_CHANGE else _sentence(model, change)


def _examples(model: Any, tokenizer: Any) -> list[Mapping[str, Any]] | None:
    """Return a short and a long text as token ids; None if the model cannot be tried on them."""
    if getattr(model, "is_quantized", False):
        return None  # a first forward pass may repack such weights, for good
    encoded = [tokenizer(text) for text in (SHORT, LONG)]
    ids = {number for example in encoded for number in (*example["input_ids"], tokenizer.pad_token_id)}
    if max(ids) >= model.get_input_embeddings().weight.shape[0]:
        return None  # the tokenizer is not the model's; those who load both say so
    return encoded


def _logits(answer: Any) -> Any:
    return answer.logits[0]


def _sentence(model: Any, change: float) -> str:
    return (
        f"a text's logits depend on its padding in a {type(model).__name__} (a logit changes by {change:.1%} of the"
        " largest one); batches of another size give other predictions"
    )


def _change_by_padding(
    model: Any,
    tokenizer: Any,
    encoded: list[Mapping[str, Any]],
    side: str,
    logits: Callable[[Any], Any],
) -> float:
    """Return the largest change of a logit of the first example by padding, as a share of the largest logit.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        encoded: a short and a long example.
        side: side of the padding, "left" or "right".
        logits: function that returns the first example's logits from the model's output.
    """
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            alone, padded = (
                logits(
                    model(**tokenizer.pad(examples, padding_side=side, return_tensors="pt").to(model.device))
                ).double()
                for examples in (encoded[:1], encoded)
            )
    finally:
        model.train(training)
    scale = alone.abs().max()
    if not torch.isfinite(scale) or scale == 0:
        return 0.0  # nothing can be compared
    return float((alone - padded).abs().max() / scale)
