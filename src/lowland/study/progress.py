"""What a person sees while a study runs: a bar in a terminal, a line a run anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from tqdm import tqdm
from transformers import TrainerCallback

from lowland.ground.records import RunRecord
from lowland.ground.spec import RunSpec


class Progress:
    """Tells of the runs of a study.

    Args:
        stream: where to; None says nothing.
    """

    def __init__(self, stream: TextIO | None = None, label: str = "") -> None:
        self.stream, self.label = stream, label

    def of(self, number: int, specs: Sequence[RunSpec]) -> Progress:
        """The same, for one of several runs."""
        spec = specs[number - 1]
        return Progress(self.stream, f"[{number}/{len(specs)}] {spec.method}, seed {spec.seed}")

    def say(self, words: str) -> None:
        """One line."""
        if self.stream is not None:
            print(words, file=self.stream, flush=True)

    def found(self, record: RunRecord) -> None:
        """A run that is not run again."""
        self.say(f"{self.label}: found, {_accuracy(record)}")

    def ended(self, record: RunRecord) -> None:
        """A run that ended, well or not."""
        if record.status == "failed":
            self.say(f"{self.label}: FAILED, {str(record.failure).splitlines()[0]}")
        else:
            self.say(f"{self.label}: {_accuracy(record)}, {record.cost['train_seconds']:.0f} s")

    def callbacks(self) -> list[TrainerCallback]:
        """The Trainer's callbacks that show a bar, in a terminal."""
        if self.stream is None or not self.stream.isatty():
            return []
        return [Bar(self.label, self.stream)]


class Bar(TrainerCallback):
    """A bar of optimizer steps, with the last loss and validation accuracy."""

    def __init__(self, label: str, stream: TextIO = sys.stderr) -> None:
        self.label, self.stream = label, stream
        self.seen: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar."""
        self.bar = tqdm(total=state.max_steps, desc=self.label, file=self.stream, leave=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step further."""
        self.bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Beside the bar."""
        for name, words in (("loss", "loss"), ("eval_accuracy", "validation accuracy")):
            if logs and name in logs:
                self.seen[words] = f"{logs[name]:.3f}"
        self.bar.set_postfix(self.seen)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the bar away."""
        self.bar.close()


def _accuracy(record: RunRecord) -> str:
    return f"accuracy {record.scores['test']['accuracy']:.3f} on {record.data['sizes']['test']} test texts"
