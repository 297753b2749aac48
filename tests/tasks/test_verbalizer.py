"""Classification by a decoder's label words: texts as the template writes them, runs from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions
from lowland.tasks.examples import Setup
from lowland.tasks.table import TASKS, task_fields
from lowland.tasks.verbalizer import template_of
from tests.language_models import SHAPES, characters, long_decoder, save

COLUMNS = {"text": ["profit rose", "the sales of the firm fell far below all that its owners had hoped"]}


def setup_of(max_length: int = 200, **fields: str) -> Setup:
    checked = task_fields("classification", data="x.csv", head="verbalizer", **fields)
    return Setup(checked, characters(), max_length, ("bad", "good"))


def written(setup: Setup) -> list[str]:
    encoded = TASKS["classification"].encode(COLUMNS, setup, "predict")
    return [setup.tokenizer.decode(ids) for ids in encoded.rows["input_ids"]]


def test_an_example_is_written_by_the_template() -> None:
    assert written(setup_of())[0] == "profit rose\nLabel: "
    assert written(setup_of(template="News: {text}\\nMood:"))[0] == "News: profit rose\nMood: "
    assert (
        template_of(task_fields("mrpc", head="verbalizer"), ("first", "second"))
        == "{first}\n{second}\nLabel:"
    )


def test_a_long_text_loses_its_end_and_not_the_templates() -> None:
    setup = setup_of(max_length=30)
    short, long = written(setup)
    assert short == "profit rose\nLabel: "
    assert len(long) == 30
    assert long.startswith("the sales of the firm")
    assert long.endswith("\nLabel: ")
    truncation = TASKS["classification"].encode(COLUMNS, setup, "predict").truncation
    assert (truncation.inputs, truncation.cut) == (2, 1)
    assert truncation.tokens_lost == len(COLUMNS["text"][1]) + len("\nLabel: ") - 30


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_at_the_left_changes_nothing(shape: str) -> None:
    setup, task = setup_of(), TASKS["classification"]
    model = task.with_head(long_decoder(shape), setup)
    encoded = task.encode({**COLUMNS, "label": ["good", "bad"]}, setup, "evaluate")
    collate = task.collator(setup, model)
    with torch.no_grad():
        together = model(**collate([encoded[0], encoded[1]])).logits
        alone = torch.cat([model(**collate([encoded[row]])).logits for row in (0, 1)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_template_without_the_verbalizer_or_the_texts_place_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="only the verbalizer reads it; add --head verbalizer"):
        task_fields("classification", data="x.csv", template="{text} Mood:")
    with pytest.raises(Mistake, match=r"lacks \{text\}"):
        written(setup_of(template="Mood:"))


def test_a_run_learns_answers_and_merges(
    tmp_path: Path, texts: Path, lowland: Callable[..., tuple[int, str, str]]
) -> None:
    base = save(long_decoder("llama"), tmp_path / "llama")
    options = ("--head", "verbalizer", "--model", str(base), "--seeds", "1", "--methods", "flat-lora")
    code, out, err = lowland("compare", *options, "--epochs", "8", "--lr", "0.005")
    assert code == 0, err
    run = next((tmp_path / "runs").glob("classification-flat-lora-*"))
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM"
    assert not config["modules_to_save"]
    table = read_predictions(run)
    assert table["score"].mean() > 0.9
    np.testing.assert_allclose(table["p_bad"] + table["p_good"], 1, rtol=1e-6)
    code, out, err = lowland("predict", str(run), "--text", "the firm rises", "a bank loses")
    assert [line.split(",")[1] for line in out.splitlines()[1:]] == ["good", "bad"], err
    code, out, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    predictors = (load(run), load(run, merge=True), load(tmp_path / "merged"))
    rows: list[Any] = [predictor.predict(["the firm rises"])["p_good"][0] for predictor in predictors]
    assert rows == pytest.approx([rows[0]] * 3, abs=1e-5)
    code, out, err = lowland("check", "--adapter", str(run))
    assert code == 0, out


def test_a_model_without_a_decoder_is_named(lowland: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = lowland("compare", "--head", "verbalizer", "--methods", "lora", "--seeds", "1")
    assert code == 2
    assert "are not those of a decoder (such as Gemma, Llama or GPT-2)" in err
