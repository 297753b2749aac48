"""Drift of hidden states: how similar those of a tuned model are to its base's, layer by layer, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.measure.similarity import Array, linear_cka, mean_cosine
from lowland.tasks.examples import Batch

INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
"""Parts of a batch that the states depend on."""


@torch.inference_mode()
def layer_states(model: Any, batches: Iterable[Batch], step: Callable[[int], None]) -> Array:
    """Return the mean hidden state (layers + 1, n, features) of each input at each layer, in float32 or wider.

    The mean is over an input's tokens without padding, or over an image's patches. The first are the states before the
    first layer. Of an encoder-decoder these are the encoder's.

    Args:
        model: a transformers model, perhaps with adapters, in evaluation mode.
        batches: padded batches.
        step: called after each batch with the number of inputs.

    Raises:
        Mistake: if the model shows no states of this form, or they are not finite.
    """
    plain: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    backbone = plain.get_encoder() if plain.config.is_encoder_decoder else plain.base_model
    pooled: list[Array] = []
    for batch in batches:
        inputs = {name: batch[name] for name in INPUTS if name in batch}
        states = backbone(**inputs, output_hidden_states=True).hidden_states
        if not states or states[0].ndim != 3 or len({state.shape for state in states}) > 1:
            raise Mistake(
                f"the layers of {type(plain).__name__} have no states of one size, one for each token"
            )
        stacked = torch.stack(list(states)).double()  # (layers + 1, inputs, tokens, features)
        pooled.append(_mean(stacked, inputs.get("attention_mask")).numpy())
        step(stacked.shape[1])
    joined: Array = np.concatenate(pooled, axis=1)
    if not np.isfinite(joined).all():
        raise Mistake("the model's hidden states are NaN or infinite")
    return joined


def drift(of_base: Array, tuned: Array) -> list[tuple[float, float]]:
    """Return linear CKA and mean cosine of the states (layers + 1, n, features) of two models, layer by layer.

    Raises:
        Mistake: if the models differ in their numbers of layers.
    """
    if len(of_base) != len(tuned):
        raise Mistake(f"the base model has {len(of_base) - 1} layers, and the tuned one {len(tuned) - 1}")
    return [(linear_cka(x, y), mean_cosine(x, y)) for x, y in zip(of_base, tuned, strict=True)]


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean (layers, inputs, features) of states (layers, inputs, tokens, features) over tokens."""
    if mask is None or mask.shape != states.shape[1:3]:
        return states.mean(2)
    weights = mask.to(states.dtype)[None, :, :, None]
    return (states * weights).sum(2) / weights.sum(2)
