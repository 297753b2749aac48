"""Tests of runs that are measured: the same sample and the same space for every method, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lowland.deploy.study_runs import read_runs
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import no_remark
from lowland.ground.record_files import read_predictions
from lowland.measure.space import ADAPTER, FULL
from lowland.measure.subject import load_subject, missing_splits


@pytest.mark.parametrize("method", ["full", "lora", "flat-lora", "dora"])
def test_losses_are_those_of_the_recorded_predictions(study: dict[str, list[Path]], method: str) -> None:
    subject = load_subject(study[method][0], no_remark)
    space, sample = subject.space(FULL), subject.sample("test", limit=10**6, batch_size=8)
    losses = torch.cat([space.losses(space.center, batch) for batch in sample.batches]).numpy()
    table = read_predictions(study[method][0]).query("split == 'test'").set_index("example")
    assert sorted(sample.examples) == sorted(table.index)
    recorded = [
        -np.log(table.loc[example, f"p_{table.loc[example, 'label']}"]) for example in sample.examples
    ]
    np.testing.assert_allclose(losses, recorded, rtol=1e-3, atol=1e-5)


def test_full_space_is_the_same_for_every_method(study: dict[str, list[Path]]) -> None:
    shapes = [
        {
            name: tuple(weight.shape)
            for name, weight in load_subject(runs[0], no_remark).space(FULL).center.items()
        }
        for method, runs in study.items()
        if method != "bag-of-words"
    ]
    assert shapes[0]
    assert all(each == shapes[0] for each in shapes)
    assert not any("classifier" in name or "embeddings" in name for name in shapes[0])


def test_sample_is_the_same_for_every_run(study: dict[str, list[Path]]) -> None:
    samples = [
        load_subject(study[method][place], no_remark).sample("train", limit=12, batch_size=5)
        for method, place in (("full", 0), ("lora", 1))
    ]
    assert samples[0].sizes == [5, 5, 2]
    assert samples[0].groups == samples[1].groups
    np.testing.assert_array_equal(samples[0].examples, samples[1].examples)
    first, second = (torch.cat([batch["input_ids"].flatten() for batch in each.batches]) for each in samples)
    assert torch.equal(first, second)


def test_adapter_space_holds_both_factors_of_each_layer(study: dict[str, list[Path]]) -> None:
    subject = load_subject(study["lora"][0], no_remark)
    names = set(subject.space(ADAPTER).center)
    layers = {name.removesuffix(".weight") for name in subject.space(FULL).center}
    assert names == {f"{layer}.{factor}" for layer in layers for factor in ("lora_A", "lora_B")}


@pytest.mark.parametrize("method", ["full", "dora"])
def test_run_without_factors_has_no_adapter_space(study: dict[str, list[Path]], method: str) -> None:
    with pytest.raises(Mistake, match=r"no factors A and B.*--spaces full"):
        load_subject(study[method][0], no_remark).space(ADAPTER)


def test_split_that_is_not_there_is_refused(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake, match=r"no split 'tests'; it has test, train, validation"):
        load_subject(study["lora"][0], no_remark).sample("tests", limit=2, batch_size=2)


def test_bag_of_words_is_refused(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake, match="bag-of-words, which trains no network"):
        load_subject(study["bag-of-words"][0], no_remark)


def test_adapter_without_a_record_is_refused(study: dict[str, list[Path]]) -> None:
    with pytest.raises(Mistake, match=r"not the folder of a run \(it has no record.json\)"):
        load_subject(study["lora"][0] / "adapter", no_remark)


def test_run_whose_weights_are_gone_is_refused(study: dict[str, list[Path]], tmp_path: Path) -> None:
    run = shutil.copytree(study["lora"][0], tmp_path / "run")
    (run / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(Mistake, match=r"adapter_model.safetensors: missing"):
        load_subject(run, no_remark)


def test_run_in_bf16_says_that_it_is_measured_in_float32(
    study: dict[str, list[Path]], tmp_path: Path
) -> None:
    run = shutil.copytree(study["lora"][0], tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    record["environment"]["dtype"] = "bf16"
    (run / "record.json").write_text(json.dumps(record))
    remarks: list[str] = []
    subject = load_subject(run, remarks.append)
    assert remarks == ["runs trained in bf16 are measured in float32"]
    assert {weight.dtype for weight in subject.space(FULL).center.values()} == {torch.float32}


def test_decoder_is_measured_on_its_completions(first_run: Callable[[str], Path]) -> None:
    subject = load_subject(first_run("source"), no_remark)
    sample = subject.sample("test", limit=6, batch_size=4)
    space = subject.space(FULL)
    losses = torch.cat([space.losses(space.center, batch) for batch in sample.batches])
    assert len(losses) == len(sample.examples) == len(pd.unique(sample.examples))
    assert losses.isfinite().all()


def test_missing_splits_are_named_before_anything_is_measured(study: dict[str, list[Path]]) -> None:
    runs = read_runs(study["lora"])
    assert missing_splits(runs, ["train", "test"]) == []
    (sentence,) = missing_splits(runs, ["test", "nothing"])
    assert "has no split 'nothing'; it has" in sentence
