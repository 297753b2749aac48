"""Comparisons are paired: the same seed gives every method the same head, batches and masks."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import TrainerCallback

from lowland.models.find import find_model
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_fields
from tests.train.runs import NETWORKS, Run, run

TWO_PASSES = ("sam-lora", "sam-full")
"""Methods that see each batch twice, with the same masks."""


class Watch(TrainerCallback):
    """Records the batches, the dropout draws and the head's first values."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def on_train_begin(
        self, args: object, state: object, control: object, model: torch.nn.Module, **rest
    ) -> None:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        head = {name: weight for name, weight in base.named_parameters() if name.startswith("classifier")}
        (self.head,) = [
            weight.detach().clone() for weight in head.values() if weight.ndim == 2 and weight.requires_grad
        ]
        self.masks: list[torch.Tensor] = []
        model.register_forward_pre_hook(self._record_batch, with_kwargs=True)
        base.bert.embeddings.dropout.register_forward_hook(
            lambda layer, inputs, output: self.masks.append(output == 0) if layer.training else None
        )

    def _record_batch(self, model: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        if model.training:
            self.batches.append(kwargs["input_ids"].flatten().tolist())


def watched(data: TaskData, source: ModelSource, method: str, **changes: object) -> tuple[Watch, Run]:
    watch = Watch()
    return watch, run(method, data, source, callbacks=[watch], **changes)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_all_methods_see_the_same_head_batches_and_masks(
    data: TaskData, source: ModelSource, dtype: str
) -> None:
    seen = {name: watched(data, source, name, dtype=dtype)[0] for name in NETWORKS}
    first = seen["full"]
    assert len(first.batches) > 4
    for name, other in seen.items():
        assert torch.equal(first.head, other.head)
        passes = 2 if name in TWO_PASSES else 1
        for number in range(passes):
            assert first.batches == other.batches[number::passes], name
            masks = other.masks[number::passes]
            assert all(torch.equal(a, b) for a, b in zip(first.masks, masks, strict=True)), name
    elsewhere, _ = watched(data, source, "lora", seed=43, dtype=dtype)
    assert not torch.equal(first.head, elsewhere.head)
    assert first.batches != elsewhere.batches
    masks = zip(first.masks, elsewhere.masks, strict=False)
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in masks)


def test_epochs_have_different_orders_and_each_text_once(data: TaskData, source: ModelSource) -> None:
    watch, _ = watched(data, source, "lora", batch_size=8)
    half = len(watch.batches) // 2
    assert watch.batches[:half] != watch.batches[half:]
    tokens = [
        sorted(t for batch in part for t in batch if t)
        for part in (watch.batches[:half], watch.batches[half:])
    ]
    assert tokens[0] == tokens[1]


def same(a: Run, b: Run) -> bool:
    timed = ("runtime", "per_second", "efficiency/seconds", "peak_bytes", "noise/")
    histories = [
        [{k: v for k, v in entry.items() if not any(t in k for t in timed)} for entry in each.history]
        for each in (a, b)
    ]
    return histories[0] == histories[1] and a.predictions.equals(b.predictions) and a.scores == b.scores


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_rho_zero_trains_as_lora_to_the_bit_and_a_run_repeats_itself(
    data: TaskData, source: ModelSource, dtype: str
) -> None:
    lora = run("lora", data, source, dtype=dtype, dropout=0.1)
    assert same(lora, run("lora", data, source, dtype=dtype, dropout=0.1))
    assert same(lora, run("flat-lora", data, source, dtype=dtype, dropout=0.1, rho=0.0))
    assert not same(lora, run("flat-lora", data, source, dtype=dtype, dropout=0.1, rho=0.3))
    assert not same(lora, run("lora", data, source, dtype=dtype, dropout=0.1, seed=1))


def test_the_global_generators_are_left_as_they_were(data: TaskData, source: ModelSource) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    run("flat-lora", data, source)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()


def test_accumulation_sees_the_same_texts_in_each_optimizer_step(data: TaskData, source: ModelSource) -> None:
    whole, _ = watched(data, source, "lora", batch_size=16)
    parts, _ = watched(data, source, "lora", batch_size=4, accumulation=4)
    steps = len(whole.batches) // 2
    assert steps > 5
    for step in range(steps - 1):  # one has a smaller last group, the other pads it by itself
        four = [token for batch in parts.batches[4 * step : 4 * step + 4] for token in batch]
        assert sorted(filter(None, whole.batches[step])) == sorted(filter(None, four))


@pytest.mark.parametrize("kind", ["bert", "vit", "clip"])
def test_accumulation_changes_no_loss(
    data: TaskData, source: ModelSource, shapes: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """BERT and CLIP do not divide by the number of targets in all batches of a step, as the Trainer expects."""
    changes: dict[str, object] = {"epochs": 1 if kind == "bert" else 4}
    if kind != "bert":
        task = {"name": "image-classification", "data": str(shapes)}
        data, source = load_data(task_fields(**task)), find_model(str(request.getfixturevalue(kind)))
        changes["task"] = task
    whole = run("lora", data, source, batch_size=16, **changes)
    parts = run("lora", data, source, batch_size=4, accumulation=4, **changes)
    assert parts.losses[0] == pytest.approx(whole.losses[0], rel=0.02)  # with other dropout masks
    if kind != "bert":
        columns = ["p_disc", "p_stripes"]
        np.testing.assert_allclose(parts.predictions[columns], whole.predictions[columns], atol=1e-5)


def test_the_batches_stay_the_same_where_the_adapters_draw_dropout_of_their_own(
    data: TaskData, source: ModelSource
) -> None:
    full, lora = (watched(data, source, name, dropout=0.1)[0] for name in ("full", "lora"))
    assert full.batches == lora.batches
