"""Model cards: their programs run, their numbers are the record's, and their header is what the hub reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from transformers import AutoTokenizer, pipeline

import lowland as package
from lowland.ground.record_files import read_predictions, read_record
from lowland.report.card import CARD, _interval, kind_of, model_card, write_cards

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["the firm gains", "a bank falls"]


@pytest.fixture
def trained(lowland: Run, tmp_path: Path) -> Callable[[str], Path]:
    def train(method: str) -> Path:
        code, _, err = lowland("train", "--method", method, "--seed", "7", "--dtype", "fp32")
        assert code == 0, err
        (folder,) = (tmp_path / "runs").glob(f"classification-{method}-s7-*")
        return folder

    return train


def programs(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)\n```", card, flags=re.DOTALL)


def run_program(program: str, changes: dict[str, str]) -> tuple[dict[str, Any], str]:
    for before, after in changes.items():
        program = program.replace(before, after)
    names: dict[str, Any] = {}
    with redirect_stdout(StringIO()) as out:
        exec(program, names)
    return names, out.getvalue()


def test_programs_for_an_adapter_give_the_runs_predictions(
    trained: Callable[[str], Path], lowland: Run, tmp_path: Path
) -> None:
    folder = trained("lora")
    expected = package.load(folder).predict(TEXTS)
    by_lowland, by_peft, merged = programs((folder / CARD).read_text("utf-8"))
    _, printed = run_program(by_lowland, {"RUN": str(folder), "[…]": repr(TEXTS)})
    assert printed.strip() == str(expected).strip()

    names, _ = run_program(by_peft, {"RUN": str(folder)})
    tokenizer = AutoTokenizer.from_pretrained(read_record(folder).model["name"])
    logits = names["model"](**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    labels = [names["model"].config.id2label[int(number)] for number in logits.argmax(1)]
    assert labels == list(expected["predicted"])
    np.testing.assert_allclose(
        logits.softmax(1).detach()[:, 0], expected[f"p_{names['labels'][0]}"], atol=1e-5
    )

    code, _, err = lowland("merge", str(folder), "--out", str(tmp_path / "merged"), small=False)
    assert code == 0, err
    names, _ = run_program(merged, {'"merged"': f'"{tmp_path / "merged"}"', "…": repr(TEXTS)})
    answers = names["model"](TEXTS)
    assert [answer["label"] for answer in answers] == list(expected["predicted"])


def test_programs_for_a_complete_model_give_the_runs_predictions(trained: Callable[[str], Path]) -> None:
    folder = trained("full")
    expected = package.load(folder).predict(TEXTS)
    _, by_transformers = programs((folder / CARD).read_text("utf-8"))
    names, _ = run_program(by_transformers, {"RUN": str(folder), "…": repr(TEXTS)})
    assert [answer["label"] for answer in names["model"](TEXTS)] == list(expected["predicted"])
    assert isinstance(names["model"], type(pipeline("text-classification", model=str(folder / "model"))))


def test_scores_are_the_records_and_the_interval_is_that_of_the_examples(
    trained: Callable[[str], Path],
) -> None:
    folder = trained("lora")
    record, card = read_record(folder), (folder / CARD).read_text("utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| test") and "accuracy" in line)
    _, split, name, value, interval, majority, _ = map(str.strip, row.split("|"))
    assert (split, name, value) == ("test", "accuracy", f"{record.scores['test']['accuracy']:.4f}")
    assert majority == f"{record.baseline['majority']['test']['accuracy']:.4f}"
    scores = read_predictions(folder).query("split == 'test'")["score"].to_numpy()
    reach = stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / len(scores) ** 0.5
    low, high = (float(end) for end in interval.split(" to "))
    assert low == pytest.approx(max(scores.mean() - reach, 0), abs=1e-4)
    assert high == pytest.approx(min(scores.mean() + reach, 1), abs=1e-4)


def test_header_is_what_the_hub_reads(trained: Callable[[str], Path]) -> None:
    folder = trained("lora")
    _, header, _ = (folder / CARD).read_text("utf-8").split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["library_name"] == "peft"
    assert values["pipeline_tag"] == "text-classification"
    assert {"lowland", "lora"} <= set(values["tags"])
    (entry,) = values["model-index"]
    metrics = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert metrics["accuracy"] == round(read_record(folder).scores["test"]["accuracy"], 4)


def test_card_of_the_user_is_kept_and_a_run_without_weights_has_none(
    trained: Callable[[str], Path], lowland: Run, tmp_path: Path
) -> None:
    folder = trained("lora")
    (folder / CARD).write_text("mine")
    write_cards([folder])
    assert (folder / CARD).read_text() == "mine"
    lowland("train", "--method", "lora", "--seed", "8", "--no-keep-weights")
    (other,) = (tmp_path / "runs").glob("classification-lora-s8-*")
    assert not (other / CARD).exists()
    code, _, err = lowland("study", "rm", str(folder), "--yes", small=False)
    assert code == 0, err
    assert not folder.exists()


def test_texts_of_others_are_escaped(trained: Callable[[str], Path]) -> None:
    folder = trained("lora")
    record = read_record(folder)
    record.remarks.append("two labels for <b>one</b> text | [link](x)")
    record.data["labels"] = ["a|b", "`c`"]
    card = model_card(folder, record)
    assert r"\<b\>one\</b\> text \| \[link\](x)" in card
    assert r"labels: a\|b, \`c\`" in card


def test_decoder_that_answers_by_words_is_used_by_lowland_alone(trained: Callable[[str], Path]) -> None:
    folder = trained("lora")
    record = read_record(folder)
    record.asked["task"]["head"] = "verbalizer"
    assert kind_of(record) is None
    assert len(programs(model_card(folder, record))) == 1


def test_adapter_that_cannot_be_merged_has_no_program_for_it(trained: Callable[[str], Path]) -> None:
    card = (trained("dora") / CARD).read_text("utf-8")
    assert len(programs(card)) == 2
    assert "lowland merge" not in card


def test_interval_of_a_share_stays_in_0_to_1() -> None:
    examples = pd.DataFrame({"score": [1.0] * 19 + [0.0], "group": [f"g{n}" for n in range(20)]})
    low, high = _interval(examples).split(" to ")
    assert high == "1.0000"
    assert 0.8 < float(low) < 0.95
    assert _interval(examples.assign(score=1 - examples["score"])).startswith("0.0000 to ")
    raw = _interval(examples.assign(score=examples["score"] * 10))  # no share: nothing is cut off
    assert float(raw.split(" to ")[1]) > 10
