"""Report of `lowland measure slices`: barriers in sentences, and the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lowland.evidence.slices import Barrier
from lowland.ground.visible import visible


def barrier_sentence(title: str, split: str, barrier: Barrier) -> str:
    """Say how high the loss rises on a line between two places.

    Args:
        title: the line, in words: "from lora, seed 1 to full, seed 1".
        split: part of the data.
        barrier: the barrier.
    """
    where = f"On the line {visible(title)}, {visible(split)} data"
    if not barrier.height:
        return f"{where}: no barrier; the loss is nowhere above the straight line between the ends."
    if not math.isfinite(barrier.height):
        return f"{where}: the loss is not finite {100 * barrier.x:.0f} % of the way."
    interval = barrier.interval
    over = f" (95 % interval {interval.low:.3g} to {interval.high:.3g} over examples)" if interval else ""
    shown = "" if interval is None or interval.low > 0 else "; that may be chance"
    return (
        f"{where}: a barrier of {barrier.height:.3g} nats{over}, {100 * barrier.x:.0f} % of the way{shown}."
    )


def barriers_as_json(barriers: Mapping[tuple[str, str], Barrier]) -> list[dict[str, object]]:
    """Return barriers, by slice and split, as plain values in nats."""
    return [
        {
            "slice": name,
            "split": split,
            "x": barrier.x,
            "height": barrier.height if math.isfinite(barrier.height) else None,
            "low": barrier.interval.low if barrier.interval else None,
            "high": barrier.interval.high if barrier.interval else None,
        }
        for (name, split), barrier in barriers.items()
    ]
