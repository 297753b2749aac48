"""Batches for decoders: padded at the left, with logits of the completions alone; and rows of several examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lowland.models.language import takes
from lowland.tasks.generation import IGNORED

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class DecoderCollator:
    """Pads rows at the left, so that all completions end in the last column.

    A batch has `input_ids`, `attention_mask` (rows, tokens), `position_ids` if the model takes them, and, of rows with
    labels, `labels` and perhaps the prompts alone (`prompt_input_ids`, `prompt_attention_mask`). If the model takes
    `logits_to_keep`, it computes logits only from the first completion on, and `labels` has as many columns: with a
    vocabulary of 262,144 tokens the logits of the prompts cost more than the rest of the model.

    Args:
        pad: token to pad with.
        model: the model; None for batches without `position_ids` and with logits of all tokens.
    """

    def __init__(self, pad: int, model: Any = None) -> None:
        self.pad = pad
        self.positions = model is not None and takes(model, "position_ids")
        self.keeps_logits = model is not None and takes(model, "logits_to_keep")

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of rows."""
        if "position_ids" in rows[0]:
            return self._packed(rows)
        batch: dict[str, Any] = self._padded([row["input_ids"] for row in rows])
        if self.positions:
            batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        if "labels" in rows[0]:
            batch["labels"] = self._labels([row["labels"] for row in rows])
            if self.keeps_logits and batch["labels"].ndim == 2:
                first = int((batch["labels"] != IGNORED).any(0).long().argmax())
                batch["logits_to_keep"] = batch["labels"].shape[1] - max(first - 1, 0)
                batch["labels"] = batch["labels"][:, -batch["logits_to_keep"] :]
        if "prompt_ids" in rows[0]:
            prompts = self._padded([row["prompt_ids"] for row in rows])
            batch |= {f"prompt_{name}": values for name, values in prompts.items()}
        return batch

    def _labels(self, labels: Sequence[Any]) -> Tensor:
        """Return labels (rows,) of a classification, or those of all tokens (rows, tokens)."""
        import torch

        return torch.tensor(labels) if isinstance(labels[0], int) else _left(labels, IGNORED)

    def _padded(self, rows: Sequence[list[int]]) -> dict[str, Tensor]:
        return {
            "input_ids": _left(rows, self.pad),
            "attention_mask": _left([[1] * len(ids) for ids in rows], 0),
        }

    def _packed(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return rows of several examples: positions that begin anew tell transformers where an example begins.

        It looks for that only if there is neither an attention mask nor a cache of keys and values, which a model makes
        unless it is told not to. The padding at the end is an example of its own, without targets.
        """
        longest = max(len(row["input_ids"]) for row in rows)
        fill = {
            "input_ids": [self.pad] * longest,
            "labels": [IGNORED] * longest,
            "position_ids": range(longest),
        }
        import torch

        tensors = {
            name: torch.tensor([[*row[name], *values[: longest - len(row[name])]] for row in rows])
            for name, values in fill.items()
        }
        return {**tensors, "use_cache": False}


def packed(
    rows: Mapping[str, Sequence[list[int]]], length: int
) -> tuple[dict[str, list[list[int]]], npt.NDArray[np.int64]]:
    """Join examples to rows of at most `length` tokens, in their order; each goes into the first row that has room.

    Args:
        rows: `input_ids` and `labels` of the examples.
        length: largest number of tokens of a row.

    Returns:
        `input_ids`, `labels` and `position_ids` of the rows, and the first example of each row.
    """
    bins: list[list[int]] = []
    room: dict[int, int] = {}  # of the rows that have room for the shortest example, at least
    sizes = [len(ids) for ids in rows["input_ids"]]
    shortest = min(sizes, default=0)
    for number, size in enumerate(sizes):
        place = next((place for place, left in room.items() if left >= size), len(bins))
        if place == len(bins):
            bins.append([])
            room[place] = length
        bins[place].append(number)
        room[place] -= size
        if room[place] < shortest:
            del room[place]
    joined = {
        name: [[token for number in members for token in rows[name][number]] for members in bins]
        for name in ("input_ids", "labels")
    }
    positions = [[place for number in members for place in range(sizes[number])] for members in bins]
    return {**joined, "position_ids": positions}, np.array([members[0] for members in bins])


def _left(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
    """Return rows of numbers, filled at the left to one length."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[fill] * (longest - len(row)) + row for row in rows])
