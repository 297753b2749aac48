"""The callback in a Trainer: when there is noise, which noise, and which parts stay unchanged."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    TrainerCallback,
)

from lowland import FlatLoRA
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from tests.flat.trainers import (
    STEADY,
    Rows,
    Stream,
    Watch,
    adapted_layers,
    equal,
    is_trained,
    run,
    state,
    trainer,
)


def test_rho_zero_is_lora_to_the_bit_and_rho_above_is_not(adapt: Any, tmp_path: Path) -> None:
    model = adapt(dropout=0.1)
    plain = run(model, tmp_path)
    assert equal(plain, run(model, tmp_path, FlatLoRA(rho=0.0)))
    some = run(model, tmp_path, FlatLoRA(rho=0.1))
    assert equal(some, run(model, tmp_path, FlatLoRA(rho=0.1)))
    assert not equal(plain, some)
    assert not equal(some, run(model, tmp_path, FlatLoRA(rho=0.1, seed=7)))


def test_the_batches_and_the_masks_are_those_of_lora(adapt: Any, tmp_path: Path) -> None:
    model = adapt()  # BERT's own dropout is on
    plain, flat = Watch(model), Watch(model)
    run(model, tmp_path, plain)
    run(model, tmp_path, flat, FlatLoRA(**STEADY))
    assert plain.batches == flat.batches
    assert plain.random == flat.random
    assert None not in flat.draws()
    assert set(plain.draws()) == {None}


def test_the_base_weights_keep_every_bit(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    before, after = state(model), run(model, tmp_path, FlatLoRA(rho=0.5))
    assert all(torch.equal(before[name], after[name]) for name in before if not is_trained(name))
    moved = [name for name in before if is_trained(name) and not torch.equal(before[name], after[name])]
    assert len(moved) > 10


class ReferencePass(TrainerCallback):
    """Callback that runs the model in mid-step in training mode without gradients, like a reference pass."""

    def on_pre_optimizer_step(self, *args: object, model: nn.Module, **kwargs: object) -> None:
        assert model.training
        assert adapted_layers(model)[0].drawn_noise is not None
        with torch.no_grad():
            model(Rows().ids)


def test_noise_is_in_training_and_not_in_evaluation_prediction_or_saving(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    watch = Watch(model)
    changes = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    fresh_trainer = trainer(
        model, tmp_path, FlatLoRA(**STEADY), watch, ReferencePass(), eval_on_start=True, **changes
    )
    fresh_trainer.train()
    assert len(watch.draws()) == 6
    assert None not in watch.draws()
    fresh_trainer.predict(Rows())
    assert len(watch.other()) == 7 * 3 + 6 + 3  # evaluations, reference passes, and the prediction
    assert set(watch.other()) == {None}


def test_between_steps_there_is_no_noise_even_in_training_mode(adapt: Any, tmp_path: Path) -> None:
    left = []

    class Between(TrainerCallback):
        def on_step_end(self, *args: object, model: nn.Module, **kwargs: object) -> None:
            assert model.training
            left.extend(layer.drawn_noise for layer in adapted_layers(model))

    model = adapt()
    run(model, tmp_path, FlatLoRA(**STEADY), Between())
    assert len(left) == 6 * len(adapted_layers(model))
    assert set(left) == {None}


def test_one_draw_a_step_over_accumulation_and_trailing_groups(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    watch = Watch(model)
    run(
        model,
        tmp_path,
        FlatLoRA(**STEADY),
        watch,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
    )
    draws = watch.draws()  # 6 batches of 4 an epoch: groups of 4 and (trailing) 2, two epochs
    groups = [draws[a:b] for a, b in ((0, 4), (4, 6), (6, 10), (10, 12))]
    assert len(draws) == 12
    assert [len(set(group)) for group in groups] == [1] * 4
    assert len(set(draws)) == 4
    assert None not in draws


def test_accumulation_of_1_x_8_and_8_x_1_see_the_same_noise(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    whole, parts = Watch(model), Watch(model)
    run(model, tmp_path, FlatLoRA(**STEADY), whole)
    single = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    run(model, tmp_path, FlatLoRA(**STEADY), parts, **single)
    assert len(whole.draws()) == 6
    assert [e for e in whole.draws() for _ in range(8)] == parts.draws()
    assert len(set(parts.draws())) == 6


def test_micro_batches_have_their_own_draws_on_request(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    watch = Watch(model)
    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    run(model, tmp_path, FlatLoRA(redraw="micro-batch", **STEADY), watch, **changes)
    assert len(set(watch.draws())) == 12
    assert None not in watch.draws()


def test_every_second_step_has_noise_on_request(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    watch = Watch(model)
    run(model, tmp_path, FlatLoRA(every=2, **STEADY), watch)
    assert [e is None for e in watch.draws()] == [False, True] * 3


@pytest.mark.parametrize("saved", [2, 3, 4])  # in mid-epoch, at the end of the epoch, in the next epoch
def test_a_resumed_run_has_the_same_bits(adapt: Any, tmp_path: Path, saved: int) -> None:
    model = adapt(dropout=0.1)
    changes = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
    whole = run(model, tmp_path, FlatLoRA(rho=0.1), **changes)
    rest = copy.deepcopy(model)
    fresh_trainer = trainer(rest, tmp_path, FlatLoRA(rho=0.1), **changes)
    fresh_trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{saved}"))
    assert equal(whole, state(rest))


@pytest.mark.parametrize("same", [True, False], ids=["same callback", "a new one"])
def test_after_a_crash_in_mid_step_the_model_can_train_again(adapt: Any, tmp_path: Path, same: bool) -> None:
    class Crash(TrainerCallback):
        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                raise KeyboardInterrupt("power cut")

    model = adapt()
    before = state(model)
    callback = FlatLoRA(**STEADY)
    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    with pytest.raises(KeyboardInterrupt, match="power cut"):
        trainer(model, tmp_path, callback, Crash(), **changes).train()
    after = state(model)
    assert all(torch.equal(before[name], after[name]) for name in before if not is_trained(name))
    trainer(model, tmp_path, callback if same else FlatLoRA(**STEADY), **changes).train()
    assert not any(isinstance(module, Perturbed) for module in model.modules())


def test_a_schedule_in_tokens(adapt: Any, tmp_path: Path) -> None:
    seen: list[float] = []

    def half(progress: float) -> float:
        seen.append(progress)
        return 1.0

    model, callback = adapt(), FlatLoRA(schedule=half, total_tokens=2 * 24 * 7)
    counted = {"include_num_input_tokens_seen": True, "max_steps": 6}
    run(model, tmp_path, callback, train_dataset=Stream(), **counted)
    assert seen == pytest.approx([step / 6 for step in range(6)])
    with pytest.raises(Mistake, match="set include_num_input_tokens_seen=True"):
        run(model, tmp_path, FlatLoRA(total_tokens=100))
    model.main_input_name = model.base_model.main_input_name = "pixel_values"
    with pytest.raises(Mistake, match="has counted no tokens"):
        run(model, tmp_path, FlatLoRA(total_tokens=100), **counted)
    with pytest.raises(Mistake, match="total_tokens is 0"):
        FlatLoRA(total_tokens=0)
    with pytest.raises(Mistake, match="total_tokens is '5'"):
        FlatLoRA(total_tokens="5")


def test_a_data_set_without_a_length_needs_max_steps(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    with pytest.raises(ValueError, match="max_steps has to be specified"):  # the Trainer's own
        run(model, tmp_path, FlatLoRA(), train_dataset=Stream())
    watch = Watch(model)
    run(model, tmp_path, FlatLoRA(**STEADY), watch, train_dataset=Stream(), max_steps=5)
    assert len(set(watch.draws()) - {None}) == 5


def test_a_model_that_cannot_be_trained_is_refused(adapt: Any, bert: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no LoRA layers to perturb"):
        run(bert, tmp_path, FlatLoRA())
    with pytest.raises(Mistake, match="rho is -1"):
        FlatLoRA(rho=-1)
    with pytest.raises(Mistake, match="take one FlatLoRA callback"):
        run(adapt(), tmp_path, FlatLoRA(), FlatLoRA())
