"""Padded batches of encoded inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lowland.tasks.base import Task
from lowland.tasks.examples import Batch, Encoded, Setup


def batches(
    task: Task,
    encoded: Encoded,
    setup: Setup,
    size: int,
    model: Any = None,
    order: Sequence[int] | npt.NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """Yield padded batches of encoded inputs.

    Args:
        task: task whose collator pads.
        encoded: the inputs.
        setup: what they were encoded with.
        size: number of inputs in a batch.
        model: model that reads them, if its arguments matter.
        order: numbers of the inputs in the order of the batches; None takes the order of the inputs.
    """
    collate, rows = task.collator(setup, model), range(len(encoded)) if order is None else order
    for start in range(0, len(encoded), size):
        yield collate([encoded[int(row)] for row in rows[start : start + size]])
