"""Runs that write text, from the command line: trained, asked, merged, checked."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lowland
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from tests.generation_runs import TEMPLATE, TOYS, Toy
from tests.language_models import characters

Command = Callable[..., tuple[int, str, str]]
METHODS = ("full", "lora", "flat-lora")
SMALL = ("--dtype", "fp32", "--max-length", 64, "--epochs", 1, "--lr", 0.001, "--rank", 2, "--seeds", 1)


@dataclass(frozen=True)
class Study:
    """A toy, its file, the model that has learned it, and a run of each method from that model on."""

    toy: Toy
    data: Path
    model: Path
    runs: dict[str, Path]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    from lowland.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    return run


def options_of(task: dict[str, Any]) -> list[str]:
    names = {name: "--task" if name == "name" else f"--{name.replace('_', '-')}" for name in task}
    return [part for name, value in task.items() for part in (names[name], str(value))]


@pytest.fixture(scope="module", params=TOYS)
def study(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, first_run: Callable[[str], Path]
) -> Study:
    from lowland.cli.main import main

    toy, root = TOYS[request.param], tmp_path_factory.mktemp(request.param)
    model, task = first_run(request.param) / "model", toy.write(root)
    out = root / "runs"
    arguments = [*options_of(task), "--model", model, "--methods", *METHODS, *SMALL, "--out", out]
    assert main(["compare", *map(str, arguments)]) == 0
    runs = {read_record(path.parent).method: path.parent for path in out.glob("*/record.json")}
    assert runs.keys() == set(METHODS)
    return Study(toy, root / "toy.jsonl", model, runs)


def examples_of(study: Study, method: str) -> tuple[list[Any], pd.DataFrame]:
    """The inputs of the test examples without earlier turns, and the predictions that the record has for them."""
    rows, predictions = study.toy.rows, read_predictions(study.runs[method])
    if "messages" in rows[0]:  # two examples a chat, the first without a history
        predictions = predictions[predictions["example"] % 2 == 0].reset_index(drop=True)
        return [rows[number // 2]["messages"][0]["content"] for number in predictions["example"]], predictions
    column = study.toy.fields.get("source_column") or study.toy.fields["prompt_column"]
    return [rows[number][column] for number in predictions["example"]], predictions


def test_a_study_says_how_many_texts_were_written_exactly(study: Study) -> None:
    for run in study.runs.values():
        record, predictions = read_record(run), read_predictions(run)
        assert list(record.scores["test"]) == ["exact_match", "perplexity"]
        assert record.scores["test"]["exact_match"] == predictions["score"].mean() > 0.85
        targets = ["target"] if study.toy.name == "text-to-text" else ["completion"]
        own = [*targets, "predicted", "nll", "count"]
        assert list(predictions) == ["split", "example", "group", "category", "score", "text", *own]
        assert record.data["labels"] == []
        known = predictions[targets[0]].value_counts()  # all four targets are about as frequent
        assert 0 < record.baseline["most frequent"]["test"]["exact_match"] <= known.max() / known.sum()
        assert list(record.baseline["most frequent"]["test"]) == ["exact_match"]  # it has no perplexity


@pytest.mark.parametrize("method", METHODS)
def test_a_run_writes_as_it_was_tested(study: Study, command: Command, method: str, tmp_path: Path) -> None:
    run = study.runs[method]
    texts, predictions = examples_of(study, method)
    answers = lowland.load(run).predict(texts)
    column = "source" if study.toy.name == "text-to-text" else "prompt"
    assert list(answers) == [column, "predicted"]
    assert list(answers["predicted"]) == list(predictions["predicted"])
    assert list(lowland.load(run).predict(texts, batch_size=1)["predicted"]) == list(predictions["predicted"])
    code, out, err = command("predict", run, "--text", *texts[:2])
    assert (code, err) == (0, "")
    rows = zip(texts[:2], predictions["predicted"][:2], strict=True)
    assert out.splitlines() == [f"{column},predicted", *(f"{text},{reply}" for text, reply in rows)]


def test_a_file_is_answered_as_json_lines_and_scored(study: Study, command: Command, tmp_path: Path) -> None:
    if "messages" in study.toy.rows[0]:
        pytest.skip("see the test on chats")
    fields, out = study.toy.fields, tmp_path / "answers.jsonl"
    label = fields.get("target_column") or fields["completion_column"]
    code, printed, err = command(
        "predict", study.runs["lora"], "--data", study.data, "--label-column", label, "--out", out
    )
    assert (code, printed) == (0, "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [{name: row[name] for name in row if name != "predicted"} for row in rows] == list(study.toy.rows)
    right = sum(row["predicted"] == row[label] for row in rows) / len(rows)
    assert right > 0.85
    assert err == f"{len(rows)} rows: exact_match {right:.4f}\n"
    code, _, err = command("predict", study.runs["lora"], "--data", study.data, "--out", out)
    assert (code, "answers.jsonl exists" in err) == (2, True)


def test_each_turn_of_a_file_of_chats_is_answered_as_it_was_tested(
    study: Study, command: Command, tmp_path: Path
) -> None:
    if "messages" not in study.toy.rows[0]:
        pytest.skip("no chats")
    run, out = study.runs["lora"], tmp_path / "replies.jsonl"
    code, printed, err = command("predict", run, "--data", study.data, "--out", out)
    assert (code, printed) == (0, "")
    rows = pd.read_json(out, lines=True, dtype=False)
    assert list(rows) == ["history", "prompt", "completion", "predicted"]
    assert len(rows) == 2 * len(study.toy.rows)
    predictions = read_predictions(run)
    assert list(rows["predicted"][predictions["example"]]) == list(predictions["predicted"])
    assert list(rows["completion"][predictions["example"]]) == list(predictions["completion"])
    right = (rows["predicted"] == rows["completion"]).mean()
    code, _, err = command("predict", run, "--data", study.data, "--label-column", "completion")
    assert (code, err) == (0, f"{len(rows)} rows: exact_match {right:.4f}\n")
    code, _, err = command("predict", run, "--data", study.data, "--label-column", "messages")
    assert code == 2
    assert "whose completions are the column completion, not 'messages'" in err


def test_a_chat_that_ends_with_the_user_is_answered_and_cannot_be_scored(
    study: Study, command: Command, tmp_path: Path
) -> None:
    if "messages" not in study.toy.rows[0]:
        pytest.skip("no chats")
    chats = [row["messages"] for row in study.toy.rows[:3]]
    path, whole = tmp_path / "open.jsonl", tmp_path / "whole.jsonl"
    path.write_text("".join(json.dumps({"messages": chat[:3]}) + "\n" for chat in chats))
    whole.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    run = study.runs["lora"]
    code, out, err = command("predict", run, "--data", path)
    assert (code, err) == (0, "")
    answers = pd.read_csv(io.StringIO(out))
    assert list(answers["prompt"]) == [chat[2]["content"] for chat in chats]
    assert answers["completion"].isna().all()
    whole_answers = pd.read_csv(io.StringIO(command("predict", run, "--data", whole)[1]))
    assert list(answers["predicted"]) == list(whole_answers["predicted"][1::2])
    code, _, err = command("predict", run, "--data", path, "--label-column", "completion")
    assert code == 2
    assert "3 chats of" in err
    assert "end with the user's turn, so there is nothing to score against" in err


@pytest.mark.parametrize("method", ["lora", "flat-lora"])
def test_a_merged_model_writes_as_its_run(
    study: Study, command: Command, method: str, tmp_path: Path
) -> None:
    run, merged = study.runs[method], tmp_path / "merged"
    code, out, err = command("merge", run, "--out", merged)
    assert code == 0, err
    assert f"validation texts of the run's task {study.toy.name}" in out
    report = json.loads((merged / "merge_report.json").read_text())
    assert report["task"] == study.toy.name
    assert report["setup"]["max_length"] == 64
    assert report["setup"]["fields"].items() >= {**study.toy.fields, "max_new_tokens": 8}.items()
    assert report["setup"]["fields"]["data"] is None  # the folder may be given to others
    assert report["effect"]["largest"] > 2 * report["logits"]["largest"]
    texts, predictions = examples_of(study, method)
    assert list(lowland.load(merged).predict(texts)["predicted"]) == list(predictions["predicted"])
    code, out, err = command("predict", merged, "--data", study.data)
    assert code == 0, err
    written = sum(len(row.get("messages", (1, 1))) // 2 for row in study.toy.rows)
    assert len(out.splitlines()) == 1 + written


def test_a_merge_is_compared_on_the_turns_before_a_prompt_too(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lowland.deploy.merge import merging
    from tests.deploy.merge.merged import merge

    seen = []
    compare = merging.compare
    monkeypatch.setattr(merging, "compare", lambda *values: seen.append(values[-1]) or compare(*values))
    merge(study.runs["lora"], tmp_path / "merged")
    (texts,) = seen
    column = "source" if study.toy.name == "text-to-text" else "prompt"
    assert set(texts.columns) == {column} | ({"history"} if study.toy.name == "instruction" else set())
    if "messages" in study.toy.rows[0]:
        assert any(texts.columns["history"])


def test_a_merge_report_without_the_runs_setup_is_read_with_defaults(study: Study, tmp_path: Path) -> None:
    from tests.deploy.merge.merged import merge

    merge(study.runs["lora"], tmp_path / "merged")
    path = tmp_path / "merged" / "merge_report.json"
    report = json.loads(path.read_text())
    for setup in (None, {}, {"fields": 3}):
        path.write_text(json.dumps({**report, "setup": setup}))
        predictor = lowland.load(tmp_path / "merged")
        assert predictor.task.name == study.toy.name
        assert predictor.setup.fields == type(predictor.setup.fields)(name=study.toy.name)
    path.write_text(json.dumps({**report, "task": None}))
    with pytest.raises(Mistake, match="fine-tune it first"):
        lowland.load(tmp_path / "merged")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of PEFT, on the embeddings
def test_the_checklist_of_a_run(study: Study, command: Command) -> None:
    code, out, err = command("check", "--adapter", study.runs["lora"])
    assert (code, err) == (0, ""), out
    assert out.count("\nok") + out.startswith("ok") >= 8


def test_an_adapter_without_its_run_is_refused(study: Study, command: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(study.runs["lora"] / "adapter", tmp_path / "adapter")
    code, out, err = command("predict", folder, "--text", "a")
    assert (code, out) == (2, "")
    assert "and no record says what it writes; name the folder of its run" in err


def test_a_run_reads_prompts_by_its_own_template(study: Study) -> None:
    if study.toy.name == "text-to-text":
        return
    encoded = lowland.load(study.runs["lora"]).encode({"prompt": ["ab c"]})
    written = {"Q: {prompt}\nA:": "Q: ab c\nA:", TEMPLATE: "[user] ab c ##\n[assistant] "}
    assert characters().decode(encoded.rows["input_ids"][0]) == written[study.toy.fields["template"]]
