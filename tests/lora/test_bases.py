"""Quantised layers against layers with the dequantised weight; the base is never overwritten."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lowland import LoRAConfig, LoRALinear, add_lora, load_adapter, merge_lora, remove_lora, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora import count_parameters, lora_layers
from lowland.lora.bases import disable_repacking, is_quantised, shape_of, weight_of
from lowland.lora.targets import find_head
from tests.lora.conftest import answers, assert_untouched, fill_adapters, state_of

KINDS = ("nf4", "fp4", "nf4 twice", "8bit", "torchao int8", "torchao int4")
OUT, IN = 64, 128  # bitsandbytes would repack weights of these sizes


def quantised(linear: nn.Linear, kind: str) -> nn.Linear:
    """Return a quantised copy of a linear layer."""
    sizes = (linear.in_features, linear.out_features, linear.bias is not None)
    if kind.startswith("torchao"):
        pytest.importorskip("torchao")
        from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
        from torchao.quantization.granularity import PerGroup

        four = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(16))
        box = nn.Sequential(copy.deepcopy(linear))
        quantize_(box, four if kind.endswith("int4") else Int8WeightOnlyConfig(version=2))
        return box[0]
    bnb = pytest.importorskip("bitsandbytes")
    if kind == "8bit":
        layer = bnb.nn.Linear8bitLt(*sizes, has_fp16_weights=False)
    else:
        options = {"compute_dtype": torch.float32, "compress_statistics": kind == "nf4 twice"}
        layer = bnb.nn.Linear4bit(*sizes, quant_type=kind[:3], **options)
    layer.load_state_dict(linear.state_dict())
    return layer.to("cpu").train(linear.training)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plain() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(IN, OUT)


def bytes_of(base: nn.Module) -> dict[str, torch.Tensor]:
    """Return every tensor that a quantised weight consists of, wherever the layer stores it."""
    weight: Any = base.weight
    if hasattr(weight, "__tensor_flatten__"):  # torchao's
        return {name: getattr(weight, name).clone() for name in weight.__tensor_flatten__()[0]}
    parts = {"data": weight.data.clone()}
    if (state := getattr(weight, "quant_state", None)) is not None:
        parts["absmax"] = state.absmax.clone()
    if type(weight).__name__ == "Int8Params":
        parts["scales"] = (weight.SCB if weight.SCB is not None else base.state.SCB).clone()
    return parts


def adapted(base: nn.Module) -> LoRALinear:
    layer = LoRALinear(base, r=4, alpha=6, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(2))
    return layer


def test_a_quantised_weight_is_recognised_and_dequantised(plain: nn.Linear, kind: str) -> None:
    base = quantised(plain, kind)
    weight = weight_of(base)
    assert is_quantised(base)
    assert not is_quantised(plain)
    assert shape_of(base) == weight.shape == (OUT, IN)
    assert weight.dtype == torch.float32
    assert not weight.requires_grad
    error = (weight - plain.weight).abs().max() / plain.weight.abs().max()
    assert 0 < error < (0.01 if "8" in kind else 0.25)


@pytest.mark.parametrize("tokens", [5, 4 * IN + 1])  # beside the weight, and merged into it
def test_gradients_are_those_of_the_dequantised_layer(plain: nn.Linear, kind: str, tokens: int) -> None:
    layer = adapted(quantised(plain, kind))
    twin = nn.Linear(IN, OUT)
    twin.weight, twin.bias = nn.Parameter(weight_of(layer.base).clone()), nn.Parameter(plain.bias.clone())
    other = adapted(twin)
    assert {matrix.dtype for matrix in (layer.lora_A, layer.lora_B)} == {torch.float32}
    x = torch.randn(tokens, IN, generator=torch.Generator().manual_seed(3))
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [adapted_layer(x) for adapted_layer, x in zip((layer, other), inputs, strict=True)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
    for y in outputs:
        y.pow(2).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(layer.lora_A.grad, other.lora_A.grad)
    torch.testing.assert_close(layer.lora_B.grad, other.lora_B.grad)


def test_training_with_an_evaluation_in_between_leaves_every_byte_of_the_base(
    plain: nn.Linear, kind: str
) -> None:
    layer = adapted(quantised(plain, kind))
    before, weight = bytes_of(layer.base), weight_of(layer.base)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.randn(8, IN, generator=torch.Generator().manual_seed(3))
    for step in range(3):
        layer.train()
        y = layer.base(x) + layer.branch(x) if step == 1 else layer(x)  # both ways into the base
        y.pow(2).mean().backward()
        assert layer.lora_A.grad.abs().sum() > 0
        optimizer.step()
        optimizer.zero_grad()
        layer.eval()
        with torch.no_grad():
            ours, its = layer(x), layer.base(x) + layer.branch(x)
        assert (ours - its).norm() < 0.02 * its.norm()  # 8-bit products round the input, too
    after = bytes_of(layer.base)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(weight_of(layer.base), weight)


def test_the_input_gets_gradients_through_a_base_that_was_evaluated(plain: nn.Linear) -> None:
    layer = adapted(quantised(plain, "nf4"))
    with torch.no_grad():
        layer.eval().base(torch.ones(2, IN))
    x = torch.ones(2, IN, requires_grad=True)
    layer.train().base(x).sum().backward()
    torch.testing.assert_close(x.grad[0], weight_of(layer.base).sum(0))


def test_a_weight_that_was_repacked_is_refused(plain: nn.Linear) -> None:
    base = quantised(plain, "nf4").eval()
    if not base.support_avx512bf16_for_cpu:
        pytest.skip("this processor has no AVX512-BF16, for which bitsandbytes repacks weights")
    with torch.no_grad():
        base(torch.ones(2, IN))
    for targets in ("all-linear", "1"):  # gradients go through it, adapted or not
        with pytest.raises(Mistake, match="layer 0 cannot be adapted: bitsandbytes has repacked its weight"):
            add_lora(nn.Sequential(base, nn.Linear(OUT, OUT)), LoRAConfig(r=2, targets=targets))


def test_layers_beside_the_adapted_are_not_repacked_either(plain: nn.Linear) -> None:
    model = nn.Sequential(nn.Linear(IN, IN), quantised(plain, "nf4"))
    add_lora(model, LoRAConfig(r=2, targets="0"))
    nn.init.ones_(model[0].lora_B)
    with torch.no_grad():
        model.eval()(torch.ones(2, IN))
    model.train()(torch.ones(2, IN)).sum().backward()
    assert model[0].lora_A.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["nf4", "8bit"])
def test_a_weight_that_is_not_quantised_yet_is_refused(plain: nn.Linear, kind: str) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    options = {"has_fp16_weights": False} if kind == "8bit" else {}
    base = (bnb.nn.Linear8bitLt if kind == "8bit" else bnb.nn.Linear4bit)(IN, OUT, **options)
    with pytest.raises(Mistake, match="not quantised yet; move the model to its device first"):
        add_lora(nn.Sequential(base), LoRAConfig(r=2))


def test_a_weight_that_cannot_be_dequantised_here_is_refused(plain: nn.Linear) -> None:
    class Sealed(nn.Parameter):
        def dequantize(self) -> torch.Tensor:
            raise NotImplementedError

    Sealed.__module__ = "torchao.sealed"
    plain.weight = Sealed(plain.weight.detach(), requires_grad=False)
    with pytest.raises(Mistake, match="torchao cannot dequantise Sealed on this machine"):
        add_lora(nn.Sequential(plain), LoRAConfig(r=2))


def quantised_model(model: nn.Module, kind: str) -> nn.Module:
    """Return a copy in which all linear layers except the head's are quantised."""
    model = copy.deepcopy(model)
    head = find_head(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and not name.startswith(head):
            model.set_submodule(name, quantised(layer, kind))
    return model


def test_an_adapter_is_saved_and_loaded(
    bert: nn.Module, tokens: torch.Tensor, tmp_path: Path, kind: str
) -> None:
    base = quantised_model(bert, kind)
    model = add_lora(copy.deepcopy(base), LoRAConfig(r=4, modules_to_save=("classifier",)))
    assert len(list(lora_layers(model))) == 13
    logits = answers(fill_adapters(model), tokens)
    folder = save_adapter(model, tmp_path / "adapter")
    loaded = load_adapter(copy.deepcopy(base), folder)
    assert torch.equal(answers(loaded, tokens), logits)
    assert not torch.allclose(answers(remove_lora(loaded), tokens), logits)
    merged = merge_lora(copy.deepcopy(model), keep=False)
    torch.testing.assert_close(answers(merged, tokens), logits, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear:UserWarning")
@pytest.mark.filterwarnings("ignore:Merge lora module:UserWarning")
def test_peft_computes_the_same_on_a_quantised_base(
    bert: nn.Module, tokens: torch.Tensor, tmp_path: Path
) -> None:
    import peft

    base = quantised_model(bert, "nf4")
    for layer in base.modules():
        disable_repacking(layer)
    model = add_lora(copy.deepcopy(base), LoRAConfig(r=4, modules_to_save=("classifier",)))
    logits = answers(fill_adapters(model), tokens)
    base.is_loaded_in_4bit = True
    theirs = peft.PeftModel.from_pretrained(base, str(save_adapter(model, tmp_path / "adapter")))
    assert any(module.__class__.__module__ == "peft.tuners.lora.bnb" for module in theirs.modules())
    torch.testing.assert_close(answers(theirs.eval(), tokens), logits, rtol=0, atol=1e-5)


def test_a_quantised_module_cannot_be_trained_in_full(bert: nn.Module) -> None:
    bert.classifier = quantised(bert.classifier, "8bit")
    before = {name: parameter.requires_grad for name, parameter in bert.named_parameters()}
    with pytest.raises(Mistake, match="classifier is quantised and cannot be trained"):
        add_lora(bert, LoRAConfig(r=2, modules_to_save=("classifier",)))
    assert before == {name: parameter.requires_grad for name, parameter in bert.named_parameters()}


def test_a_plain_weight_is_read_as_it_is(plain: nn.Linear) -> None:
    assert weight_of(plain) is plain.weight
    x = torch.ones(1, IN)
    assert torch.equal(F.linear(x, weight_of(plain), plain.bias), plain(x))
    before = state_of(plain)
    disable_repacking(plain)
    assert_untouched(plain, before)


def test_quantised_numbers_are_counted_rather_than_bytes(plain: nn.Linear, kind: str) -> None:
    model, twin = nn.Sequential(quantised(plain, kind)), nn.Sequential(copy.deepcopy(plain))
    assert count_parameters(model).total == count_parameters(twin).total
