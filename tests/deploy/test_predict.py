"""A trained model, merged or not, answers as it did when it was tested."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lowland import load_adapter, merge_lora
from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.models.load import load_classifier, load_tokenizer


@pytest.fixture(params=["full", "lora", "flat-lora"])
def run(request: pytest.FixtureRequest, lowland: Callable[..., tuple], tmp_path: Path) -> Path:
    code, _, err = lowland("train", "--method", request.param, "--dtype", "fp32")
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-*")
    return folder


def test_a_run_answers_as_it_was_tested(run: Path, texts: Path) -> None:
    tested = read_predictions(run)
    inputs = pd.read_csv(texts)["text"].iloc[tested["example"]]
    answers = load(run).predict(list(inputs))
    assert list(answers["predicted"]) == list(tested["predicted"])
    columns = ["p_bad", "p_good"]
    np.testing.assert_allclose(answers[columns], tested[columns], atol=1e-5)


def test_a_merged_run_and_a_folder_with_the_merged_model_answer_the_same(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    texts = ["the firm gains", "a bank loses again", "its unit wins again again"]
    plain = load(run).predict(texts)
    if read_record(run).method == "full":
        with pytest.raises(Mistake, match="nothing to merge"):
            load(run, merge=True)
        pd.testing.assert_frame_equal(load(run / "model").predict(texts), plain)
        return
    pd.testing.assert_frame_equal(load(run, merge=True).predict(texts), plain, atol=1e-6)
    tokenizer = load_tokenizer(tiny_model)
    model = load_adapter(load_classifier(tiny_model, ["bad", "good"], tokenizer).model, run / "adapter")
    merge_lora(model, keep=False).save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    merged = load(tmp_path / "merged").predict(texts)
    pd.testing.assert_frame_equal(merged, plain, atol=1e-6)


def test_an_empty_list_of_texts_is_refused(run: Path) -> None:
    with pytest.raises(Mistake, match="there is no text to predict for"):
        load(run).predict([])


@pytest.mark.parametrize(
    ("inputs", "problems"),
    [
        (
            pd.DataFrame({"text": ["the firm gains"]}),
            ["the inputs are a DataFrame, which stands for its names"],
        ),
        ({"id": "the firm gains"}, ["the inputs are a dict, which stands for its names"]),
        ("the firm gains", ["the inputs are the text 'the firm gains'; give a list of texts"]),
        (["a", ""], ["input 2: the text is missing or empty"]),
        (
            ["a", 3, None],
            ["input 2: the text is a number; it must be text", "input 3: the text is missing or empty"],
        ),
        ([b"a"], ["input 1: the text is bytes"]),
        ([{"role": "user"}], ["input 1: the text is an object"]),
        (["cut \udcff"], ["input 1: the text holds half of a character"]),
        ([["a", "b"]], ["an input has 2 texts, and the task classification reads text"]),
    ],
)
def test_inputs_that_are_not_texts_are_refused(run: Path, inputs: list[Any], problems: list[str]) -> None:
    with pytest.raises(Mistake) as caught:
        load(run).predict(inputs)
    assert len(caught.value.problems) == len(problems)
    for actual, start in zip(caught.value.problems, problems, strict=True):
        assert actual.startswith(start)


@pytest.mark.parametrize(
    "names", [("model.safetensors", "adapter_model.safetensors"), ("config.json", "adapter_config.json")]
)
def test_weights_that_were_altered_are_refused(
    run: Path, names: tuple[str, str], lowland: Callable[..., tuple]
) -> None:
    path = run / "model" / names[0] if read_record(run).method == "full" else run / "adapter" / names[1]
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(Mistake, match=f"{path.name}: missing, or changed since the run saved it; restore it"):
        load(run)
    code, out, err = lowland("predict", str(run), "--text", "the firm gains", small=False)
    assert (code, out) == (2, "")
    assert "run again with --fresh" in err
    path.write_bytes(content)
    load(run).predict(["the firm gains"])


def test_another_base_model_is_refused(run: Path, tiny_model: Path) -> None:
    if read_record(run).method == "full":
        pytest.skip("a full run brings its own weights")
    weights = tiny_model / "model.safetensors"
    genuine = weights.read_bytes()
    try:
        weights.write_bytes(genuine[:-4] + bytes(4))
        with pytest.raises(Mistake, match="was trained on"):
            load(run)
    finally:
        weights.write_bytes(genuine)


def test_a_folder_without_a_run_or_weights_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="neither a run"):
        load(tmp_path)
    with pytest.raises(Mistake, match="nowhere does not exist"):
        load(tmp_path / "nowhere")
    for subfolder in ("adapter", "model"):
        shutil.rmtree(run / subfolder, ignore_errors=True)
    with pytest.raises(Mistake, match="missing, or changed since the run saved it"):
        load(run)


def test_an_adapters_folder_answers_as_its_run(lowland: Callable[..., tuple], tmp_path: Path) -> None:
    code, _, err = lowland("train", "--method", "lora", "--dtype", "fp32")
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-lora-*")
    texts = ["the firm gains", "a bank loses again"]
    plain = load(folder).predict(texts)
    for merge in (False, True):
        alone = load(folder / "adapter", merge=merge).predict(texts)
        np.testing.assert_allclose(alone[["p_LABEL_0", "p_LABEL_1"]], plain[["p_bad", "p_good"]], atol=1e-6)


@pytest.mark.parametrize("method", ["dora", "ia3"])
def test_a_run_of_an_adapter_of_pefts_is_served_but_not_merged(
    lowland: Callable[..., tuple], tmp_path: Path, texts: Path, method: str
) -> None:
    code, _, err = lowland("train", "--method", method, "--dtype", "fp32")
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob(f"classification-{method}-*")
    tested = read_predictions(folder)
    inputs = pd.read_csv(texts)["text"].iloc[tested["example"]]
    answers = load(folder).predict(list(inputs))
    np.testing.assert_allclose(answers[["p_bad", "p_good"]], tested[["p_bad", "p_good"]], atol=1e-5)
    with pytest.raises(Mistake, match="LoRA and rsLoRA can be loaded"):
        load(folder, merge=True)
