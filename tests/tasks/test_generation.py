"""What all tasks that write text share: scores, what a model learns to write, and the same record twice."""

from __future__ import annotations

import json
import math
import unicodedata
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
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.base import Setup, Split
from lowland.tasks.generation import check_targets, with_end, written_alike
from lowland.tasks.table import TASKS, load_data, task_fields
from lowland.train.fit import fit
from tests.conftest import job_of
from tests.language_models import END, characters, language_model, save

TASK = TASKS["text-to-text"]
LETTERS = "abcdefgh"


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


def test_the_table_of_predictions_holds_targets_replies_and_likelihoods() -> None:
    answers = pd.DataFrame({"predicted": ["a", "x"], "nll": [2.0, 7.0], "count": [1.0, 2.0]})
    table = TASK.predictions("test", split_of("a", "b"), answers)
    assert list(table) == [
        "split", "example", "group", "category", "score", "target", "predicted", "nll", "count",
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


def toy(task: str, folder: Path) -> dict[str, Any]:
    """A file of texts in which a letter is to be written twice."""
    inner = [a + b for a in LETTERS for b in LETTERS[:6]]
    if task == "text-to-text":
        rows = [
            {"source": f"{letter}{word}", "target": letter * 2} for word in inner for letter in LETTERS[:4]
        ]
    else:
        rows = [
            {"prompt": f"{word} {letter}", "completion": letter * 2}
            for word in inner
            for letter in LETTERS[:4]
        ]
    path = folder / "toy.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": task, "data": str(path), "max_new_tokens": 4, "validation_share": 0.05, "test_share": 0.1}


def run_of(model: Path, task: dict[str, Any], folder: Path, method: Any, **changes: Any) -> Path:
    values = {"seeds": [1], "dtype": "fp32", "out": str(folder / "runs"), "batch_size": 16, **changes}
    (run,) = run_study(Recipe(task=task, model=str(model), methods=[method], **values))
    record = read_record(run)
    assert record.status == "finished", record.failure
    return run


@pytest.mark.parametrize(
    ("task", "family", "packing", "epochs", "lr"),
    [
        ("text-to-text", "t5", False, 30, 0.005),
        ("instruction", "llama", False, 4, 0.01),
        ("instruction", "llama", True, 4, 0.01),
        ("instruction", "gemma3", True, 4, 0.01),
    ],
)
def test_a_model_learns_to_write_the_answers_exactly(
    task: str, family: str, packing: bool, epochs: int, lr: float, tmp_path: Path
) -> None:
    fields = toy(task, tmp_path) | ({"packing": True} if packing else {})
    changes = {"epochs": epochs, "batch_size": 16 if task == "text-to-text" else 4}
    if packing:
        changes |= {"max_length": 24, "batch_size": 2}
    run = run_of(
        save(language_model(family), tmp_path / "model"), fields, tmp_path, {"full": {"lr": lr}}, **changes
    )
    record, predictions = read_record(run), read_predictions(run)
    assert record.scores["test"]["exact_match"] > 0.9  # a quarter would be right by chance
    assert record.scores["test"]["perplexity"] < 1.5
    assert predictions["score"].mean() == record.scores["test"]["exact_match"]
    perplexity = np.exp(predictions["nll"].sum() / predictions["count"].sum())
    assert record.scores["test"]["perplexity"] == pytest.approx(perplexity)
    assert (predictions["count"] == (3 if task == "text-to-text" else 4)).all()  # with space and end
    assert list(record.validation) == ["exact_match", "perplexity", "loss"]


# Invariants


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A Llama with random weights, and a toy task."""
    root = tmp_path_factory.mktemp("untrained")
    return save(language_model("llama"), root / "model"), toy("instruction", root)


def comparable(record: RunRecord) -> dict[str, Any]:
    values = {
        name: getattr(record, name)
        for name in ("key", "asked", "data", "model", "scores", "validation", "files")
    }
    values["asked"] = {**record.asked, "out": None}
    return values


def test_the_same_seed_gives_the_same_record(untrained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model, task = untrained
    runs = [
        run_of(model, task, tmp_path / name, "flat-lora", seeds=[seed], epochs=1, rank=2, lr=0.01)
        for name, seed in (("first", 1), ("second", 1), ("third", 2))
    ]
    first, second, third = (comparable(read_record(run)) for run in runs)
    assert first == second
    assert first["files"] != third["files"]
    pd.testing.assert_frame_equal(read_predictions(runs[0]), read_predictions(runs[1]))


@pytest.mark.parametrize("packing", [False, True])
def test_without_noise_flat_lora_is_lora_to_the_bit(
    untrained: tuple[Path, dict[str, Any]], tmp_path: Path, packing: bool
) -> None:
    model, task = untrained
    shared = {"epochs": 1, "rank": 2, "lr": 0.01, "max_length": 40, "packing": packing}
    learned = {}
    for name, own in (("lora", {}), ("flat-lora", {"rho": 0.0}), ("noisy", {"rho": 0.2})):
        method = "flat-lora" if name == "noisy" else name
        learned[name] = adapter_of(method, own, model, task, shared)
    assert learned["lora"].keys() == learned["flat-lora"].keys()
    assert all(torch.equal(value, learned["flat-lora"][name]) for name, value in learned["lora"].items())
    assert not all(torch.equal(value, learned["noisy"][name]) for name, value in learned["lora"].items())


def adapter_of(
    method: str, own: dict[str, Any], model: Path, task: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Tensor]:
    """A and B of each layer after training."""
    values = dict(shared)
    fields = {**task, "packing": values.pop("packing")}
    data = load_data(task_fields(**fields))
    fitted = fit(job_of(method, data, find_model(str(model)), own=own, task=fields, **values))
    layers = lora_layers(fitted.adapted.model)
    return {f"{name}.{part}": getattr(layer, part) for name, layer in layers for part in ("lora_A", "lora_B")}


@pytest.mark.parametrize("method", ["lora", "flat-lora", "full"])
def test_a_run_in_bf16(untrained: tuple[Path, dict[str, Any]], tmp_path: Path, method: str) -> None:
    model, task = untrained
    adapter = {} if method == "full" else {"rank": 2}
    run = run_of(model, task, tmp_path, {method: {"lr": 0.01}}, dtype="bf16", epochs=1, **adapter)
    plain = run_of(model, task, tmp_path, {method: {"lr": 0.01}}, epochs=1, **adapter)
    scores, expected = (read_record(each).scores["test"] for each in (run, plain))
    assert scores["perplexity"] == pytest.approx(expected["perplexity"], rel=0.05)
    assert scores != expected
