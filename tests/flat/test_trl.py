"""The callback in TRL's SFTTrainer and DPOTrainer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from lowland import FlatLoRA
from lowland.flat.layers import PERTURBED_CLASSES, class_name
from lowland.flat.perturbed import Perturbed
from tests.flat.trainers import options as trainer_options

trl = pytest.importorskip("trl")

STEADY: dict[str, Any] = {"rho": 0.2, "schedule": "constant"}
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"),
]


class Watch(TrainerCallback):
    """Records of each pass through an adapted layer: (training?, gradients?, adapter on?, noisy output?)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool, bool, bool]] = []
        self.random: list[bytes] = []

    def on_train_begin(self, *args: object, model: nn.Module, **kwargs: object) -> None:
        self.hook = adapted_layers(model)[0].register_forward_hook(self._record_pass)

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.random.append(torch.get_rng_state().numpy().tobytes())

    def _record_pass(self, layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        with torch.random.fork_rng(), torch.no_grad():
            clean = getattr(layer, "plain", type(layer)).forward(layer, *inputs)
        on = not layer.disable_adapters and "default" in layer.active_adapters
        self.seen.append((layer.training, torch.is_grad_enabled(), on, not torch.equal(output, clean)))


def adapted_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if class_name(type(module)) in PERTURBED_CLASSES]


def word_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    raw = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **special)


def small_llama() -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=16, initializer_range=0.3, pad_token_id=0, eos_token_id=1, bos_token_id=1, **sizes
        )
        return LlamaForCausalLM(config)


def small_lora() -> LoraConfig:
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")


tokenizer, llama, lora = (
    pytest.fixture(name=name)(build)
    for name, build in (("tokenizer", word_tokenizer), ("llama", small_llama), ("lora", small_lora))
)


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    own = {"per_device_train_batch_size": 4, "bf16": False, "activation_checkpointing": False}
    return trainer_options(folder, **(own | changes))


def texts() -> Dataset:
    return Dataset.from_list([{"text": " ".join(WORDS[i % 5 : i % 5 + 5])} for i in range(12)])


def preferences() -> Dataset:
    rows = [(WORDS[i % 8], f" {WORDS[i % 8 + 1]}", f" {WORDS[i % 3]}") for i in range(12)]
    return Dataset.from_list([dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows])


def sft(model: Any, lora: Any, tokenizer: Any, folder: Path, *callbacks: Any, **changes: Any) -> Any:
    return trl.SFTTrainer(
        model=copy.deepcopy(model),
        args=trl.SFTConfig(**options(folder, **changes)),
        train_dataset=texts(),
        eval_dataset=texts(),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=list(callbacks),
    )


def dpo(
    model: Any,
    lora: Any,
    tokenizer: Any,
    folder: Path,
    *callbacks: Any,
    ref_model: Any = None,
    **changes: Any,
) -> Any:
    return trl.DPOTrainer(
        model=copy.deepcopy(model),
        ref_model=ref_model,
        args=trl.DPOConfig(**options(folder, **changes)),
        train_dataset=preferences(),
        eval_dataset=preferences(),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=list(callbacks),
    )


def grpo(model: Any, lora: Any, tokenizer: Any, folder: Path, *callbacks: Any, **changes: Any) -> Any:
    own = {"num_generations": 2, "max_completion_length": 3, "beta": 0.1}
    return trl.GRPOTrainer(
        model=copy.deepcopy(model),
        reward_funcs=lambda completions, **kwargs: [float(len(text)) for text in completions],
        args=trl.GRPOConfig(**options(folder, **own, **changes)),
        train_dataset=preferences().select_columns(["prompt"]),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=list(callbacks),
    )


def trained(trainer: Any) -> dict[str, Tensor]:
    trainer.train()
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("build", [sft, dpo])
def test_rho_zero_is_the_trainer_without_and_rho_above_keeps_the_base_and_the_masks(
    build: Any, llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    lora.lora_dropout = 0.1
    dropout = {"disable_dropout": False} if build is dpo else {}

    def once(*callbacks: Any) -> dict[str, Tensor]:
        return trained(build(llama, lora, tokenizer, tmp_path, *callbacks, **dropout))

    masks, masks_flat = Watch(), Watch()
    plain, flat = once(masks), once(FlatLoRA(**STEADY), masks_flat)
    assert equal(plain, once(FlatLoRA(rho=0.0)))
    assert not equal(plain, flat)
    assert masks.random == masks_flat.random
    assert len(set(masks.random)) > 1  # there is dropout
    assert all(torch.equal(plain[name], flat[name]) for name in plain if "lora_" not in name)


def test_sft_has_noise_in_training_and_not_in_evaluation(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    watch = Watch()
    trainer = sft(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), watch, eval_strategy="epoch")
    trainer.train()
    assert watch.seen.count((True, True, True, True)) == 6
    assert set(watch.seen) == {(True, True, True, True), (False, False, True, False)}
    assert not any(isinstance(module, Perturbed) for module in trainer.model.modules())


def test_sft_no_grad_passes_for_the_metrics_have_none(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    watch = Watch()
    trainer = sft(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), watch)
    trainer.compute_loss_func = loss  # TRL then runs the model again, without gradients
    trainer.train()
    assert watch.seen == [(True, True, True, True), (True, False, True, False)] * 6


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("build", [sft, dpo])
def test_checkpointing_changes_nothing(
    build: Any, reentrant: bool, llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    plain = trained(build(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY)))
    kind = {"use_reentrant": reentrant}
    changes = {"activation_checkpointing": True, "activation_checkpointing_kwargs": kind}
    checkpointed = trained(build(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), **changes))
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-6) for name in plain)


def policy_and_reference(watch: Watch) -> list[tuple[bool, bool, bool, bool]]:
    return [entry for entry in watch.seen if entry[0]]


def test_dpo_with_the_adapter_off_for_the_reference(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    watch = Watch()
    dpo(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), watch, eval_strategy="epoch").train()
    assert policy_and_reference(watch) == [(True, True, True, True), (True, False, False, False)] * 6
    assert not any(noisy for trains, _, _, noisy in watch.seen if not trains)


def test_dpo_that_goes_on_with_an_adapter_has_a_reference_adapter(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    get_peft_model(copy.deepcopy(llama), lora).save_pretrained(tmp_path / "adapter")
    model = PeftModel.from_pretrained(llama, tmp_path / "adapter", is_trainable=True)
    watch = Watch()
    trainer = dpo(model, None, tokenizer, tmp_path, FlatLoRA(**STEADY), watch)
    assert "ref" in trainer.model.peft_config
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    after = trained(trainer)
    assert policy_and_reference(watch) == [(True, True, True, True), (True, False, False, False)] * 6
    assert all(torch.equal(before[name], after[name]) for name in before if ".default." not in name)


@pytest.mark.parametrize("way", ["explicit", "precomputed"])
def test_dpo_with_a_reference_model_or_precomputed_answers(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path, way: str
) -> None:
    watch, passes = Watch(), []
    changes: dict[str, Any] = {"precompute_ref_log_probs": True}
    if way == "explicit":
        reference = copy.deepcopy(llama)
        reference.register_forward_hook(lambda *_: passes.append(True))
        changes = {"ref_model": reference}
    trainer = dpo(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), watch, **changes)
    trainer.train()
    assert policy_and_reference(watch) == [(True, True, True, True)] * 6
    assert len(passes) == (6 if way == "explicit" else 0)
    if way == "explicit":
        assert equal(llama.state_dict(), reference.state_dict())


def test_dpo_references_by_adapter_by_model_and_precomputed_agree(
    llama: Any, lora: Any, tokenizer: Any, tmp_path: Path
) -> None:
    ways: list[dict[str, Any]] = [{}, {"ref_model": llama}, {"precompute_ref_log_probs": True}]
    runs = [
        trained(dpo(llama, lora, tokenizer, tmp_path, FlatLoRA(**STEADY), beta=5.0, **copy.deepcopy(way)))
        for way in ways
    ]
    for other in runs[1:]:
        torch.testing.assert_close(runs[0], other, atol=1e-5, rtol=1e-4)
