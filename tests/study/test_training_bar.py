"""Bar of one training: it shows loss and score, and goes when the training ends, however that is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from lowland.ground.progress import Bar, Progress
from lowland.study.training_bar import training_bar


def test_a_training_that_breaks_removes_its_bar(make_terminal: Callable[[], Any]) -> None:
    progress = make_terminal()
    state = type("State", (), {"max_steps": 10, "global_step": 4})
    callbacks = []

    def train() -> None:
        with training_bar(progress, "[1/1] lora", "accuracy") as (callback,):
            callbacks.append(callback)
            callback.on_train_begin(None, state, None)
            callback.on_step_end(None, state, None)
            callback.on_log(None, state, None, logs={"loss": 0.25, "eval_accuracy": 0.5})
            assert callback.bar is not None
            assert (callback.bar.done, callback.bar.text) == (5, "loss 0.250, validation accuracy 0.500")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train()
    assert callbacks[0].bar is None


@pytest.fixture
def make_terminal() -> Callable[[], Any]:
    class OnTerminal(Progress):
        on_terminal = True  # type: ignore[assignment]

        def bar(self, total: int, *, unit: str = "questions", label: str = "") -> Any:
            return Bar(self, total, unit, label)

    return OnTerminal


def test_without_a_terminal_a_training_has_no_bar() -> None:
    with training_bar(Progress(io.StringIO()), "[1/1] lora", "accuracy") as callbacks:
        assert callbacks == []
