"""A run that is stopped goes on from its last checkpoint, and is the run that it would have been, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train import checkpoints
from lowland.train.checkpoints import Checkpoints, changed_by_training
from lowland.train.fit import FittedNetwork, fit
from lowland.train.job import Job
from tests.train.runs import small_job


class Stop(TrainerCallback):
    """Raises at a step, as if the process ended there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def at_every_logged_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)


def learned(fitted: FittedNetwork) -> dict[str, torch.Tensor]:
    return dict(changed_by_training(fitted.adapted.model))


def log(fitted: FittedNetwork) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "total_flos", "efficiency/seconds", "peak_bytes")
    return [
        {name: value for name, value in entry.items() if not any(part in name for part in timed)}
        for entry in fitted.history
    ]


def stopped_and_continued(job: Job, folder: Path, steps: list[int]) -> FittedNetwork:
    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            fit(job, [Stop(step)], checkpoints=folder)
    fitted = fit(job, checkpoints=folder)
    assert isinstance(fitted, FittedNetwork)
    return fitted


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("flat-lora", {"dropout": 0.1, "accumulation": 2, "epochs": 6}),
        ("full", {"dtype": "bf16"}),
        pytest.param("lora", {"dtype": "bf16"}, marks=pytest.mark.slow),
        ("lora", {"batch_size": 16, "epochs": 8}),  # ten steps in an epoch: each loss is logged at its end
        pytest.param("neftune+flat+dora", {}, marks=pytest.mark.slow),
        ("ivon-lora", {"accumulation": 2, "epochs": 6}),  # a state of its optimizer, and one of its callback
        *(
            pytest.param(name, {"accumulation": 2, "epochs": 6}, marks=pytest.mark.slow)
            for name in ("bi-lora", "efm-lora", "mgpo")
        ),
        ("ema+sam-lora", {"dropout": 0.1, "accumulation": 2, "batch_size": 2}),
        pytest.param("swa+flat-full", {"swa_share": 0.9}, marks=pytest.mark.slow),
        pytest.param("sam-full", {"dropout": 0.1}, marks=pytest.mark.slow),
        *(pytest.param(name, {}, marks=pytest.mark.slow) for name in ("lora", "pissa", "vera", "bitfit")),
    ],
)
def test_a_run_that_was_stopped_three_times_is_the_run(
    data: TaskData, source: ModelSource, tmp_path: Path, method: str, changes: dict[str, Any]
) -> None:
    job = small_job(method, data, source, **{"epochs": 3, "batch_size": 4, **changes})
    whole = fit(job)
    assert isinstance(whole, FittedNetwork)
    last = int(whole.trainer.state.max_steps)
    draw = np.random.default_rng([last, len(method)])
    steps = sorted(int(step) for step in draw.choice(np.arange(12, last), 3, replace=False))
    continued = stopped_and_continued(job, tmp_path / "checkpoints", steps)
    for name, value in learned(whole).items():
        assert torch.equal(value, learned(continued)[name]), name
    assert log(continued) == log(whole)
    assert continued.validation == whole.validation


def test_it_goes_on_and_does_not_begin_again(data: TaskData, source: ModelSource, tmp_path: Path) -> None:
    class Count(TrainerCallback):
        steps = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.steps += 1

    job, count = small_job("lora", data, source, batch_size=4), Count()
    with pytest.raises(KeyboardInterrupt):
        fit(job, [Stop(55)], checkpoints=tmp_path / "checkpoints")
    (left,) = (tmp_path / "checkpoints").glob("checkpoint-*")  # one at a time
    assert left.name == "checkpoint-50"
    fitted = fit(job, [count], checkpoints=tmp_path / "checkpoints")
    assert isinstance(fitted, FittedNetwork)
    assert count.steps == fitted.trainer.state.max_steps - 50
    assert (
        fitted.cost["train_seconds"] > json.loads((left / "seconds.json").read_text())
        if left.exists()
        else True
    )


def test_a_checkpoint_that_was_being_written_is_not_used(
    data: TaskData, source: ModelSource, tmp_path: Path
) -> None:
    job, folder = small_job("lora", data, source, batch_size=4), tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        fit(job, [Stop(55)], checkpoints=folder)
    kept = Checkpoints(folder, job.dtype)
    assert kept.last() == folder / "checkpoint-50"
    partial = folder / "checkpoint-60"
    partial.mkdir()
    (partial / "trained.safetensors").write_bytes(
        (folder / "checkpoint-50" / "trained.safetensors").read_bytes()
    )
    assert kept.last() == folder / "checkpoint-50"
    (partial / "trainer_state.json").write_text('{"global_step": 6')
    assert kept.last() == folder / "checkpoint-50"
    (folder / "checkpoint-50" / "trained.safetensors").unlink()
    assert kept.last() is None


@pytest.mark.parametrize("change", ["code", "environment"])
def test_checkpoints_of_another_origin_are_removed(
    data: TaskData, source: ModelSource, tmp_path: Path, change: str
) -> None:
    job, folder = small_job("lora", data, source, batch_size=4), tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        fit(job, [Stop(55)], checkpoints=folder)
    origin = json.loads((folder / "origin.json").read_text())
    (folder / "origin.json").write_text(json.dumps({**origin, change: {"other": "x"}}))
    assert Checkpoints(folder, job.dtype).last() is None
    assert not folder.exists()


def test_short_runs_leave_none(
    data: TaskData, source: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 60.0)
    fit(small_job("lora", data, source), checkpoints=tmp_path / "checkpoints")
    assert not list(tmp_path.glob("checkpoints/*"))


def test_a_base_weight_is_in_no_checkpoint(data: TaskData, source: ModelSource, tmp_path: Path) -> None:
    from safetensors import safe_open

    job, folder = small_job("lora", data, source, batch_size=4), tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        fit(job, [Stop(55)], checkpoints=folder)
    with safe_open(folder / "checkpoint-50" / "trained.safetensors", "pt") as file:
        names = list(file.keys())
    assert any(name.endswith("lora_A") for name in names)
    assert not any(name.endswith("query.weight") for name in names)
