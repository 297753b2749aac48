"""What all tasks that write text share: scores, what a model learns to write, and the same record twice."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.ground.records import RunRecord
from lowland.lora import lora_layers
from lowland.models.find import find_model
from lowland.tasks.examples import Setup, Split
from lowland.tasks.generation import check_targets, with_end, written_alike
from lowland.tasks.table import TASKS, load_data, task_fields
from lowland.train.fit import fit
from tests.conftest import job_of
from tests.generation_runs import TOYS, trained
from tests.language_models import END, characters, language_model, save

TASK = TASKS["text-to-text"]


def split_of(*targets: str) -> Split:
    blank = ("",) * len(targets)
    return Split({"source": blank, "target": targets}, np.arange(len(targets)), blank, blank)


# Scores


@pytest.mark.parametrize(
    ("text", "target", "same"),
    [
        ("a b", "a b", True),
        (" a  b\n", "a b", True),
        ("a\u00a0b", "a b", True),
        (unicodedata.normalize("NFD", "café"), "café", True),
        ("A b", "a b", False),
        ("a b.", "a b", False),
        ("", "a", False),
        ("ﬁ", "fi", False),
    ],
)
def test_exact_match_forgives_spaces_and_unicode_forms_alone(text: str, target: str, same: bool) -> None:
    answers = pd.DataFrame({"predicted": [text]})
    assert TASK.score_examples(split_of(target), answers).tolist() == [float(same)]
    assert (written_alike(text) == written_alike(target)) is same


def test_perplexity_is_that_of_a_token_of_all_targets() -> None:
    answers = pd.DataFrame({"predicted": ["a", "x"], "nll": [2.0, 7.0], "count": [1.0, 2.0]})
    scores = TASK.summarise(split_of("a", "b"), answers)
    assert scores == {"exact_match": 0.5, "perplexity": pytest.approx(math.exp(9 / 3))}
    assert list(scores) == list(TASK.scores)
    assert TASK.summarise(split_of("a", "b"), answers[["predicted"]]) == {"exact_match": 0.5}
    hopeless = answers.assign(nll=[1e4, 1e4], count=[1.0, 1.0])
    assert TASK.summarise(split_of("a", "b"), hopeless)["perplexity"] == math.inf
    without_targets = answers.assign(nll=[0.0, 0.0], count=[0.0, 0.0])
    assert math.isnan(TASK.summarise(split_of("a", "b"), without_targets)["perplexity"])


def test_the_table_of_predictions_holds_targets_replies_and_likelihoods() -> None:
    answers = pd.DataFrame({"predicted": ["a", "x"], "nll": [2.0, 7.0], "count": [1.0, 2.0]})
    table = TASK.predictions("test", split_of("a", "b"), answers)
    assert list(table) == [
        "split", "example", "group", "category", "score", "text", "target", "predicted", "nll", "count",
    ]  # fmt: skip
    assert table["score"].tolist() == [1.0, 0.0]


def test_a_model_that_always_writes_the_same_is_named() -> None:
    def remarks(predicted: list[str], targets: list[str]) -> list[str]:
        return list(TASK.remarks(split_of(*targets), pd.DataFrame({"predicted": predicted})))

    targets = ["a", "b"] * 6
    assert remarks(["a"] * 12, targets) == [
        "the model writes 'a' for every example; try a higher lr or more epochs"
    ]
    assert remarks([""] * 12, targets)[0].startswith("the model writes nothing for every example")
    assert remarks(["a"] * 11 + ["b"], targets) == []
    assert remarks(["a"] * 12, ["a"] * 12) == []
    assert remarks(["a"] * 9, targets[:9]) == []


def test_the_end_of_text_is_put_behind_a_target_once() -> None:
    tokenizer = characters()
    assert with_end([7, 8], tokenizer) == with_end([7, 8, END], tokenizer) == [7, 8, END]
    assert with_end([], tokenizer) == [END]
    tokenizer.eos_token = None
    with pytest.raises(Mistake, match="has no token that ends a text; give it an eos_token and save it"):
        with_end([7], tokenizer)


def test_one_per_cent_may_be_without_a_target() -> None:
    check_targets(1, 100, "completion", 8)
    check_targets(0, 0, "completion", 8)
    with pytest.raises(Mistake, match=r"1 example of 99 \(1%\) have a completion that is cut off entirely"):
        check_targets(1, 99, "completion", 8)


def test_tokens_of_batches_of_different_lengths_are_decoded() -> None:
    ids = characters()("ab")["input_ids"]
    tokens = np.array([[*ids, END, -100, -100], [*ids, *ids, END]], float)
    setup = Setup(task_fields("text-to-text"), characters(), 40)
    answers = TASK.decode({"tokens": tokens, "nll": np.ones(2), "count": np.ones(2)}, None, setup)
    assert answers["predicted"].tolist() == ["ab", "abab"]
    assert list(answers) == ["predicted", "nll", "count"]


# Learning


def check_learned(run: Path, tokens: int) -> None:
    """Check that a run writes the answers exactly, and that its scores are those of its predictions."""
    record, predictions = read_record(run), read_predictions(run)
    assert record.scores["test"]["exact_match"] > 0.9  # a quarter would be right by chance
    assert record.scores["test"]["perplexity"] < 1.5
    assert predictions["score"].mean() == record.scores["test"]["exact_match"]
    perplexity = np.exp(predictions["nll"].sum() / predictions["count"].sum())
    assert record.scores["test"]["perplexity"] == pytest.approx(perplexity)
    assert (predictions["count"] == tokens).all()
    assert list(record.validation) == ["exact_match", "perplexity", "loss"]


@pytest.mark.parametrize(("name", "tokens"), [("source", 3), ("prompt", 4)])  # with the space and the end
def test_a_model_learns_to_write_the_answers_exactly(
    name: str, tokens: int, first_run: Callable[[str], Path]
) -> None:
    check_learned(first_run(name), tokens)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_model_learns_from_packed_rows(family: str, tmp_path: Path) -> None:
    toy = TOYS["prompt"]
    packed = replace(toy, fields={**toy.fields, "packing": True})
    model = save(language_model(family), tmp_path / "model")
    changes = {"epochs": 4, "batch_size": 2, "max_length": 45}
    (run,) = trained(packed, tmp_path, model, [{"full": {"lr": 0.01}}], **changes)
    check_learned(run, 4)


# Invariants


TOY = TOYS["prompt"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights."""
    return save(language_model("llama"), tmp_path_factory.mktemp("random"))


def comparable(record: RunRecord) -> dict[str, Any]:
    """What does not depend on time and place."""
    names = ("key", "data", "model", "scores", "validation", "files", "parameters", "remarks")
    return {name: getattr(record, name) for name in names}


def test_the_same_seed_gives_the_same_record(model: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        runs += trained(TOY, tmp_path / name, model, ["flat-lora"], seeds=[seed], epochs=1, rank=2, lr=0.01)
    first, second, third = (comparable(read_record(run)) for run in runs)
    assert first == second
    assert first["files"] != third["files"]
    pd.testing.assert_frame_equal(read_predictions(runs[0]), read_predictions(runs[1]))


@pytest.mark.parametrize("packing", [False, True])
def test_without_noise_flat_lora_is_lora_to_the_bit(model: Path, tmp_path: Path, packing: bool) -> None:
    fields = {**TOY.write(tmp_path), "packing": packing}
    data, source = load_data(task_fields(**fields)), find_model(str(model))

    def learned(method: str, **own: float) -> dict[str, Tensor]:
        job = job_of(method, data, source, own=own, task=fields, epochs=1, rank=2, lr=0.01, max_length=64)
        layers = lora_layers(fit(job).adapted.model)
        return {
            f"{name}.{part}": getattr(layer, part) for name, layer in layers for part in ("lora_A", "lora_B")
        }

    lora, without, noisy = learned("lora"), learned("flat-lora", rho=0.0), learned("flat-lora", rho=0.2)
    assert lora.keys() == without.keys()
    assert all(torch.equal(value, without[name]) for name, value in lora.items())
    assert not any(torch.equal(value, noisy[name]) for name, value in lora.items())


@pytest.mark.parametrize("method", ["lora", "flat-lora", "full"])
def test_a_run_in_bf16(model: Path, tmp_path: Path, method: str) -> None:
    adapter = {} if method == "full" else {"rank": 2}
    records = []
    for dtype in ("fp32", "bf16"):
        (run,) = trained(
            TOY, tmp_path / dtype, model, [{method: {"lr": 0.01}}], dtype=dtype, epochs=1, **adapter
        )
        records.append(read_record(run))
    expected, scores = (record.scores["test"] for record in records)
    assert scores["perplexity"] == pytest.approx(expected["perplexity"], rel=0.05)
    assert scores != expected
