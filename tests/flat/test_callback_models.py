"""The callback with other Trainers, optimizers and checkpointing; the model after training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    TrainerCallback,
)

from lowland import FlatLoRA, LoRAConfig, LoRALinear, add_lora
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_plus_groups
from tests.flat.trainers import (
    CHECKPOINTING,
    STEADY,
    Rows,
    Watch,
    adapted_layers,
    equal,
    is_trained,
    options,
    run,
    state,
    trainer,
)


def test_after_training_a_peft_model_is_an_ordinary_one(bert: nn.Module, tmp_path: Path) -> None:
    base = copy.deepcopy(bert)
    config = LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["classifier"])
    model = get_peft_model(bert, config)
    kinds = [type(module) for module in model.modules()]
    trainer(model, tmp_path, FlatLoRA(rho=0.1)).train()
    assert [type(module) for module in model.modules()] == kinds
    ids = Rows().ids
    with torch.no_grad():
        expected = model.eval()(ids).logits
        model.save_pretrained(tmp_path / "adapter")
        loaded = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
        assert torch.equal(loaded(ids).logits, expected)
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-6, rtol=1e-5)


def test_after_training_our_layers_are_ordinary_ones(bert: nn.Module, tmp_path: Path) -> None:
    model = add_lora(bert, LoRAConfig(r=4))
    trainer(model, tmp_path, FlatLoRA(rho=0.1)).train()
    assert {type(layer) for layer in adapted_layers(model)} == {LoRALinear}


def test_the_best_model_is_loaded_at_the_end(adapt: Any, tmp_path: Path) -> None:
    model = adapt()
    changes = {name: "steps" for name in ("eval_strategy", "save_strategy")}
    numbers = {"eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True}
    fresh_trainer = trainer(model, tmp_path, FlatLoRA(**STEADY), **changes, **numbers)
    fresh_trainer.train()
    best = fresh_trainer.state.best_metric
    assert fresh_trainer.evaluate()["eval_loss"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(adapt: Any, tmp_path: Path, reentrant: bool) -> None:
    model = adapt(dropout=0.1)
    model.enable_input_require_grads()
    plain = run(model, tmp_path, FlatLoRA(**STEADY))
    kind = {CHECKPOINTING: True, f"{CHECKPOINTING}_kwargs": {"use_reentrant": reentrant}}
    assert equal(plain, run(model, tmp_path, FlatLoRA(**STEADY), **kind))


@pytest.mark.parametrize("changes", [{"bf16": True}, *({"optim": name} for name in ("sgd", "adafactor"))])
def test_other_optimizers_and_bf16(adapt: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    model = adapt()
    plain = run(model, tmp_path, **changes)
    assert equal(plain, run(model, tmp_path, FlatLoRA(rho=0.0), **changes))
    flat = run(model, tmp_path, FlatLoRA(**STEADY), **changes)
    assert not equal(plain, flat)
    assert all(tensor.isfinite().all() for tensor in flat.values())
    assert all(torch.equal(plain[name], flat[name]) for name in plain if not is_trained(name))


def test_lora_plus(adapt: Any, tmp_path: Path) -> None:
    def once(*callbacks: TrainerCallback) -> dict[str, Tensor]:
        model = copy.deepcopy(start)
        optimizer = torch.optim.AdamW(lora_plus_groups(model, lr=0.01))
        trainer(model, tmp_path, *callbacks, optimizers=(optimizer, None)).train()
        return state(model)

    start = adapt()
    plain = once()
    assert equal(plain, once(FlatLoRA(rho=0.0)))
    assert not equal(plain, once(FlatLoRA(rho=0.1)))


@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_seq2seq_with_generation(tmp_path: Path, kind: str) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    torch.manual_seed(0)
    model: Any = T5ForConditionalGeneration(T5Config(vocab_size=64, decoder_start_token_id=0, **sizes))
    if kind == "ours":
        model = add_lora(model, LoRAConfig(r=4, targets=("q", "v")))
    else:
        model = get_peft_model(model, LoraConfig(r=4, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"))
    watch, before = Watch(model), state(model)
    arguments = options(tmp_path, predict_with_generate=True, generation_max_length=5, eval_strategy="epoch")
    rows = Rows(answers=True)
    fresh_trainer = Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(**arguments),
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda answers: {},  # without it nothing is generated
        callbacks=[FlatLoRA(**STEADY), watch],
    )
    fresh_trainer.train()
    assert len(watch.draws()) == 6
    assert None not in watch.draws()
    assert len(watch.other()) == 2 * 3 * (4 + 1)  # two evaluations of 3 batches: 4 tokens, and the loss
    assert set(watch.other()) == {None}
    after = state(model)
    assert all(torch.equal(before[name], after[name]) for name in before if not is_trained(name))


def test_a_second_training_within_the_first_is_an_error(adapt: Any, tmp_path: Path) -> None:
    class Another(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            if state.global_step == 1:
                trainer(model, tmp_path, FlatLoRA(rho=0.1), max_steps=1).train()

    with pytest.raises(Mistake, match="train one at a time"):
        trainer(adapt(), tmp_path, FlatLoRA(**STEADY), Another()).train()
