"""A loaded adapter answers as PEFT's; it is refused if weights that it needs would be random."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, BertModel

from lowland.deploy import predict
from lowland.deploy.find import find_adapted
from lowland.deploy.load import load_with_peft
from lowland.deploy.merge import merging
from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.models.load import load_tokenizer
from tests.conftest import bert_config
from tests.deploy.merge.merged import merge
from tests.deploy.merge.test_merging import ASKED, base_folder, peft_adapter

Run = Callable[..., tuple[int, str, str]]
HEAD, POOLER = "classifier", "bert.pooler.dense"


@pytest.fixture
def poolerless(tiny_model: Path, tmp_path: Path) -> Path:
    """A base with neither head nor pooler."""
    shutil.copytree(tiny_model, tmp_path / "poolerless")
    BertModel(bert_config(), add_pooling_layer=False).save_pretrained(tmp_path / "poolerless")
    return tmp_path / "poolerless"


def adapter(base: Path, folder: Path, saved: list[str], **options: Any) -> Path:
    """An adapter that saves exactly these modules whole: without a task PEFT adds none."""
    peft_adapter("SEQ_CLS", base, folder, task_type=None, modules_to_save=saved or None, **options)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "task_type": "SEQ_CLS"}))
    return folder


@pytest.mark.parametrize("kind", [{}, {"use_dora": True}], ids=["ours", "PEFT's"])
@pytest.mark.parametrize(
    ("saved", "targets"), [([], ["query"]), ([HEAD], ["query"]), ([HEAD], ["query", "pooler.dense"])]
)
def test_weights_missing_from_both_adapter_and_base_are_named(
    lowland: Run,
    poolerless: Path,
    tmp_path: Path,
    saved: list[str],
    targets: list[str],
    kind: dict[str, Any],
) -> None:
    folder = str(adapter(poolerless, tmp_path / "adapter", saved, target_modules=targets, **kind))
    needed = ", ".join(name for name in (POOLER, HEAD) if name not in saved)
    commands = [["predict", folder, "--text", "a"]]
    if not kind:
        commands += [["predict", folder, "--merge", "--text", "a"]]
        commands += [["merge", folder, "--out", str(tmp_path / "merged")]]
    if not kind:
        code, out, _ = lowland("check", "--adapter", folder)
        assert code == 1
        assert f"FAIL  loading          neither the adapter in {folder} nor the base model" in out
    for command in commands:
        code, out, err = lowland(*command)
        assert (code, out) == (2, ""), command
        assert f"neither the adapter in {folder} nor the base model" in err
        assert f"contains weights for {needed}, so predictions would be random" in err
        assert err.count("lowland: ") == 1
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("kind", [{}, {"use_dora": True}, {"bias": "all"}], ids=["lora", "dora", "bias"])
def test_an_adapter_that_brings_it_all_answers_as_peft(
    poolerless: Path, tmp_path: Path, kind: dict[str, Any]
) -> None:
    folder = tmp_path / "adapter"
    adapter(poolerless, folder, [HEAD, POOLER], target_modules=["query"], **kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = load(folder)
    assert [str(warning.message) for warning in caught] == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = PeftModel.from_pretrained(
            AutoModelForSequenceClassification.from_pretrained(poolerless, num_labels=2), str(folder)
        ).eval()
    batch = classifier.setup.tokenizer(ASKED, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(
            classifier.model(**batch).logits, oracle(**batch).logits, rtol=0, atol=1e-6
        )


def test_biases_that_were_trained_are_not_left_out(tmp_path: Path, tiny_model: Path) -> None:
    base = base_folder("SEQ_CLS", tmp_path / "base", tiny_model)
    model = peft_adapter("SEQ_CLS", base, tmp_path / "adapter", target_modules=["query"], bias="all")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("output.dense.bias"):
                parameter += 1.0
    model.save_pretrained(tmp_path / "adapter")
    batch = load_tokenizer(base)(ASKED, padding=True, return_tensors="pt")
    served = load(tmp_path / "adapter").model
    with torch.no_grad():
        torch.testing.assert_close(served(**batch).logits, model(**batch).logits, rtol=0, atol=1e-6)
    with pytest.raises(Mistake, match="bias"):
        merge(tmp_path / "adapter", tmp_path / "merged")


def test_an_adapter_that_cannot_be_merged_is_refused_before_anything_is_loaded(
    lowland: Run, poolerless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = adapter(
        poolerless, tmp_path / "adapter", [HEAD, POOLER], target_modules=["query"], use_dora=True
    )

    def loaded(*args: Any) -> None:
        raise AssertionError("loaded")

    for module, name in ((merging, "proof_texts"), (merging, "load_adapted"), (predict, "load_adapted")):
        monkeypatch.setattr(module, name, loaded)
    commands = [
        ["predict", str(folder), "--merge", "--text", "a"],
        ["merge", str(folder), "--out", str(tmp_path / "x")],
    ]
    for command in commands:
        code, out, err = lowland(*command)
        assert (code, out) == (2, "")
        assert "use_dora" in err
        assert "`lowland predict` without --merge can use it" in err


def test_an_adapter_that_peft_cannot_load_is_a_sentence(poolerless: Path, tmp_path: Path) -> None:
    folder = adapter(
        poolerless, tmp_path / "adapter", [HEAD, POOLER], target_modules=["query"], use_dora=True
    )
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Mistake, match="PEFT cannot load the adapter"):
        load_with_peft(find_adapted(folder))


def test_a_setting_that_peft_trips_over_is_a_sentence(poolerless: Path, tmp_path: Path) -> None:
    folder = adapter(
        poolerless, tmp_path / "adapter", [HEAD, POOLER], target_modules=["query"], use_dora=True
    )
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_dropout": [1]}))
    with pytest.raises(Mistake, match="PEFT cannot load the adapter"):
        load_with_peft(find_adapted(folder))


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("asked", {"max_length": "128"}),
        ("asked", {"model": ["a"]}),
        ("asked", {"revision": 3}),
        ("asked", {"revision": ...}),
        ("data", {"labels": []}),
        ("data", {"labels": ["good", "good"]}),
        ("data", {"labels": "bad"}),
    ],
)
def test_a_record_that_its_model_cannot_be_loaded_by_is_a_sentence(
    lowland: Run, tmp_path: Path, part: str, changes: dict[str, object]
) -> None:
    code, _, err = lowland("train")
    assert code == 0, err
    (run,) = (tmp_path / "runs").glob("classification-*")
    record = json.loads((run / "record.json").read_text())
    values = {**record[part], **changes}
    record[part] = {name: value for name, value in values.items() if value is not ...}
    (run / "record.json").write_text(json.dumps(record))
    code, out, err = lowland("predict", str(run), "--text", "a")
    assert (code, out) == (2, "")
    assert f"the record in {run} holds" in err


@pytest.mark.parametrize(
    "text", ["{", "[]", "1", '{"architectures": ["BertForSequenceClassification"]}', '{"model_type": "none"}']
)
def test_a_config_that_cannot_be_read_is_a_sentence(
    lowland: Run, tiny_model: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(tiny_model, tmp_path / "foreign")
    (tmp_path / "foreign" / "config.json").write_text(text)
    code, out, err = lowland("predict", str(tmp_path / "foreign"), "--text", "a")
    assert (code, out) == (2, "")
    assert "foreign holds no config.json that can be read" in err


def test_a_whole_model_without_its_head_does_not_answer(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "headless")
    path = tmp_path / "headless" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    with pytest.raises(Mistake, match="lack classifier, so predictions would be random"):
        load(tmp_path / "headless")


def test_an_older_record_is_a_sentence(lowland: Run, tmp_path: Path) -> None:
    code, _, err = lowland("train", "--method", "lora", "--dtype", "fp32", "--epochs", "1")
    assert code == 0, err
    (run,) = (tmp_path / "runs").glob("classification-lora-*")
    record = json.loads((run / "record.json").read_text())
    del record["model"]["files_sha256"]
    (run / "record.json").write_text(json.dumps(record))
    code, out, err = lowland("predict", str(run), "--text", *ASKED)
    assert (code, out) == (2, "")
    assert "has no files_sha256 of the base model" in err
    assert isinstance(load(run / "adapter").predict(ASKED), pd.DataFrame)  # as the message says
