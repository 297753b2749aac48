"""Merging into 4 bits, and into a base that is quantised already."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from lowland.deploy.find import AUTO_CLASSES, find_adapted
from lowland.deploy.load import load_adapted
from lowland.deploy.merge import merging
from lowland.deploy.merge.merging import EIGHT_BIT_BASE
from lowland.deploy.merge.proof import input_batches, logit_difference
from lowland.deploy.predict import load as load_predictor
from lowland.deploy.settings import TOLERANCES, MergeSettings
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from lowland.lora.bases import quantised_by, weight_of
from lowland.models.quantised import compute_in_float32
from tests.deploy.merge.merged import merge
from tests.deploy.merge.test_merging import ASKED, base_folder, peft_adapter

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages that quantise
KINDS = ("SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM")
HEADS = {"SEQ_CLS": "classifier", "CAUSAL_LM": "lm_head", "SEQ_2_SEQ_LM": "lm_head"}


def wide_adapter(kind: str, tmp_path: Path, tiny_model: Path, **options: Any) -> tuple[Path, Path]:
    """A base whose layers have rows of 64, as bitsandbytes' blocks, and an adapter for it."""
    base = base_folder(kind, tmp_path / "base", tiny_model, width=64)
    head = {"modules_to_save": ["classifier"]} if kind == "SEQ_CLS" else {}
    peft_adapter(kind, base, tmp_path / "adapter", **head, **options)
    return base, tmp_path / "adapter"


def quantised(kind: str, quantisation: str, base: Path, folder: Path) -> Path:
    """A base in fewer bits, like one from the hub."""
    if quantisation == "torchao":
        pytest.importorskip("torchao")
        from torchao.quantization import Int8WeightOnlyConfig

        config: Any = transformers.TorchAoConfig(
            Int8WeightOnlyConfig(version=2), modules_to_not_convert=[HEADS[kind]]
        )
    else:
        pytest.importorskip("bitsandbytes")
        four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "load_in_4bit": True}
        four["bnb_4bit_compute_dtype"] = torch.bfloat16
        options: dict[str, Any] = four if quantisation == "4bit" else {"load_in_8bit": True}
        config = transformers.BitsAndBytesConfig(llm_int8_skip_modules=[HEADS[kind]], **options)
    auto = getattr(transformers, AUTO_CLASSES[kind])
    dtype = torch.bfloat16 if quantisation == "4bit" else torch.float32
    auto.from_pretrained(base, dtype=dtype, device_map="cpu", quantization_config=config).save_pretrained(
        folder
    )
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def load(kind: str, folder: Path) -> Any:
    auto = getattr(transformers, AUTO_CLASSES[kind])
    return compute_in_float32(auto.from_pretrained(folder, dtype=torch.float32, device_map="cpu")).eval()


@torch.no_grad()
def answers(model: Any, tokens: torch.Tensor, kind: str) -> torch.Tensor:
    return model(input_ids=tokens, **({"labels": tokens} if kind == "SEQ_2_SEQ_LM" else {})).logits


@pytest.mark.parametrize("kind", KINDS)
def test_nf4_is_the_merged_weight_rounded_once(
    tmp_path: Path, tiny_model: Path, tokens: torch.Tensor, kind: str
) -> None:
    bits = pytest.importorskip("bitsandbytes").functional
    _, adapter = wide_adapter(kind, tmp_path, tiny_model)
    report = merge(adapter, tmp_path / "merged", dtype="nf4", tolerance=100.0)
    stored, apart = load(kind, tmp_path / "merged"), load_adapted(find_adapted(adapter))
    oracle = load_adapted(find_adapted(adapter))
    for name, layer in lora_layers(apart):
        expected = (layer.weight + layer.delta()).detach().contiguous()
        here = stored.get_submodule(name)
        if quantised_by(here.weight):
            expected = bits.dequantize_4bit(*bits.quantize_4bit(expected, quant_type="nf4"))
        assert torch.equal(weight_of(here), expected), name
        twin = oracle.get_submodule(name)
        twin.base.weight = nn.Parameter(expected.T if twin.transposed else expected)
        nn.init.zeros_(twin.lora_B)
    few = [name for name, parameter in stored.named_parameters() if quantised_by(parameter)]
    assert len(few) >= 0.75 * len(report.layers)  # T5 keeps some layers in float32
    assert {parameter.dtype for parameter in stored.parameters() if not quantised_by(parameter)} == {
        torch.float32
    }
    assert type(stored.get_submodule(HEADS[kind])) is nn.Linear
    torch.testing.assert_close(answers(stored, tokens, kind), answers(oracle, tokens, kind))
    adapted = find_adapted(adapter)
    texts = merging.proof_texts(adapted, MergeSettings(run=adapter, out=tmp_path / "none"))
    inputs = input_batches(adapted.base, texts.columns, adapted.max_length)
    loss = logit_difference(apart, oracle, inputs, kind)
    assert report.logits.largest == pytest.approx(loss.largest, rel=1e-3)
    assert report.logits.mean == pytest.approx(loss.mean, rel=1e-3)
    assert report.logits.changed == loss.changed
    assert report.own_dtype.largest == pytest.approx(loss.largest, rel=1)
    assert 0.03 < max(error.of_weight for error in report.layers.values()) < 0.2
    assert not list((tmp_path / "merged").glob("tmp*"))


def test_nf4_is_warned_of_and_its_folder_serves(lowland: Run, tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("bitsandbytes")
    _, adapter = wide_adapter("SEQ_CLS", tmp_path, tiny_model)
    options = ["--dtype", "nf4", "--out", str(tmp_path / "merged")]
    code, stdout, err = lowland("merge", str(adapter), *options, "--tolerance", "1e-3")
    assert code == 1
    assert not (tmp_path / "merged").exists()
    code, stdout, err = lowland("merge", str(adapter), *options, "--tolerance", "100")
    assert code == 0, err
    report = json.loads((tmp_path / "merged" / "merge_report.json").read_text())
    assert f"changes logits by up to {report['logits']['largest']:.2g}" in err
    assert "keep the adapter unmerged" in err
    assert "merge with --dtype fp32 (or bf16" in err
    assert "computed with bitsandbytes, too" in stdout
    served, apart = load_predictor(tmp_path / "merged"), load_predictor(adapter)
    assert served.predict(ASKED)["predicted"].notna().all()
    batch = served.setup.tokenizer(ASKED, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = load("SEQ_CLS", tmp_path / "merged")(**batch).logits
        assert torch.equal(served.model(**batch).logits, expected)
        assert (apart.model(**batch).logits - expected).abs().max() > 1e-3
    assert merge(adapter, tmp_path / "again", dtype="nf4").tolerance == TOLERANCES["nf4"] == 1.0


def test_layers_without_whole_blocks_stay_in_float32(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model, width=32)  # its second half has rows of 64
    peft_adapter("SEQ_CLS", base, tmp_path / "adapter")
    report = merge(tmp_path / "adapter", tmp_path / "merged", dtype="nf4", tolerance=100.0)
    rounded = {name for name, error in report.layers.items() if error.of_weight > 1e-3}
    assert rounded == {f"bert.encoder.layer.{i}.output.dense" for i in range(2)}
    base = base_folder("SEQ_CLS", tmp_path / "small", tiny_model)
    peft_adapter("SEQ_CLS", base, tmp_path / "other")
    with pytest.raises(Mistake, match="no layer to put in NF4"):
        merge(tmp_path / "other", tmp_path / "none", dtype="nf4")
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter", "merged", "small", "other"}


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == package else genuine(name, *args)
    )


def test_without_bitsandbytes_the_extra_is_named(
    lowland: Run, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, adapter = wide_adapter("SEQ_CLS", tmp_path, tiny_model)
    without("bitsandbytes", monkeypatch)
    code, _, err = lowland("merge", str(adapter), "--dtype", "nf4", "--out", str(tmp_path / "merged"))
    assert code == 2
    assert "pip install 'lowland[quantised]'" in err


@pytest.mark.parametrize("targets", ["all-linear", "some"])
@pytest.mark.parametrize("quantisation", ["4bit", "8bit", "torchao"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_base_is_merged_into_its_dequantised_weights(
    tmp_path: Path, tiny_model: Path, tokens: torch.Tensor, kind: str, quantisation: str, targets: str
) -> None:
    some = {"SEQ_CLS": ["query"], "CAUSAL_LM": ["c_attn"], "SEQ_2_SEQ_LM": ["q"]}[kind]
    plain, adapter = wide_adapter(
        kind, tmp_path, tiny_model, **({"target_modules": some} if targets == "some" else {})
    )
    base = quantised(kind, quantisation, plain, tmp_path / "few")
    report = merge(adapter, tmp_path / "merged", model=str(base))
    rounds = quantisation == "8bit" and targets == "some"
    assert report.passed
    assert report.tolerance == (EIGHT_BIT_BASE if rounds else TOLERANCES["fp32"])
    assert report.base["quantised"] == ("torchao" if quantisation == "torchao" else "bitsandbytes")
    assert "merged into its dequantised weights" in " ".join(report.warnings())
    assert ("round their inputs to 8 bits" in " ".join(report.warnings())) == rounds
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float32}
    assert stored.keys() == load_file(plain / "model.safetensors").keys()

    merged, apart = load(kind, tmp_path / "merged"), load_adapted(find_adapted(adapter, str(base)))
    adapted = dict(lora_layers(apart))
    for name, layer in adapted.items():
        assert torch.equal(weight_of(merged.get_submodule(name)), layer.weight + layer.delta()), name
    others = {name: module for name, module in load(kind, base).named_modules() if name not in adapted}
    rest = {name: layer for name, layer in others.items() if isinstance(layer, nn.Linear | Conv1D)}
    for name, layer in rest.items():
        if name != HEADS[kind]:
            assert torch.equal(weight_of(merged.get_submodule(name)), weight_of(layer)), name
    assert (len(rest) > 1) == (targets == "some")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = PeftModel.from_pretrained(load(kind, base), str(adapter)).eval()
    tolerance = 0.1 if quantisation == "8bit" else 1e-5  # PEFT rounds the inputs of an 8-bit base
    torch.testing.assert_close(
        answers(merged, tokens, kind), answers(oracle, tokens, kind), rtol=0, atol=tolerance
    )


def test_a_quantised_base_that_cannot_be_read_is_refused(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = wide_adapter("SEQ_CLS", tmp_path, tiny_model)
    config = json.loads((base / "config.json").read_text())
    for quantisation, message in (
        ({"quant_method": "gptq", "bits": 4}, "quantised by gptq, which is not supported"),
        ({"load_in_4bit": True}, "needs bitsandbytes; pip install 'lowland"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "needs torchao; pip install torchao"),
    ):
        (base / "config.json").write_text(json.dumps({**config, "quantization_config": quantisation}))
        with monkeypatch.context() as patched:
            without("torchao" if "torchao" in message else "bitsandbytes", patched)
            with pytest.raises(Mistake, match=message):
                merge(adapter, tmp_path / "merged")
            with pytest.raises(Mistake, match=message):
                load_predictor(base)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter"}
