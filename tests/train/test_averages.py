"""EMA and SWA: the average is what an explicit loop gives; training is untouched, and evaluations have the average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import TrainerCallback

from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train.averages import EMA, SWA
from tests.train.runs import Run, run

Weights = dict[str, Tensor]


def trained(model: nn.Module) -> Weights:
    return {name: v.detach().clone() for name, v in model.named_parameters() if v.requires_grad}


class Iterates(TrainerCallback):
    """Records the trained parameters after each step, and while the validation set is scored."""

    def __init__(self) -> None:
        self.after: list[Weights] = []
        self.evaluated: list[Weights] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **rest: Any) -> None:
        self.after.append(trained(model))

    def on_prediction_step(self, args: Any, state: Any, control: Any, model: nn.Module, **rest: Any) -> None:
        self.evaluated.append(trained(model))


def explicit_ema(iterates: list[Weights], decay: float) -> Weights:
    """Reference: the recurrence, in float64."""
    average = {name: value.double() for name, value in iterates[0].items()}
    for t, weights in enumerate(iterates[1:], start=2):
        d = min(decay, t / (9 + t))
        average = {name: d * average[name] + (1 - d) * value.double() for name, value in weights.items()}
    return average


def mean(iterates: list[Weights]) -> Weights:
    """Reference: the mean, in float64."""
    return {name: torch.stack([w[name].double() for w in iterates]).mean(0) for name in iterates[0]}


def close(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[n].double(), b[n].double(), atol=1e-6) for n in a)


def watched(method: str, data: TaskData, source: ModelSource, **changes: Any) -> tuple[Iterates, Run]:
    iterates = Iterates()
    return iterates, run(method, data, source, callbacks=[iterates], **changes)


@pytest.mark.parametrize("row", ["lora", "full"])
def test_an_ema_is_the_recurrence_and_is_what_is_tested_and_saved(
    data: TaskData, source: ModelSource, tmp_path: Path, row: str
) -> None:
    changes = {"ema_decay": 0.8, "batch_size": 8, "dropout": 0.1}
    plain, before = watched(row, data, source, batch_size=8, dropout=0.1)
    seen, after = watched(f"ema+{row}", data, source, folder=tmp_path, **changes)
    assert len(seen.after) > 20
    assert all(torch.equal(w[n], v[n]) for w, v in zip(plain.after, seen.after, strict=True) for n in v)
    assert before.losses == after.losses  # the training itself is not touched
    average = explicit_ema(seen.after, 0.8)
    model = trained(after.fitted.adapted.model)
    assert close(model, average)
    assert not close(model, seen.after[-1])
    half = len(seen.after) // 2
    assert close(seen.evaluated[0], explicit_ema(seen.after[:half], 0.8))
    assert close(seen.evaluated[-1], average)
    (file,) = tmp_path.rglob("*.safetensors")
    saved = load_file(file)
    head = next(value for name, value in saved.items() if name.endswith("classifier.weight"))
    assert torch.equal(head, model["classifier.weight"])
    assert before.fitted.validation["loss"] != after.fitted.validation["loss"]


def test_swa_is_the_mean_over_the_last_steps_and_before_them_the_raw_parameters(
    data: TaskData, source: ModelSource
) -> None:
    seen, after = watched("swa+lora", data, source, batch_size=8, swa_share=0.25)
    count, half = len(seen.after), len(seen.after) // 2
    assert close(trained(after.fitted.adapted.model), mean(seen.after[count - round(count / 4) :]))
    assert all(torch.equal(seen.evaluated[0][name], value) for name, value in seen.after[half - 1].items())


@pytest.mark.parametrize(("share", "steps"), [(0.25, 25), (1.0, 100), (0.001, 1)])
def test_the_share_of_swa_is_one_of_the_steps(share: float, steps: int) -> None:
    counted = [step for step in range(1, 101) if SWA(share).counts(step, 100)]
    assert counted == list(range(101 - steps, 101))


def test_a_short_ema_forgets_where_it_began() -> None:
    """Parameters of 1 are 0 after the first step; without the rule for d, 0.99^50 = 0.6 of them would be left."""
    model = nn.Linear(1, 1, bias=False)
    ema = EMA(decay=0.99)
    nn.init.ones_(model.weight)
    ema.on_train_begin(None, None, None, model=model)

    class State:
        global_step, max_steps = 1, 51

    for _ in range(51):
        ema.on_step_end(None, State, None)
        nn.init.zeros_(model.weight)
    with ema.around_evaluation():
        assert 0 < model.weight.item() < 1e-3
    assert model.weight.item() == 0


def test_the_raw_parameters_come_back_after_an_error_in_evaluation() -> None:
    model = nn.Linear(1, 1)
    ema = EMA(decay=0.5)
    ema.on_train_begin(None, None, None, model=model)

    class State:
        global_step, max_steps = 1, 2

    ema.on_step_end(None, State, None)
    nn.init.ones_(model.weight)
    with pytest.raises(KeyboardInterrupt), ema.around_evaluation():
        raise KeyboardInterrupt
    assert model.weight.item() == 1
