"""The monitor logs what the adapters learn, and changes nothing of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerCallback

from lowland.lora import lora_layers
from lowland.lora.spectrum import Factors, adapter_factors, effective_rank
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train import fit as fitting
from lowland.train import monitor
from lowland.train.checkpoints import changed_by_training
from lowland.train.fit import FittedNetwork, fit
from lowland.train.fitted import Diverged
from lowland.train.job import Job
from tests.train.runs import small_job

KINDS = ("lora_adapters/", "lora_rank/", "efficiency/", "verification/", "training_efficiency/", "noise/")


def trained(job: Job, callbacks: Sequence[TrainerCallback] = ()) -> FittedNetwork:
    fitted = fit(job, callbacks)
    assert isinstance(fitted, FittedNetwork)
    return fitted


def entries(fitted: FittedNetwork) -> list[dict[str, Any]]:
    """The monitor's entries of the history."""
    return [entry for entry in fitted.history if "training_efficiency/examples_seen" in entry]


def kinds(entry: dict[str, Any]) -> set[str]:
    return {kind for kind in KINDS if any(name.startswith(kind) for name in entry)}


class Nothing(TrainerCallback):
    """Stands in for the monitor."""

    def __init__(self, *args: Any) -> None:
        pass


@pytest.mark.parametrize("method", ["flat-lora", "flat+dora", "bitfit"])
def test_it_changes_no_bit_of_what_is_learned(
    data: TaskData, source: ModelSource, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job(method, data, source, batch_size=4, **({} if method == "bitfit" else {"dropout": 0.1}))
    watched = trained(job)
    monkeypatch.setattr(fitting, "Monitor", Nothing)
    alone = trained(job)
    assert entries(watched)
    assert not entries(alone)
    learned = changed_by_training(alone.adapted.model)
    for name, value in changed_by_training(watched.adapted.model).items():
        assert torch.equal(value, learned[name]), name
    assert watched.validation == alone.validation


def test_it_draws_no_random_number(data: TaskData, source: ModelSource) -> None:
    class Generator(TrainerCallback):
        """Takes the state of torch's generator before the monitor's work, and after it; it stands before it."""

        def __init__(self) -> None:
            self.states: list[tuple[torch.Tensor, torch.Tensor]] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                self.before = torch.get_rng_state()
            if "training_efficiency/examples_seen" in logs:
                self.states.append((self.before, torch.get_rng_state()))

    generator = Generator()
    fit(small_job("flat-lora", data, source, batch_size=16), [generator])
    assert len(generator.states) == 2
    assert all(torch.equal(*pair) for pair in generator.states)


def test_the_last_entry_is_the_spectrum_of_what_was_learned(data: TaskData, source: ModelSource) -> None:
    fitted = trained(small_job("lora", data, source, epochs=1))
    last = entries(fitted)[-1]
    layers = dict(lora_layers(fitted.adapted.model))
    assert last["step"] == fitted.trainer.state.max_steps
    for name, layer in layers.items():
        values = torch.linalg.svdvals(layer.delta(torch.float64))[: layer.r]
        assert last[f"lora_adapters/{name}/norm_a"] == pytest.approx(layer.lora_A.norm().item(), rel=1e-5)
        assert last[f"lora_adapters/{name}/norm_b"] == pytest.approx(layer.lora_B.norm().item(), rel=1e-5)
        expected = values.norm().item() / layer.scaling
        assert last[f"lora_adapters/{name}/norm_ba"] == pytest.approx(expected, rel=1e-5)
        rank = effective_rank(values.tolist())
        assert last[f"lora_rank/{name}/effective_rank"] == pytest.approx(rank, rel=1e-4)
        for part, value in (("largest", values[0]), ("mean", values.mean()), ("smallest", values[-1])):
            logged = last[f"lora_rank/{name}/singular_values/{part}"]
            assert logged == pytest.approx(value.item(), rel=1e-3), part
    ranks = [last[f"lora_rank/{name}/effective_rank"] for name in layers]
    assert last["lora_rank/mean/effective_rank"] == pytest.approx(sum(ranks) / len(ranks))


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"batch_size": 16, "epochs": 3}, [11, 22, 33]),  # each epoch's end; 10, 20 and 30 are due, too
        ({"batch_size": 8, "epochs": 1}, [10, 20, 22]),
    ],
)
def test_entries_stand_at_each_epochs_end_and_ten_times_in_a_training(
    data: TaskData, source: ModelSource, changes: dict[str, Any], steps: list[int]
) -> None:
    fitted = trained(small_job("lora", data, source, **changes))
    logged = [entry["step"] for entry in entries(fitted)]
    assert len(set(logged)) == len(logged)
    ends = [entry["step"] for entry in fitted.history if "eval_loss" in entry]
    assert {*ends} <= {*logged}
    assert all(step % 10 == 0 for step in {*logged} - {*ends})
    assert sorted(logged) == logged


def test_a_long_training_has_about_ten_and_one_an_epoch() -> None:
    class Arguments:
        logging_steps, num_train_epochs = 10, 2.0

    class State:
        max_steps = 10_000

    due = [step for step in range(1, 10_001) if monitor._is_due(Arguments, State, step)]
    assert due == list(range(1000, 10_001, 1000))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("lora", {*KINDS} - {"noise/"}),
        ("flat-lora", {*KINDS}),
        ("flat+dora", {*KINDS}),
        ("pissa", {*KINDS} - {"noise/"}),
        ("full", {"efficiency/", "training_efficiency/"}),
        ("head", {"efficiency/", "training_efficiency/"}),
        ("vera", {"efficiency/", "training_efficiency/"}),
        ("flat+vera", {"efficiency/", "training_efficiency/", "noise/"}),
    ],
)
def test_what_each_method_logs(data: TaskData, source: ModelSource, method: str, expected: set[str]) -> None:
    fitted = trained(small_job(method, data, source, batch_size=8, epochs=1))
    for entry in entries(fitted):
        assert kinds(entry) == expected
        assert all(isinstance(value, float | int) for value in entry.values())
    last = entries(fitted)[-1]
    losses = [entry for entry in fitted.history if "loss" in entry]
    assert last["training_efficiency/loss"] == losses[-1]["loss"]
    assert last["training_efficiency/gradient_norm"] == losses[-1]["grad_norm"]
    assert last["training_efficiency/learning_rate"] == losses[-1]["learning_rate"]
    assert last["training_efficiency/examples_seen"] == len(data.splits["train"])
    assert last["efficiency/trainable_parameters"] == fitted.parameters["trainable"]
    assert 0 < last["efficiency/seconds_per_step"] < 10
    rate = 8 / last["efficiency/seconds_per_step"]
    assert last["efficiency/examples_per_second"] == pytest.approx(rate, rel=0.5)
    assert last["efficiency/peak_bytes"] > 10**7
    assert ("noise/to_adapter" in last) == (method in ("flat-lora", "flat+dora"))
    if "verification/" in expected:
        assert last["verification/with_gradient"] == 1
        assert last["verification/frozen_weights_changed"] == 0


def test_a_last_batch_that_is_not_full_counts_its_own_examples(data: TaskData, source: ModelSource) -> None:
    count = len(data.splits["train"])
    size = next(size for size in range(7, 20) if count % size)
    fitted = trained(small_job("lora", data, source, batch_size=size, epochs=2))
    seen = [entry["training_efficiency/examples_seen"] for entry in entries(fitted)]
    assert {count, 2 * count} <= set(seen)
    assert max(seen) == 2 * count


def test_examples_are_counted_as_they_are_seen() -> None:
    class Arguments:
        num_train_epochs, train_batch_size, gradient_accumulation_steps, world_size = 2.0, 8, 2, 1

    class State:
        max_steps, global_step = 8, 0

    seen = []
    for State.global_step in range(9):
        seen.append(monitor._seen(Arguments, State, 50))
    assert seen == [0, 16, 32, 48, 50, 66, 82, 98, 100]


def test_the_noise_is_that_of_the_step(data: TaskData, source: ModelSource) -> None:
    class Weights(TrainerCallback):
        """Takes the norms of W' and of the noise itself in the last step, and of s·BA behind it."""

        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any
        ) -> None:
            with torch.no_grad():
                layers = dict(lora_layers(model))
                self.whole = [(layer.weight + layer.delta()).norm().item() for layer in layers.values()]
                self.eps = [
                    layer.drawn_noise.eps().norm().item() for layer in layers.values() if layer.drawn_noise
                ]

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
            self.added = [layer.delta().norm().item() for _, layer in lora_layers(model)]

    weights = Weights()
    fitted = trained(small_job("flat-lora", data, source, rho=0.2, epochs=1), [weights])
    last, steps = entries(fitted)[-1], fitted.trainer.state.max_steps
    sigma = 0.2 * 0.5 * (1 - math.cos(math.pi * (steps - 1) / steps))
    assert last["noise/rho"] == 0.2
    assert last["noise/sigma"] == pytest.approx(sigma)
    expected = [sigma * norm for norm in weights.whole]
    assert last["noise/mean_norm"] == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert last["noise/mean_norm"] == pytest.approx(sum(weights.eps) / len(weights.eps), rel=0.1)
    ratios = [norm / added for norm, added in zip(expected, weights.added, strict=True)]
    assert last["noise/to_adapter"] == pytest.approx(sum(ratios) / len(ratios), rel=1e-4)


def test_a_frozen_weight_that_changes_is_seen(data: TaskData, source: ModelSource) -> None:
    class Write(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
            base = list(adapter_factors(model).values())[-1].base
            base.weight.data[0, 0] = torch.nextafter(base.weight[0, 0], torch.tensor(9.0))

    fitted = trained(small_job("lora", data, source, epochs=1), [Write()])
    assert entries(fitted)[-1]["verification/frozen_weights_changed"] == 1


def test_a_factor_without_a_gradient_is_seen(data: TaskData, source: ModelSource) -> None:
    class Drop(TrainerCallback):
        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any
        ) -> None:
            first, second, *_ = adapter_factors(model).values()
            first.a.grad = None
            second.b.grad.zero_()  # B stays zero, so A has no gradient either

    fitted = trained(small_job("lora", data, source, epochs=1), [Drop()])
    count = 2 * len(adapter_factors(fitted.adapted.model))
    assert entries(fitted)[-1]["verification/with_gradient"] == pytest.approx((count - 3) / count)


@pytest.mark.parametrize(("value", "share"), [(1.0, 1.0), (0.0, 0.5), (torch.inf, 0.5), (torch.nan, 0.5)])
def test_a_gradient_counts_if_it_is_finite_and_not_zero(value: float, share: float) -> None:
    a, b = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3, 2))
    a.grad, b.grad = torch.full((2, 3), value), torch.ones(3, 2)
    assert monitor._share_with_gradient([Factors(a, b, 1.0, nn.Identity())]) == share


def test_trackers_of_many_layers_get_means_and_the_history_all(
    data: TaskData, source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tracker(TrainerCallback):
        def __init__(self) -> None:
            self.names: set[str] = set()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            self.names |= {name for name in logs if name.startswith("lora_")}

    def tracked() -> tuple[set[str], set[str]]:
        tracker = Tracker()
        fitted = trained(small_job("lora", data, source, epochs=1), [tracker])
        return tracker.names, {name for name in entries(fitted)[-1] if name.startswith("lora_")}

    few, history = tracked()
    assert few == history
    monkeypatch.setattr(monitor, "LAYERS_SHOWN", 2)
    many, same = tracked()
    assert same == history
    assert many == {name for name in history if name.split("/")[1] == "mean"}


def test_a_run_that_diverges_is_stopped_for_its_loss_and_not_by_the_monitor(
    data: TaskData, source: ModelSource
) -> None:
    with pytest.raises(Diverged, match="smaller lr"):
        fit(small_job("lora", data, source, lr=1e30, warmup=0.0, epochs=3, batch_size=16))


def test_its_entries_can_be_saved_with_a_checkpoint(
    data: TaskData, source: ModelSource, tmp_path: Path
) -> None:
    fitted = trained(small_job("flat-lora", data, source, epochs=1))
    fitted.trainer.state.save_to_json(str(tmp_path / "state.json"))
    assert json.loads((tmp_path / "state.json").read_text())["log_history"][-2] == fitted.history[-1]
