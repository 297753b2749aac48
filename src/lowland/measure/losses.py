"""Loss of each row of a batch, as a function that can be differentiated."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from lowland.tasks.examples import Batch

IGNORED = -100
"""Label of tokens that have no loss, as in transformers."""


def row_losses(outputs: Any, batch: Batch, *, shifted: bool) -> Tensor:
    """Return the cross-entropy (rows,) of each row of a batch in nats, in float32 or wider.

    For classes it is that of the label; for places in a text the mean of start and end; for tokens the mean over the
    row's targets.

    Args:
        outputs: a transformers model's outputs for the batch.
        batch: the batch, with its targets.
        shifted: whether the logits of a token are about the next one, as in a decoder.
    """
    if "start_positions" in batch:
        start = cross_entropy(outputs.start_logits, batch["start_positions"], reduction="none")
        end = cross_entropy(outputs.end_logits, batch["end_positions"], reduction="none")
        return (start + end) / 2
    logits, labels = outputs.logits, batch["labels"]
    if logits.ndim == 2:  # (rows, classes)
        return cross_entropy(logits, labels, reduction="none")
    if shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
    means: Tensor = losses.sum(1) / labels.ne(IGNORED).sum(1)
    return means
