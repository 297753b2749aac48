"""Progress of a study: a line for each run, and on a terminal a bar for each training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord


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

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar."""
        self.progress.begin(state.max_steps, unit="steps", label=self.label)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by one step."""
        self.progress.step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the last loss and validation score next to the bar."""
        for name, shown in (("loss", "loss"), (f"eval_{self.score}", f"validation_{self.score}")):
            if logs and name in logs:
                self.last[shown] = f"{logs[name]:.3f}"
        self.progress.note(**self.last)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the bar."""
        self.progress.end()


def outcome_of(record: RunRecord) -> str:
    """Return a finished run's primary score in words."""
    name, value = next(iter(record.scores["test"].items()))
    return f"{name.replace('_', ' ')} {value:.3f} on {record.data['sizes']['test']} test examples"
