"""Rewinding: scale 1 is the run, scale 0 the base with the trained head, and the written run is the scaled one."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from lowland.deploy.forgetting.rewind import Rewound, choose_scale, rewind
from lowland.deploy.forgetting.rewound import write_rewound
from lowland.deploy.forgetting.settings import ColumnsOfTexts, RewindSettings
from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_predictions, read_record, write_record
from lowland.lora import scaled_lora
from lowland.models.load import load_classifier, load_tokenizer
from tests.conftest import table_of
from tests.folders_of_runs import tree
from tests.generation_runs import TOYS, trained

Study = dict[str, list[Path]]
TEXTS = ["the firm gains", "a bank loses again", "its unit wins again again"]


def rewound(run: Path, *scales: float, **changes: Any) -> Rewound:
    progress = changes.pop("progress", None)
    return rewind(RewindSettings(run=run, scale=scales, **changes), progress=progress)


@pytest.mark.parametrize("method", ["lora", "rslora", "pissa"])
def test_scale_1_gives_the_recorded_scores(study: Study, method: str) -> None:
    run, log = study[method][0], io.StringIO()
    record = read_record(run)
    result = rewound(run, 0.5, 1, progress=Progress(log))
    assert result.tests[1.0].scores["test"] == pytest.approx(record.scores["test"])
    recorded = {name: record.validation[name] for name in result.validation[1.0]}
    assert result.validation[1.0] == pytest.approx(recorded)
    tested = read_predictions(run)
    pd.testing.assert_frame_equal(result.tests[1.0].predictions, tested, check_exact=False, atol=1e-5)
    assert result.tests.keys() == {1.0, result.chosen}
    assert "Beware" not in log.getvalue()


def test_scale_0_is_the_base_model_with_the_trained_head(study: Study, tiny_model: Path) -> None:
    run = study["lora"][0]
    tokenizer = load_tokenizer(tiny_model)
    plain = load_classifier(tiny_model, ["bad", "good"], tokenizer).model.eval()
    saved = load_file(run / "adapter" / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if f"base_model.model.{name}" in saved:  # the head; the pooler is the checkpoint's
                parameter.copy_(saved[f"base_model.model.{name}"])
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    predictor = load(run)
    with torch.no_grad(), scaled_lora(predictor.model, 0.0):
        torch.testing.assert_close(predictor.model(**batch).logits, plain(**batch).logits, rtol=0, atol=1e-6)
    result = rewound(run, 0)
    test = result.tests[0.0].predictions
    inputs = list(table_of(6)["text"].iloc[test["example"]])
    with torch.no_grad():
        logits = plain(**tokenizer(inputs, padding=True, return_tensors="pt")).logits
    assert list(test["predicted"]) == [["bad", "good"][n] for n in logits.argmax(-1).tolist()]


def test_the_best_scale_is_chosen_and_of_equal_ones_the_smallest() -> None:
    assert choose_scale({0.2: 0.5, 0.6: 0.9, 1.0: 0.8}) == 0.6
    assert choose_scale({1.0: 0.9, 0.2: 0.5, 0.6: 0.9}) == 0.6


def test_the_written_run_predicts_as_the_scaled_one(study: Study, tmp_path: Path, tiny_model: Path) -> None:
    run, out = study["lora"][0], tmp_path / "new" / "rewound"
    result = rewound(run, 0.5)
    before = tree(run)
    write_rewound(result, out)
    assert tree(run) == before
    predictor = load(run)
    with scaled_lora(predictor.model, 0.5):
        expected = predictor.predict(TEXTS)
        batch = predictor.setup.tokenizer(TEXTS, padding=True, return_tensors="pt")
        logits = predictor.model(**batch).logits.detach()
    pd.testing.assert_frame_equal(load(out).predict(TEXTS), expected)
    pd.testing.assert_frame_equal(load(out, merge=True).predict(TEXTS), expected, atol=1e-6)
    base = load_classifier(tiny_model, ["bad", "good"], load_tokenizer(tiny_model)).model
    theirs = PeftModel.from_pretrained(base, str(out / "adapter")).eval()
    torch.testing.assert_close(theirs(**batch).logits.detach(), logits, rtol=0, atol=1e-5)
    record, original = read_record(out), read_record(run)
    assert (record.method, record.seed) == ("lora-x0.5", original.seed)
    assert record.asked["rewind"] == {"scale": 0.5, "scales": [0.5], "run": original.key}
    assert record.key != original.key
    assert record.scores == result.tests[0.5].scores
    assert original.key in record.remarks[-1]
    assert read_predictions(out)["score"].mean() == pytest.approx(record.scores["test"]["accuracy"])
    assert list(out.parent.iterdir()) == [out]


def test_retention_stands_beside_each_scale(study: Study, other: Path) -> None:
    result = rewound(study["lora"][0], 0, 1, retention=other)
    assert result.retention_score == "probe_accuracy"
    assert result.retention.keys() == {0.0, 1.0}
    assert result.retention_of_base == pytest.approx(result.retention[0.0])
    plain = rewound(study["lora"][0], 0, 1)
    assert (plain.retention, plain.retention_of_base) == ({}, None)


def test_a_decoder_is_rewound_too(tmp_path: Path, first_run: Any) -> None:
    model = first_run("prompt") / "model"
    (run,) = trained(TOYS["prompt"], tmp_path, model, ["lora"], epochs=1, rank=2, lr=0.001)
    path = tmp_path / "other.csv"
    path.write_text("text\nsome words\nother words\n")
    result = rewound(run, 0, 1, retention=path)
    recorded = read_record(run).scores["test"]["exact_match"]
    assert result.tests[1.0].scores["test"]["exact_match"] == recorded
    assert result.retention_of_base == pytest.approx(result.retention[0.0])
    assert result.retention[1.0]["loss"] != pytest.approx(result.retention[0.0]["loss"])


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("full", "is a run of full, which has no adapter to scale; rewind scales adapters of LoRA"),
        ("bag-of-words", "is a run of bag-of-words, which has no adapter to scale"),
        (
            "dora",
            r"is a run of dora, whose adapter is more than s·BA, so scaling s is not exact; rewind scales",
        ),
    ],
)
def test_methods_without_a_linear_scale_are_refused(study: Study, method: str, problem: str) -> None:
    with pytest.raises(Mistake, match=problem):
        rewound(study[method][0], 0.5)


def test_all_problems_are_told_at_once(study: Study, tmp_path: Path) -> None:
    run = Path(shutil.copytree(study["lora"][0], tmp_path / "run"))
    record = read_record(run)
    write_record(run, dataclasses.replace(record, data={**record.data, "sha256": "0" * 64}))
    path = tmp_path / "other.csv"
    path.write_text("text\nhere\nhere\n")
    with pytest.raises(Mistake) as caught:
        rewound(run, 0.5, retention=path)
    texts, data = caught.value.problems
    assert "at least two are needed" in texts
    assert "was trained and tested on 000000000000" in data


def test_scores_that_differ_from_the_record_are_remarked(study: Study, tmp_path: Path) -> None:
    run, log = Path(shutil.copytree(study["lora"][0], tmp_path / "run")), io.StringIO()
    record = read_record(run)
    scores = {"test": {**record.scores["test"], "accuracy": 0.123}}
    write_record(run, dataclasses.replace(record, scores=scores))
    rewound(run, 1, progress=Progress(log))
    assert "and the record says 0.1230; another machine may round otherwise" in log.getvalue()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scale": ()}, "scale"),
        ({"scale": (0.5, 0.5, 1)}, "scale names 0.5 more than once; name each scale once"),
        ({"scale": (2.1,)}, "at most 2"),
        ({"scale": (-0.1,)}, "at least 0"),
        ({"scale": (float("nan"),)}, "finite"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(Mistake, match=problem):
        RewindSettings(**{"run": tmp_path, "scale": (0.5,), **changes})


def test_columns_of_no_file_are_refused(study: Study) -> None:
    settings = RewindSettings(run=study["lora"][0], scale=(0.5,))
    with pytest.raises(Mistake, match="--label-column speaks of the file of --retention, which is not given"):
        rewind(settings, ColumnsOfTexts(label_column="topic"))


def test_scales_are_tried_in_order(tmp_path: Path) -> None:
    assert RewindSettings(run=tmp_path, scale=["1", "0.2", 0]).scale == (0.0, 0.2, 1.0)


def test_a_full_folder_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text(json.dumps([]))
    with pytest.raises(Mistake, match="is not empty; name another one with --out"):
        RewindSettings(run=tmp_path, scale=(0.5,), out=tmp_path)
