"""What fine-tuned runs are asked in a stress test: their test texts, clean and corrupted, the same for all of them.

The damage to an example is a function of (seed, test set, example, corruption) alone, and not of the method or the
run's own seed. So methods can be compared in pairs, by example and seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.rng import stream, stream_seed
from lowland.stress.questions.mitigations import prepared
from lowland.tasks.classification import TextData
from lowland.text.corruptions import ALL, CLEAN, CORRUPTIONS, corrupt
from lowland.text.levels import levels_of
from lowland.text.protection import PROTECT, vital

MITIGATIONS = ("none", "normalise")
"""What can be done for a classifier: it takes no prompt, so only its input can be changed."""


@dataclass(frozen=True)
class Condition:
    """What is done to the texts: a corruption (or "clean"), its level and rate, whether `vital` spans are spared."""

    condition: str
    level: str = ""
    rate: float = 0.0
    protected: bool = False


def conditions_of(
    corruptions: Sequence[str],
    levels: Sequence[str | float],
    protect: str,
    mitigations: Sequence[str],
    limit: int | None = None,
) -> list[Condition]:
    """Clean, and each corruption at each level, as it is, protected, or both. Raises `Mistake`, naming all of them."""
    problems = [
        one_of("corruption", one, [*CORRUPTIONS, ALL])
        for one in corruptions
        if one not in (*CORRUPTIONS, ALL)
    ]
    problems += [
        one_of("mitigation", one, [*MITIGATIONS, ALL])
        for one in mitigations
        if one not in (*MITIGATIONS, ALL)
    ]
    problems += [] if corruptions else ["corruptions is empty; name at least one, or all"]
    if protect not in PROTECT:
        problems.append(one_of("choice for protect", protect, PROTECT))
    if limit is not None and limit < 1:
        problems.append(f"limit is {limit}; it must be a whole number of at least 1, or left out")
    rates: dict[str, float] = {}
    try:
        rates = levels_of(levels)
    except Mistake as mistake:
        problems += mistake.problems
    if problems:
        raise Mistake(*problems)
    names = list(CORRUPTIONS) if ALL in corruptions else list(dict.fromkeys(corruptions))
    return [
        Condition(CLEAN),
        *(
            Condition(name, level, rate, spared)
            for name in names
            for level, rate in rates.items()
            for spared in PROTECT[protect]
        ),
    ]


def texts_of(task: TextData, limit: int | None = None, seed: int = 0) -> pd.DataFrame:
    """The test texts of all test sets: split, item (the example's number), group, topic, label, text.

    Where `limit` is less than a test set has, it is drawn from (seed, test set); a larger limit adds to a smaller one.
    """
    parts = []
    for name in task.test_sets:
        split = task.splits[name]
        chosen = np.sort(stream(seed, "stress", "limit", name).permutation(len(split))[:limit])
        table = pd.DataFrame(
            {
                "split": name,
                "item": split.examples,
                "group": list(split.groups),
                "topic": list(split.categories),
                "label": [task.label_names[number] for number in split.labels],
                "text": list(split.texts),
            }
        )
        parts.append(table.iloc[chosen])
    return pd.concat(parts, ignore_index=True)


def damaged_texts(
    texts: pd.DataFrame, conditions: Sequence[Condition], mitigations: Sequence[str], seed: int
) -> pd.DataFrame:
    """Every text under every condition and mitigation: what all runs are asked, in this order.

    The columns are those of `texts_of` but for the text, those of `Condition`, mitigation, prompt and edits.
    """
    rows = []
    for one in texts.to_dict("records"):
        text = one.pop("text")
        for condition in conditions:
            damaged, edits = text, 0
            if condition.condition != CLEAN:
                spared = vital(text) if condition.protected else ()
                name = ("corruption", one["split"], int(one["item"]), condition.condition)
                done = corrupt(
                    text, condition.condition, condition.rate, seed=stream_seed(seed, *name), protect=spared
                )
                damaged, edits = done.text, len(done.edits)
            rows += [
                {
                    **one,
                    **asdict(condition),
                    "mitigation": mitigation,
                    "prompt": prepared(damaged, mitigation),
                    "edits": edits,
                }
                for mitigation in mitigations
            ]
    return pd.DataFrame(rows)


def fingerprint(asked: pd.DataFrame) -> str:
    """Of all that is asked, texts and conditions: whatever makes them other texts makes this another call."""
    digest = hashlib.sha256()
    for row in asked.to_dict("records"):
        digest.update(json.dumps(row, ensure_ascii=True, default=int).encode())
    return digest.hexdigest()
