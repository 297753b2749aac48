"""Number of tokens of a text that a model can read."""

from __future__ import annotations

from typing import Any


def token_limit(tokenizer: Any, config: Any, max_length: int) -> int:
    """Return how many tokens of a text are read: `max_length`, but no more than tokenizer and model support.

    Args:
        tokenizer: tokenizer of the model; its `model_max_length` counts if it is positive. An image processor has none.
        config: config of the model.
        max_length: the requested number of tokens.
    """
    limits = [max_length, getattr(tokenizer, "model_max_length", None), *position_limits(config)]
    return int(min(limit for limit in limits if limit is not None and limit > 0))


def position_limits(config: Any) -> list[int]:
    """Return the numbers of positions that a model of this config has; empty if it has no limit.

    The sizes of the model's position tables are read, since a config does not say how they are used: in a table with a
    padding row (as in RoBERTa, MPNet and ESM), positions begin after that row. The config counts, too, unless it says
    0, -1 or None, which mean "no limit".
    """
    stated = getattr(config, "max_position_embeddings", None) or 0
    limits = [int(stated)] if stated > 0 else []
    for name, module in _outline(config).named_modules():
        table = getattr(module, "weight", None)
        if "pos" in name.rpartition(".")[2] and hasattr(module, "padding_idx") and table is not None:
            limits.append(len(table) - (0 if module.padding_idx is None else module.padding_idx + 1))
    return limits


def _outline(config: Any) -> Any:
    """Return the model of a config without weights; an empty module if transformers cannot build it."""
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            return AutoModel.from_config(config)
    except (ValueError, ImportError):
        return torch.nn.Module()
