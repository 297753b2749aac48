"""Bar of one training, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from lowland.ground.progress import Bar, Progress


class TrainingBar(TrainerCallback):
    """Callback that shows a bar of optimizer steps, with the last loss and validation score.

    Args:
        progress: progress that shows the bar.
        label: text before the bar.
        score: name of the task's primary score.
    """

    def __init__(self, progress: Progress, label: str, score: str) -> None:
        self.progress, self.label, self.score = progress, label, score
        self.last: dict[str, str] = {}
        self.bar: Bar | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar."""
        self.bar = self.progress.bar(state.max_steps, unit="steps", label=self.label).__enter__()
        self.bar.step(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by one step."""
        if self.bar is not None:
            self.bar.step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the last loss and validation score next to the bar."""
        for name, shown in (("loss", "loss"), (f"eval_{self.score}", f"validation {self.score}")):
            if logs and name in logs:
                self.last[shown.replace("_", " ")] = f"{logs[name]:.3f}"
        if self.bar is not None:
            self.bar.note(", ".join(f"{name} {value}" for name, value in self.last.items()))

    def end(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.end()
            self.bar = None


@contextmanager
def training_bar(progress: Progress, label: str, score: str) -> Iterator[list[TrainingBar]]:
    """Yield the callback that shows a training; none if there is no terminal.

    Args:
        progress: progress that shows the bar.
        label: text before the bar.
        score: name of the task's primary score.
    """
    if not progress.on_terminal:
        yield []
        return
    bar = TrainingBar(progress, label, score)
    try:
        yield [bar]
    finally:
        bar.end()
