"""Fused layers of PEFT: the same outputs and gradients, and nothing that anybody could notice but the time."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

import lowland
from lowland import FlatLoRA, FusedLoRA, Mistake, fuse, unfuse
from lowland.lora.fuse import FusedPEFTLoRA
from tests.language_models import language_model, save

Make = Callable[..., Any]
TOKENS = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 6, 5]])


@pytest.fixture
def make() -> Make:
    """A tiny decoder with PEFT's adapters, whose B is not zero."""

    def build(family: str = "llama", adapters: int = 1, **options: Any) -> Any:
        torch.manual_seed(0)
        usual = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        config = LoraConfig(**{**usual, "fan_in_fan_out": family == "gpt2", **options})
        model = get_peft_model(language_model(family), config)
        for number in range(1, adapters):
            model.add_adapter(f"more{number}", config)
        for name, value in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(value, std=0.1)
        return model.train()

    return build


def step(model: Any, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits and the gradients of a step."""
    model.zero_grad()
    torch.manual_seed(1)
    answer = model(input_ids=TOKENS, labels=TOKENS, **options)
    answer.loss.backward()
    return answer.logits.detach(), {
        name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None
    }


def fused_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, FusedPEFTLoRA)]


Step = tuple[Tensor, dict[str, Tensor]]


def assert_close(ours: Step, theirs: Step, atol: float = 1e-6) -> None:
    assert torch.allclose(ours[0], theirs[0], rtol=1e-5, atol=atol)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        assert torch.allclose(ours[1][name], gradient, rtol=1e-5, atol=atol), name


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "opt"])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {r".*(q_proj|c_attn)": 2}}])
def test_outputs_and_gradients_are_pefts(make: Make, family: str, options: dict[str, Any]) -> None:
    model = make(family, **options)
    theirs = step(model)
    assert fuse(model).layers > 0
    assert_close(step(model), theirs)
    unfuse(model)
    again = step(model)
    assert torch.equal(again[0], theirs[0])
    assert not fused_layers(model)


def test_in_float64_they_agree_to_rounding(make: Make) -> None:
    model = make().double()
    theirs = step(model)
    fuse(model)
    assert_close(step(model), theirs, atol=1e-13)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
@pytest.mark.parametrize("checkpointing", [True, False], ids=["reentrant", "not reentrant"])
def test_gradient_checkpointing_works(make: Make, checkpointing: bool) -> None:
    model = make()
    theirs = step(model)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": checkpointing})
    fuse(model)
    assert_close(step(model), theirs)


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"use_dora": True}, lambda model: None),
        ({"lora_bias": True}, lambda model: None),
        ({"adapters": 2}, lambda model: model.base_model.set_adapter(["default", "more1"])),
    ],
    ids=["DoRA", "bias", "two adapters"],
)
def test_other_layers_are_computed_by_peft(
    make: Make, options: dict[str, Any], change: Callable[[Any], None]
) -> None:
    model = make(**options)
    change(model)
    theirs = step(model)
    fuse(model)
    ours = step(model)
    assert torch.equal(ours[0], theirs[0])
    assert all(torch.equal(ours[1][name], gradient) for name, gradient in theirs[1].items())


def test_disabled_and_merged_adapters_and_mixed_batches_are_pefts(make: Make) -> None:
    model = make(adapters=2).eval()
    names = {"adapter_names": ["default", "more1"]}
    with torch.no_grad(), model.disable_adapter():
        off = model(input_ids=TOKENS).logits
    with torch.no_grad():
        mixed, on = model(input_ids=TOKENS, **names).logits, model(input_ids=TOKENS).logits
    fuse(model)
    with torch.no_grad():
        with model.disable_adapter():
            assert torch.equal(model(input_ids=TOKENS).logits, off)
        assert torch.equal(model(input_ids=TOKENS, **names).logits, mixed)
        assert torch.allclose(model(input_ids=TOKENS).logits, on, atol=1e-5)
        model.merge_adapter()
        assert torch.allclose(model(input_ids=TOKENS).logits, on, atol=1e-5)
        model.unmerge_adapter()
        model.set_adapter("more1")
        assert not torch.allclose(model(input_ids=TOKENS).logits, on, atol=1e-3)


def test_a_layer_with_hooks_inside_is_computed_by_peft(make: Make) -> None:
    model, seen = make(), []
    layer = next(module for module in model.modules() if hasattr(module, "lora_A"))
    fuse(model)
    layer.lora_A["default"].register_forward_hook(lambda *_: seen.append(1))
    step(model)
    assert seen


def test_a_dropout_drops_its_share_in_training_alone(make: Make) -> None:
    model = make(lora_dropout=0.5)
    fuse(model)
    assert not torch.equal(step(model)[0], model.eval()(input_ids=TOKENS).logits)
    plain = model.eval()(input_ids=TOKENS).logits.detach()
    unfuse(model)
    assert torch.allclose(model(input_ids=TOKENS).logits, plain, atol=1e-5)
    layer = nn.Linear(64, 8, bias=False)
    small = get_peft_model(
        nn.Sequential(layer), LoraConfig(r=2, target_modules=["0"], lora_dropout=0.25)
    ).train()
    nn.init.normal_(small.base_model.model[0].lora_B["default"].weight)
    fuse(small)
    x = torch.randn(1, 64)
    with torch.no_grad():
        drawn = torch.stack([small(x) for _ in range(4000)])
        small.eval()
        expected = small(x)
    error = drawn.std(0) / 4000**0.5
    assert ((drawn.mean(0) - expected).abs() < 5 * error).all()
    assert (drawn.std(0) > 0).all()


def test_copies_pickles_names_and_files_do_not_know_of_it(make: Make, tmp_path: Path) -> None:
    model = make()
    shown, keys = repr(model), list(model.state_dict())
    model.save_pretrained(tmp_path / "before")
    fuse(model)
    assert (repr(model), list(model.state_dict())) == (shown, keys)
    model.save_pretrained(tmp_path / "after")
    before, after = (tmp_path / name / "adapter_model.safetensors" for name in ("before", "after"))
    assert before.read_bytes() == after.read_bytes()
    assert not fused_layers(copy.deepcopy(model))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    layer = fused_layers(model)[0]
    content = pickle.dumps(layer)
    assert b"lowland" not in content
    assert type(pickle.loads(content)).__module__ == "peft.tuners.lora.layer"
    merged = copy.deepcopy(model).merge_and_unload()
    assert torch.allclose(merged(input_ids=TOKENS).logits, model.eval()(input_ids=TOKENS).logits, atol=1e-5)


def test_as_a_context_manager(make: Make) -> None:
    model = make()
    with fuse(model) as fusion:
        assert len(fused_layers(model)) == fusion.layers == 14
        assert fuse(model).layers == 14  # once is enough
    assert not fused_layers(model)


def trained(model: Any, folder: Path, callbacks: list[Any]) -> tuple[list[float], dict[str, Tensor]]:
    drawn = torch.randint(5, 30, (32, 6), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "labels": row} for row in drawn]
    arguments = TrainingArguments(
        str(folder), max_steps=8, per_device_train_batch_size=4, logging_steps=1, report_to="none", save_strategy="no",
        learning_rate=0.01, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows, callbacks=callbacks)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, {name: value for name, value in model.named_parameters() if value.requires_grad}


def test_a_trainer_trains_as_without_it(make: Make, tmp_path: Path) -> None:
    losses, weights = trained(make(), tmp_path, [])
    model = make()
    ours, our_weights = trained(model, tmp_path, [FusedLoRA()])
    assert ours == pytest.approx(losses, rel=1e-4)
    assert all(torch.allclose(our_weights[name], value, atol=1e-4) for name, value in weights.items())
    assert not fused_layers(model)


@pytest.mark.parametrize("order", [1, -1])
def test_it_goes_with_noise_in_any_order(make: Make, tmp_path: Path, order: int) -> None:
    noisy, weights = trained(make(), tmp_path, [FlatLoRA(rho=0.3, seed=1)])
    model = make()
    ours, our_weights = trained(model, tmp_path, [FlatLoRA(rho=0.3, seed=1), FusedLoRA()][::order])
    assert ours == pytest.approx(
        noisy, rel=1e-5
    )  # a step without noise is fused in one order, and PEFT's in the other
    assert all(torch.allclose(our_weights[name], value, atol=1e-4) for name, value in weights.items())
    assert {type(module).__module__ for module in model.modules() if hasattr(module, "lora_A")} == {
        "peft.tuners.lora.layer"
    }
    assert not fused_layers(model)
    plain, _ = trained(make(), tmp_path, [])
    assert ours != plain


def test_noise_that_ends_first_leaves_a_fused_model(make: Make) -> None:
    model = make()
    with fuse(model):
        count = len(fused_layers(model))
        with lowland.flat.arm(model, rho=0.1, total_steps=2) as noise:
            noise.begin_step(1)
            step(model)
            noise.end_step()
        assert len(fused_layers(model)) == count
    assert not fused_layers(model)


def test_in_16_bits_it_is_as_close_to_float32_as_pefts(make: Make) -> None:
    exact = step(make())
    model = make().to(torch.bfloat16)
    theirs = step(model)
    fuse(model)
    ours = step(model)
    for name, gradient in exact[1].items():
        size = gradient.norm()
        ours_off, theirs_off = (
            (ours[1][name].float() - gradient).norm(),
            (theirs[1][name].float() - gradient).norm(),
        )
        assert ours_off <= 1.5 * theirs_off + 0.02 * size, name


def test_a_loaded_adapter_can_be_fused(make: Make, tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(save(language_model("llama"), tmp_path / "base"))
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    before = loaded(input_ids=TOKENS).logits
    fuse(loaded)
    assert torch.allclose(loaded(input_ids=TOKENS).logits, before, atol=1e-5)


def test_a_model_without_such_layers_is_refused() -> None:
    model = language_model("llama")
    with pytest.raises(Mistake, match="fuse takes a model of PEFT, and was given NoneType"):
        fuse(None)  # type: ignore[arg-type]
    with pytest.raises(Mistake, match="LlamaForCausalLM has no linear layer of PEFT's LoRA to fuse"):
        fuse(model)
    lowland.add_lora(model, lowland.LoRAConfig(r=2))
    with pytest.raises(Mistake, match="layers of lowland's add_lora compute like this already"):
        fuse(model)
