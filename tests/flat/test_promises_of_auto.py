"""What docs/flat-lora.md promises of rho="auto": a test a sentence, which its docstring quotes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from lowland import FlatLoRA, flat
from lowland.flat import auto
from lowland.ground.mistakes import Mistake
from tests.flat.trainers import Rows, Stream, equal, run, state, trainer


def losses_of(monkeypatch: pytest.MonkeyPatch, curve: dict[float, float]) -> list[float]:
    """Let the expected loss be this function of sigma, and return the list of sigmas that are tried."""
    tried: list[float] = []

    def measured(model: object, batches: object, sigmas: list[float], **options: object) -> list[float]:
        tried.extend(sigmas)
        return [curve.get(sigma, 1.0) for sigma in sigmas]

    monkeypatch.setattr(auto, "expected_losses", measured)
    return tried


def chosen(model: nn.Module, folder: Path, **options: Any) -> FlatLoRA:
    callback = FlatLoRA(rho="auto", **options)
    run(model, folder, callback, max_steps=1)
    return callback


def test_auto_measures_at_seven_strengths(
    adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`FlatLoRA(rho="auto", share=0.1)` measures the expected loss before the first step at 0.005, 0.01, 0.02, 0.05,
    0.1, 0.2 and 0.5."""
    model = adapt()
    tried = losses_of(monkeypatch, {})
    assert chosen(model, tmp_path).share == 0.1
    assert tried == [0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]


def test_auto_keeps_the_last_before_the_rise(
    adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the last one before the loss rises by more than `share` (0.5 if none does)."""
    model = adapt()
    losses_of(monkeypatch, {0.02: 1.09, 0.05: 1.11, 0.1: 1.0})
    assert chosen(model, tmp_path).measured.rho == 0.02
    losses_of(monkeypatch, {})
    assert chosen(model, tmp_path).measured.rho == 0.5


def test_share_is_the_allowed_rise(adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """| `share` | 0.1 | allowed rise of the loss for `rho="auto"` |"""
    model = adapt()
    losses_of(monkeypatch, {0.01: 1.05, 0.1: 1.25, 0.2: 1.35})
    assert [chosen(model, tmp_path, share=share).measured.rho for share in (0.04, 0.2, 0.3)] == [
        0.005,
        0.05,
        0.1,
    ]


def test_auto_refuses_if_the_smallest_is_too_strong(
    adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the smallest is already too strong, it raises an error."""
    model = adapt()
    losses_of(monkeypatch, {0.005: 1.2})
    with pytest.raises(Mistake, match=r"even the smallest noise, 0\.005, changes the loss from 1 to 1\.2"):
        chosen(model, tmp_path)


class Passes(TrainerCallback):
    """Records each pass of a model before the first step: whether it trains, its texts, and the adapters' state."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.begun = model, False
        self.seen: list[tuple[bool, Tensor]] = []
        self.start = state(model)
        model.register_forward_pre_hook(self._record, with_kwargs=True)

    def _record(self, model: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if not self.begun:
            assert equal(state(model), self.start)
            modes = {part.training for part in model.modules()}
            self.seen.append((modes == {True}, named["input_ids"].clone()))
            assert len(modes) == 1

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.begun = True


def measured_passes(adapt: Any, folder: Path) -> Passes:
    model = adapt(dropout=0.3).train()
    passes = Passes(model)
    changes = {"per_device_train_batch_size": 2, "max_steps": 1}
    trainer(model, folder, FlatLoRA("auto", share=0.5), passes, **changes).train()
    return passes


def test_auto_measures_in_evaluation_mode_over_two_draws_on_8_training_batches(
    adapt: Any, tmp_path: Path
) -> None:
    """The loss is measured in evaluation mode, without dropout, over two draws on up to 8 random batches *of the
    training data*."""
    seen = measured_passes(adapt, tmp_path).seen
    assert not any(trains for trains, _ in seen)
    batches = {batch.numpy().tobytes() for _, batch in seen}
    assert len(batches) == 8  # of 12
    strengths, rest = divmod(len(seen) - 8, 2 * 8)  # 8 passes without noise
    assert (rest, strengths in range(1, 8)) == (0, True)
    known = {row.numpy().tobytes() for row in Rows().ids}
    assert {text.numpy().tobytes() for _, batch in seen for text in batch} <= known
    first = torch.cat([batch for _, batch in seen[:8]])
    assert not torch.equal(first, Rows().ids[:16])  # they are random


def test_auto_measures_before_the_first_step(adapt: Any, tmp_path: Path) -> None:
    """| `rho="auto"` | | measure rho before the first step, see below |"""
    assert measured_passes(adapt, tmp_path).seen


def test_auto_measures_what_has_not_been_trained_on(adapt: Any, tmp_path: Path) -> None:
    """The model has not been trained on them yet."""
    assert measured_passes(adapt, tmp_path).seen  # `Passes` compares the state


def test_auto_finds_the_strength_of_the_end(
    adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """**The measurement is made at the start, but rho is the strength at the end.**"""
    losses_of(monkeypatch, {0.1: 2.0})
    sigmas: list[float] = []

    class Look(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sigmas.append(callback.noise.sigma(state.global_step))
            sigmas.append(callback.noise.sigma(state.max_steps))

    callback = FlatLoRA("auto")
    run(adapt(), tmp_path, callback, Look(), max_steps=1)
    assert sigmas == pytest.approx([0.0, 0.05])


def test_auto_reads_no_evaluation_data(adapt: Any, tmp_path: Path) -> None:
    """A Trainer gives callbacks no evaluation data when training begins, and those of an earlier evaluation may have
    been the test set."""

    class Unread(Rows):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            raise AssertionError("read")

    fresh = trainer(adapt(), tmp_path, FlatLoRA("auto", share=0.5), max_steps=1)
    fresh.evaluate()  # an earlier evaluation
    fresh.eval_dataset = Unread()
    fresh.train()


def test_auto_refuses_streams(adapt: Any, tmp_path: Path) -> None:
    """Streams are refused, because they cannot be read twice."""
    with pytest.raises(Mistake, match="these data are a stream"):
        run(adapt(), tmp_path, FlatLoRA("auto"), train_dataset=Stream(), max_steps=1)


def test_auto_is_the_run_with_that_rho(adapt: Any, tmp_path: Path) -> None:
    """Nothing else changes: the run is, bit for bit, the run with that rho given."""
    model, callback = adapt(dropout=0.1), FlatLoRA("auto", share=0.5)
    measured = run(model, tmp_path, callback)
    rho = callback.measured.rho
    assert equal(measured, run(model, tmp_path, FlatLoRA(rho)))
    assert not equal(measured, run(model, tmp_path, FlatLoRA(rho / 2)))


def test_where_auto_s_result_is(adapt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The result is in the callback's `measured`, in an INFO line of the logger `lowland.flat.auto`, and as `flat_rho`
    in the Trainer's log history."""
    callback = FlatLoRA("auto", share=0.5)
    fresh = trainer(adapt(), tmp_path, callback, max_steps=1)
    with caplog.at_level(logging.INFO, "lowland.flat.auto"):
        fresh.train()
    rho = callback.measured.rho
    (record,) = [record for record in caplog.records if record.name == "lowland.flat.auto"]
    assert record.levelname == "INFO"
    assert f"rho is {rho:g}" in record.getMessage()
    assert [entry["flat_rho"] for entry in fresh.state.log_history if "flat_rho" in entry] == [rho]


def test_a_resumed_run_reads_auto_s_rho(adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run reads it from there."""
    saving = {"save_strategy": "steps", "save_steps": 1}
    model = adapt()
    run(model, tmp_path, FlatLoRA("auto", share=0.5), max_steps=2, **saving)
    path = tmp_path / "checkpoint-1" / "trainer_state.json"
    saved_state = json.loads(path.read_text())
    for entry in saved_state["log_history"]:
        if "flat_rho" in entry:
            entry["flat_rho"] = 0.0123
    path.write_text(json.dumps(saved_state))
    monkeypatch.setattr(auto, "auto_rho", None)  # nothing is measured a second time
    resumed = FlatLoRA("auto", share=0.5)
    trainer(model, tmp_path, resumed, max_steps=2, **saving).train(resume_from_checkpoint=str(path.parent))
    assert resumed.measured.rho == 0.0123


def test_auto_on_batches_of_ones_own(adapt: Any) -> None:
    """With your own batches, for instance held-out ones:"""
    model, batch = adapt(), {"input_ids": Rows().ids, "labels": Rows().labels}
    result = flat.auto_rho(model, [batch], share=0.5)
    with torch.no_grad():
        assert result.base == pytest.approx(model.eval()(**batch).loss.item(), rel=1e-5)
    assert result.rho in result.ladder
    with flat.arm(model, rho=result.rho, total_steps=1000) as noise:
        assert noise.sigma(1000) == result.rho
