"""Inputs for fine-tuned runs in a stress test: their test examples, clean and corrupted, the same for all runs.

The damage to an example is a function of (seed, test set, example, corruption) alone; the method and the seed of the
run do not matter. So methods can be compared in pairs, by example and seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from lowland.ground.rng import stream, stream_seed
from lowland.stress.adapters.settings import AdapterStressSettings
from lowland.stress.questions.mitigations import prepared
from lowland.tasks.base import Task
from lowland.tasks.examples import Split, TaskData
from lowland.text.corruptions import CLEAN, corrupt
from lowland.text.levels import levels_of
from lowland.text.protection import PROTECT, vital

BETWEEN = " | "
"""Separator of several texts in one cell that people read."""


@dataclass(frozen=True)
class Condition:
    """Damage to texts: a corruption (or "clean"), its level and rate, and whether `vital` parts are spared."""

    condition: str
    level: str = ""
    rate: float = 0.0
    protected: bool = False


@dataclass(frozen=True)
class Examples:
    """Test examples of all test sets, aligned.

    Attributes:
        about: columns `split`, `item` (the example's number), `group`, `topic` and `label` (its targets, for people).
        inputs: the task's input columns.
        targets: the task's other columns.
        damaged: the input columns that are damaged; None for all.
        context: further columns that the model reads, and that are not damaged; None if there are none.
    """

    about: pd.DataFrame
    inputs: pd.DataFrame
    targets: pd.DataFrame
    damaged: tuple[str, ...] | None = None
    context: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.about)


@dataclass(frozen=True)
class Requests:
    """Examples under all conditions and mitigations, in the order in which they are stored; aligned.

    Attributes:
        about: the columns of `Examples.about` and of `Condition`, then mitigation, prompt (the inputs that are damaged,
            for people) and edits.
        inputs: what the model reads: the task's input columns, damaged and prepared, and the columns of its context.
        examples: the task's columns, undamaged.
    """

    about: pd.DataFrame
    inputs: pd.DataFrame
    examples: pd.DataFrame

    def as_split(self) -> Split:
        """Return the requests as examples of the task, undamaged, to score replies to them."""
        columns = {str(name): tuple(values) for name, values in self.examples.items()}
        about = self.about
        return Split(columns, about["item"].to_numpy(), tuple(about["group"]), tuple(about["topic"]))

    def sha256(self) -> str:
        """Return a hash of all inputs and conditions: other texts make another test."""
        digest = hashlib.sha256()
        table = pd.concat([self.about, self.inputs.add_prefix("input_")], axis=1)
        for row in table.to_dict("records"):
            digest.update(json.dumps(row, ensure_ascii=True, default=int).encode())
        return digest.hexdigest()


def conditions_of(settings: AdapterStressSettings) -> list[Condition]:
    """Return clean, and each corruption at each level: as it is, protected, or both."""
    return [
        Condition(CLEAN),
        *(
            Condition(name, level, rate, protected)
            for name in settings.corruptions
            for level, rate in levels_of(settings.levels).items()
            for protected in PROTECT[settings.protect]
        ),
    ]


def examples_of(data: TaskData, task: Task, limit: int | None = None, seed: int = 0) -> Examples:
    """Return the examples of all test sets.

    Where a test set has more examples than `limit`, they are drawn from (seed, test set). A larger limit adds examples
    to those of a smaller one.
    """
    parts: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for name in data.test_sets:
        split = data.splits[name]
        chosen = np.sort(stream(seed, "stress", "limit", name).permutation(len(split))[:limit])
        columns = pd.DataFrame({column: list(values) for column, values in split.columns.items()})
        about = pd.DataFrame(
            {
                "split": name,
                "item": split.examples,
                "group": list(split.groups),
                "topic": list(split.categories),
                "label": task.gold(split),
            }
        )
        parts.append((about.iloc[chosen], columns.iloc[chosen]))
    about, columns = (pd.concat(list(tables), ignore_index=True) for tables in zip(*parts, strict=True))
    inputs, context = list(task.input_columns), [name for name in task.context_columns if name in columns]
    targets = columns.drop(columns=[*inputs, *context])
    return Examples(
        about, columns[inputs], targets, task.columns_to_damage, columns[context] if context else None
    )


def damaged_requests(
    examples: Examples, conditions: Sequence[Condition], mitigations: Sequence[str], seed: int
) -> Requests:
    """Return every example under every condition and mitigation."""
    about: list[dict[str, Any]] = []
    inputs: list[dict[str, str]] = []
    places: list[int] = []
    names = list(examples.inputs) if examples.damaged is None else list(examples.damaged)
    whole = examples.inputs.to_dict("records")
    originals = examples.inputs[names].to_dict("records")
    for place, row in enumerate(examples.about.to_dict("records")):
        for condition in conditions:
            damaged, edits = _damaged(originals[place], row, condition, seed)
            for mitigation in mitigations:
                texts = {name: prepared(text, mitigation) for name, text in damaged.items()}
                prompt = BETWEEN.join(texts.values())
                shared = {str(name): value for name, value in row.items()}
                about.append(
                    {
                        **shared,
                        **asdict(condition),
                        "mitigation": mitigation,
                        "prompt": prompt,
                        "edits": edits,
                    }
                )
                inputs.append({**{str(name): text for name, text in whole[place].items()}, **texts})
                places.append(place)
    context = examples.context if examples.context is not None else pd.DataFrame(index=examples.inputs.index)
    undamaged = pd.concat([examples.inputs, context, examples.targets], axis=1)
    read = pd.concat([pd.DataFrame(inputs), context.iloc[places].reset_index(drop=True)], axis=1)
    return Requests(pd.DataFrame(about), read, undamaged.iloc[places].reset_index(drop=True))


def _damaged(
    texts: Mapping[Any, str], row: Mapping[Any, Any], condition: Condition, seed: int
) -> tuple[dict[str, str], int]:
    """Return an example's inputs under a condition, and the number of edits."""
    if condition.condition == CLEAN:
        return {str(name): text for name, text in texts.items()}, 0
    damaged, edits = {}, 0
    for number, (name, text) in enumerate(texts.items()):
        stream_name = ("corruption", row["split"], int(row["item"]), condition.condition)
        further = (str(name),) if number else ()  # the first input has the stream of an only one
        corrupted = corrupt(
            text,
            condition.condition,
            condition.rate,
            seed=stream_seed(seed, *stream_name, *further),
            protect=vital(text) if condition.protected else (),
        )
        damaged[str(name)] = corrupted.text
        edits += len(corrupted.edits)
    return damaged, edits
