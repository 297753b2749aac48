"""A merged model is written only if it answers as base and adapter did; the report gives the difference."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, T5Config
from transformers import T5ForConditionalGeneration as T5

from lowland.deploy.merge import merging
from lowland.deploy.predict import load
from lowland.deploy.settings import TOLERANCES
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from lowland.lora import load_adapter, lora_layers
from lowland.models.load import load_classifier, load_tokenizer
from lowland.tasks.table import load_data, task_fields
from tests.conftest import bert_config, table_of
from tests.deploy.merge.merged import merge

Run = Callable[..., tuple[int, str, str]]
ASKED = ["the firm gains", "a bank loses again", "its unit wins again again"]


@pytest.fixture
def run(lowland: Run, tmp_path: Path) -> Path:
    """A finished run of LoRA."""
    code, _, err = lowland("train", "--method", "lora", "--dtype", "fp32")
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-lora-*")
    return folder


def base_folder(kind: str, folder: Path, tiny_model: Path, width: int = 16) -> Path:
    """A tiny model of a kind, with a tokenizer, as a folder."""
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_labels": 3}
    makers: dict[str, Callable[[], Any]] = {
        "SEQ_CLS": lambda: BertForSequenceClassification(bert_config(**sizes)),
        "CAUSAL_LM": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=64, n_positions=32, n_embd=width, n_layer=2, n_head=2)
        ),
        "SEQ_2_SEQ_LM": lambda: T5(
            T5Config(
                vocab_size=64,
                d_model=width,
                d_kv=width // 2,
                d_ff=2 * width,
                num_layers=2,
                num_heads=2,
                decoder_start_token_id=0,
            )
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        makers[kind]().save_pretrained(folder)
    load_tokenizer(tiny_model).save_pretrained(folder)
    return folder


def peft_adapter(kind: str, base: Path, folder: Path, **options: Any) -> Any:
    """Write an adapter with PEFT, with nonzero B, and return its model."""
    auto = getattr(transformers, merging.AUTO_CLASSES[kind])
    config = LoraConfig(r=4, **{"task_type": kind, "target_modules": "all-linear", **options})
    config.base_model_name_or_path = str(base)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own
        torch.manual_seed(3)
        model = get_peft_model(auto.from_pretrained(base), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return model.eval()


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def adapted_layers(run: Path, tiny_model: Path) -> dict[str, Any]:
    base = load_classifier(tiny_model, ["bad", "good"], load_tokenizer(tiny_model)).model
    return dict(lora_layers(load_adapter(base, run / "adapter")))


def test_a_run_is_merged_and_the_folder_serves(
    lowland: Run, run: Path, tmp_path: Path, tiny_model: Path
) -> None:
    before = contents(tiny_model), contents(run)
    out = tmp_path / "deep" / "merged"
    code, stdout, err = lowland("merge", str(run), "--out", str(out))
    assert code == 0, err
    assert "changed predictions" in stdout
    assert str(out) in stdout
    assert "loses" not in err
    assert (contents(tiny_model), contents(run)) == before
    assert [path.name for path in out.parent.iterdir()] == ["merged"]
    loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.dtype == torch.float32
    assert loaded.config.id2label == {0: "bad", 1: "good"}
    plain = load(run).predict(ASKED)
    pd.testing.assert_frame_equal(load(out).predict(ASKED), plain, atol=1e-6)
    code, answers, _ = lowland("predict", str(out), "--text", *ASKED)
    assert code == 0
    assert answers.count("\n") == 4


def test_the_report_says_what_was_compared_and_with_what_result(
    run: Path, tmp_path: Path, tiny_model: Path
) -> None:
    report = merge(run, tmp_path / "merged")
    written = json.loads((tmp_path / "merged" / "merge_report.json").read_text())
    assert written["passed"] is True
    assert (written["dtype"], written["tolerance"]) == ("fp32", TOLERANCES["fp32"])
    record = read_record(run)
    texts = load_data(task_fields(**record.asked["task"])).splits["validation"]["text"]
    assert written["texts"]["number"] == len(texts) == record.data["sizes"]["validation"]
    assert "validation texts of the run's task" in written["texts"]["origin"]
    assert written["texts"]["instead"] is None
    assert set(report.layers) == set(adapted_layers(run, tiny_model)) == set(written["layers"])
    for name, layer in adapted_layers(run, tiny_model).items():
        update = layer.scaling * (layer.lora_B.detach().double() @ layer.lora_A.detach().double())
        expected = layer.weight.double() + update
        error = (load_file(tmp_path / "merged" / "model.safetensors")[f"{name}.weight"] - expected).norm()
        assert report.layers[name].of_weight == pytest.approx(float(error / expected.norm()))
        assert report.layers[name].of_update == pytest.approx(float(error / update.norm()))
        assert 0 < written["layers"][name]["of_weight"] < 1e-6

    tokenizer = load_tokenizer(tiny_model)
    batch = tokenizer(list(texts), truncation=True, max_length=40, padding=True, return_tensors="pt")
    models = load(run).model, load(tmp_path / "merged").model
    with torch.no_grad():
        apart, merged = (model(**batch).logits for model in models)
    gap = (apart - merged).abs()
    assert report.logits.largest == pytest.approx(float(gap.max()), abs=1e-6)
    assert report.logits.mean == pytest.approx(float(gap.mean()), abs=1e-6)
    assert report.logits.largest_logit == pytest.approx(float(apart.abs().max()), abs=1e-5)
    assert (report.logits.changed, report.logits.predictions) == (0, len(texts))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_weights_are_summed_wide_and_rounded_once(
    run: Path, tmp_path: Path, tiny_model: Path, dtype: str, precision: str
) -> None:
    merge(run, tmp_path / "merged", dtype=dtype, precision=precision, tolerance=1.0)
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {merging.DTYPES[dtype]}
    wide = merging.PRECISIONS[precision]
    for name, layer in adapted_layers(run, tiny_model).items():
        a, b = layer.lora_A.detach().to(wide), layer.lora_B.detach().to(wide)
        expected = layer.weight.to(wide) + layer.scaling * (b @ a)
        assert torch.equal(stored[f"{name}.weight"], expected.to(merging.DTYPES[dtype])), name


def test_a_lossy_target_is_warned_of_with_its_loss(lowland: Run, run: Path, tmp_path: Path) -> None:
    code, stdout, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"), "--dtype", "bf16")
    assert code == 0, err
    report = json.loads((tmp_path / "merged" / "merge_report.json").read_text())
    assert f"{report['logits']['largest']:.2g}" in err
    assert "keep the adapter unmerged" in err
    assert "--dtype fp32" in err
    assert "tolerance 0.1" in stdout
    assert 1e-5 < report["logits"]["largest"] != report["own_dtype"]["largest"]
    row = next(line for line in stdout.splitlines() if line.startswith("computed in bf16, too"))
    assert f" {report['own_dtype']['largest']:.2g}," in row
    merged = load(tmp_path / "merged").model  # in float32
    own = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    texts = load_data(task_fields(**read_record(run).asked["task"])).splits["validation"]["text"]
    batch = load_tokenizer(tmp_path / "merged")(list(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        before, after, rounded = (model(**batch).logits for model in (load(run).model, merged, own))
    assert report["logits"]["largest"] == pytest.approx(float((before - after).abs().max()), rel=1e-3)
    assert report["own_dtype"]["largest"] == pytest.approx(float((before - rounded).abs().max()), rel=0.5)
    assert 1e-4 < max(error["of_weight"] for error in report["layers"].values()) < 2**-8
    assert load(tmp_path / "merged").predict(ASKED)["predicted"].notna().all()


def test_above_the_tolerance_nothing_is_left(lowland: Run, run: Path, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    out = tmp_path / "sub" / "dir" / "merged"
    options = ["--out", str(out), "--dtype", "bf16", "--tolerance", "1e-7"]
    code, stdout, err = lowland("merge", str(run), *options)
    assert code == 1
    assert "largest difference of a logit" in stdout
    assert "nothing was written" in err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_the_comparison_reads_the_merged_model_from_disk(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = merging.write_merged

    def damaged(*args: Any) -> None:
        genuine(*args)
        path = args[2] / "model.safetensors"
        state = load_file(path)
        state["bert.encoder.layer.1.output.dense.weight"][0] += 0.5
        save_file(state, path, metadata={"format": "pt"})

    monkeypatch.setattr(merging, "write_merged", damaged)
    report = merge(run, tmp_path / "merged")
    assert not report.passed
    assert (
        max(report.layers, key=lambda name: report.layers[name].of_weight)
        == "bert.encoder.layer.1.output.dense"
    )
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_breaks_off_leaves_nothing(
    lowland: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in tmp_path.iterdir()}

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging, "compare", full)
    for out in (tmp_path / "merged", tmp_path / "sub" / "dir" / "merged"):
        code, _, err = lowland("merge", str(run), "--out", str(out))
        assert code == 2
        assert "No space left" in err
        assert {path.name for path in tmp_path.iterdir()} == before
    (tmp_path / "mine").mkdir()
    lowland("merge", str(run), "--out", str(tmp_path / "mine" / "sub" / "merged"))
    assert not list((tmp_path / "mine").iterdir())  # the folder existed before, and stays


def test_without_the_runs_data_other_texts_are_taken_and_named(
    lowland: Run, run: Path, tmp_path: Path, texts: Path
) -> None:
    table_of(copies=13).to_csv(texts, index=False)
    _, stdout, err = lowland("merge", str(run), "--out", str(tmp_path / "changed"))
    assert "has changed since" in err
    assert "64 texts: lowland, financial_demo.csv" in stdout
    texts.unlink()
    _, _, err = lowland("merge", str(run), "--out", str(tmp_path / "gone"))
    assert "cannot be loaded" in err
    assert json.loads((tmp_path / "gone" / "merge_report.json").read_text())["texts"]["number"] == 64
    pd.DataFrame({"words": ASKED}).to_csv(tmp_path / "own.csv", index=False)
    options = ["--data", str(tmp_path / "own.csv"), "--text-column", "words"]
    _, stdout, err = lowland("merge", str(run), "--out", str(tmp_path / "own"), *options)
    assert "3 texts: column words of" in stdout
    assert "cannot be loaded" not in err


@pytest.mark.parametrize("own_tokenizer", [False, True])
@pytest.mark.parametrize("named", [False, True], ids=["by base", "by task_type"])
@pytest.mark.parametrize("kind", ["SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM"])
def test_adapters_that_peft_wrote_are_merged_as_peft_answers(
    tmp_path: Path, tiny_model: Path, tokens: torch.Tensor, kind: str, named: bool, own_tokenizer: bool
) -> None:
    base = base_folder(kind, tmp_path / "base", tiny_model)
    head = {"modules_to_save": ["classifier"]} if kind == "SEQ_CLS" else {}
    oracle = peft_adapter(kind, base, tmp_path / "adapter", **head)
    if not named:
        config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
        config["task_type"] = None
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    if own_tokenizer:
        load_tokenizer(tiny_model).save_pretrained(tmp_path / "adapter")
    report = merge(tmp_path / "adapter", tmp_path / "merged")
    assert report.passed
    assert report.task_type == kind
    assert report.texts["number"] == 64
    merged = getattr(transformers, merging.AUTO_CLASSES[kind]).from_pretrained(tmp_path / "merged").eval()
    inputs = {"input_ids": tokens} | ({"labels": tokens} if kind == "SEQ_2_SEQ_LM" else {})
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, oracle(**inputs).logits, rtol=0, atol=1e-5)
    transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")


def test_a_head_with_other_labels_than_the_bases_is_read_from_the_adapter(
    tmp_path: Path, tiny_model: Path, tokens: torch.Tensor
) -> None:
    config = LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear", modules_to_save=["classifier"])
    config.base_model_name_or_path = str(tiny_model)
    auto = transformers.AutoModelForSequenceClassification
    oracle = get_peft_model(auto.from_pretrained(tiny_model, num_labels=5), config).eval()
    oracle.save_pretrained(tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "merged")
    merged = auto.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, oracle(tokens).logits, rtol=0, atol=1e-5)
    answers = load(tmp_path / "adapter").predict(ASKED)
    assert list(answers.columns[2:]) == [f"p_LABEL_{i}" for i in range(5)]
    pd.testing.assert_frame_equal(load(tmp_path / "merged").predict(ASKED), answers, atol=1e-6)


def test_a_difference_of_nan_does_not_pass(run: Path, tmp_path: Path) -> None:
    report = merge(run, tmp_path / "merged")
    nothing = dataclasses.replace(report.logits, largest=float("nan"))
    assert not dataclasses.replace(report, logits=nothing).passed
    assert not dataclasses.replace(report, own_dtype=nothing).passed


def full_run(folder: Path) -> None:
    shutil.rmtree(folder / "adapter")
    (folder / "model").mkdir()


def failed_run(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"status": "finished"', '"status": "failed"'))


def weightless_run(folder: Path) -> None:
    shutil.rmtree(folder / "adapter")


def no_run(folder: Path) -> None:
    (folder / "record.json").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (full_run, "without an adapter, with nothing to merge"),
        (failed_run, "failed"),
        (weightless_run, "missing, or changed since the run saved it"),
        (no_run, "neither a run (record.json) nor an adapter"),
    ],
)
def test_a_run_without_an_adapter_is_refused(
    lowland: Run, run: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    change(run)
    code, stdout, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"))
    assert (code, stdout) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("lowland: ")]) == 1
    assert not (tmp_path / "merged").exists()


OPTION_MISTAKES: dict[str, tuple[list[str], str]] = {
    "dtype": (["--dtype", "fp8"], "unknown dtype 'fp8'"),
    "precision": (["--precision", "float16"], "unknown precision 'float16'"),
    "tolerance": (["--tolerance", "-1"], "tolerance is -1; it must be at least 0"),
    "not finite": (["--tolerance", "nan"], "tolerance is 'nan'; it must be finite"),
    "not a number": (["--tolerance", "much"], "tolerance is 'much'; it must be a number"),
    "base": (["--model", "nowhere/at/all"], "nowhere/at/all"),
    "data": (["--data", "nowhere.csv"], "the data file nowhere.csv does not exist"),
}


@pytest.mark.parametrize("name", OPTION_MISTAKES)
def test_a_wrong_option_is_reported_in_one_sentence(
    lowland: Run, run: Path, tmp_path: Path, name: str
) -> None:
    options, message = OPTION_MISTAKES[name]
    code, stdout, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"), *options)
    assert (code, stdout) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_is_not_empty_is_left_alone(lowland: Run, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "full"
    out.mkdir()
    (out / "note").write_text("mine")
    code, _, err = lowland("merge", str(run), "--out", str(out))
    assert code == 2
    assert "is not empty" in err
    assert contents(out).keys() == {"note"}
    code, _, err = lowland("merge", str(run), "--out", str(out / "note"))
    assert code == 2
    assert "which is a file" in err
    (out / "note").unlink()
    code, _, err = lowland("merge", str(run), "--out", str(out))
    assert code == 0, err
    assert (out / "config.json").is_file()


def test_another_base_than_the_runs_is_refused(run: Path, tmp_path: Path, tiny_model: Path) -> None:
    other = base_folder("SEQ_CLS", tmp_path / "other", tiny_model)
    with pytest.raises(Mistake, match="was trained on"):
        merge(run, tmp_path / "merged", model=str(other))
    copied = shutil.copytree(tiny_model, tmp_path / "moved")
    assert merge(run, tmp_path / "merged", model=str(copied)).passed


@pytest.mark.parametrize("case", ["dora", "ia3", "task", "no base", "tokens", "json"])
def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path: Path, tiny_model: Path, case: str) -> None:
    base = base_folder("CAUSAL_LM", tmp_path / "base", tiny_model)
    path = tmp_path / "adapter" / "adapter_config.json"
    if case == "ia3":
        config = IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=True, base_model_name_or_path=str(base))
        get_peft_model(GPT2LMHeadModel.from_pretrained(base), config).save_pretrained(path.parent)
    else:
        peft_adapter("CAUSAL_LM", base, path.parent, use_dora=case == "dora")
    config = json.loads(path.read_text())
    if case == "task":
        config["task_type"] = "TOKEN_CLS"
    if case == "no base":
        config["base_model_name_or_path"] = None
    path.write_text(json.dumps(config) if case != "json" else "{")
    if case == "tokens":
        tokenizer = load_tokenizer(tiny_model)
        tokenizer.add_tokens([f"more{i}" for i in range(64)])
        tokenizer.save_pretrained(path.parent)
    messages = {
        "dora": "use_dora",
        "ia3": "IA3",
        "task": "is an adapter for TOKEN_CLS",
        "no base": "does not say which base model",
        "tokens": "embeddings for 64",
        "json": "is damaged",
    }
    with pytest.raises(Mistake, match=messages[case]) as caught:
        merge(tmp_path / "adapter", tmp_path / "merged")
    assert len(caught.value.problems) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter"}


def test_long_lists_of_texts_are_thinned_evenly() -> None:
    texts = [str(i) for i in range(2500)]
    taken = merging._spread({"text": texts}, 1000)["text"]
    assert 800 <= len(taken) <= 1000
    assert np.diff([int(text) for text in taken]).tolist() == [3] * (len(taken) - 1)
    assert merging._spread({"text": texts[:7]}, 1000)["text"] == tuple(texts[:7])
