"""States and losses of a frozen model on texts: mean-pooled last hidden states, and the loss of each text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy

from lowland.ground.mistakes import Mistake, plural
from lowland.models.verbalizer import write_again
from lowland.tasks.truncation import Truncation, count_truncated

BATCH = 32
LARGEST = 2**26
"""Largest number of logits of a batch: 256 MiB in float32."""

Step = Callable[[int], None]
"""Is called with the number of further texts that are done."""


@dataclass(frozen=True)
class Frozen:
    """Model that is not trained any further, with what reads its texts.

    Attributes:
        model: a transformers model, perhaps with adapters, in evaluation mode.
        tokenizer: its tokenizer.
        max_length: number of tokens after which a text is cut off.
    """

    model: Any
    tokenizer: Any
    max_length: int

    @property
    def plain(self) -> Any:
        """The transformers model itself; adapters of PEFT are in its layers."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def encode(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """Return the tokens of each text, with the special tokens of the tokenizer."""
        rows = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)
        return [{name: rows[name][number] for name in rows} for number in range(len(texts))]

    def truncation(self, texts: Sequence[str]) -> Truncation:
        """Return how many texts are longer than the model reads."""

        def whole(positions: list[int]) -> list[int]:
            chosen = [texts[position] for position in positions]
            return [len(ids) for ids in self.tokenizer(chosen, truncation=False, verbose=False)["input_ids"]]

        return count_truncated([len(row["input_ids"]) for row in self.encode(texts)], self.max_length, whole)


@torch.inference_mode()
def pooled_states(frozen: Frozen, texts: Sequence[str], step: Step) -> npt.NDArray[np.float64]:
    """Return the mean of the last hidden states (n, hidden size) over the tokens of each text, without padding.

    Of an encoder-decoder, these are the encoder's states.

    Args:
        frozen: the model.
        texts: n texts.
        step: called after each batch.
    """
    model = frozen.plain
    backbone = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    pooled: dict[int, npt.NDArray[np.float64]] = {}
    for numbers, batch in _batches(frozen, frozen.encode(texts), BATCH):
        states = backbone(**batch).last_hidden_state.double()  # (texts, tokens, hidden size)
        mask = batch["attention_mask"].unsqueeze(-1)  # (texts, tokens, 1)
        means = (states * mask).sum(1) / mask.sum(1)  # (texts, hidden size)
        pooled |= zip(numbers, means.numpy(), strict=True)
        step(len(numbers))
    return np.stack([pooled[number] for number in range(len(texts))])


@torch.inference_mode()
def token_losses(
    frozen: Frozen, texts: Sequence[str], step: Step
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the loss of each text in nats, summed over its predicted tokens (n,), and their number (n,).

    Each token but the first is predicted from those before it.

    Args:
        frozen: a decoder.
        texts: n texts.
        step: called after each batch.

    Raises:
        Mistake: if a text has one token only.
    """
    model, rows = write_again(frozen.plain), frozen.encode(texts)
    if short := [number for number, row in enumerate(rows) if len(row["input_ids"]) < 2]:
        verb = "has" if len(short) == 1 else "have"
        raise Mistake(
            f"{plural(len(short), 'text')} of the file {verb} one token, so that nothing is predicted (the first is"
            f" {texts[short[0]]!r:.40}); leave out such texts"
        )
    longest = max(len(row["input_ids"]) for row in rows)
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    size = max(1, min(BATCH, LARGEST // (longest * vocabulary)))
    sums, counts = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for numbers, batch in _batches(frozen, rows, size):
        logits = model(**batch).logits  # (texts, tokens, vocabulary)
        for place, number in enumerate(numbers):
            length = len(rows[number]["input_ids"])
            losses: Tensor = cross_entropy(
                logits[place, : length - 1].float(), batch["input_ids"][place, 1:length], reduction="none"
            )
            sums[number], counts[number] = float(losses.double().sum()), length - 1
        step(len(numbers))
    return sums, counts


def _batches(
    frozen: Frozen, rows: Sequence[dict[str, list[int]]], size: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Yield the numbers of rows with their batch, padded at the right; rows of similar length are together."""
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]["input_ids"]))
    for start in range(0, len(order), size):
        numbers = order[start : start + size]
        batch = frozen.tokenizer.pad(
            [rows[number] for number in numbers], padding_side="right", return_tensors="pt"
        )
        yield numbers, dict(batch)
