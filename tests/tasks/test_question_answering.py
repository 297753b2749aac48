"""Question answering, end to end: from a file to a study, predictions, a merged model, and a stress test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertForQuestionAnswering,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedConfig,
    T5Config,
    T5Model,
)

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.lora import LoRAConfig, add_lora, save_adapter
from lowland.models.find import find_model
from lowland.models.load import load_tokenizer
from lowland.models.spans import load_span_model
from lowland.tasks.examples import Encoded, Setup
from lowland.tasks.question_answering import THRESHOLD
from lowland.tasks.readers.squad import Answers
from lowland.tasks.span_scores import f1
from lowland.tasks.table import load_data, task_fields, task_named
from lowland.train.check_fit import check_methods_fit
from lowland.train.fit import fit
from lowland.train.test import test as answer_test_sets
from tests.conftest import job_of
from tests.tasks.questions import question_rows, save_tiny_model, tiny_tokenizer, write_squad

Run = Callable[..., tuple[int, str, str]]
SCORES = ["f1", "exact_match", "no_answer_accuracy"]
OWN = ["answers", "predicted", "start", "end", "p_no_answer"]


@pytest.fixture(scope="module")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-reader")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_squad(tmp_path / "questions.json")


def options(questions: Path, model: Path, out: Path, *more: str) -> list[str]:
    return [
        "--task", "question-answering", "--data", str(questions), "--model", str(model), "--out", str(out),
        "--dtype", "fp32", "--max-length", "32", "--stride", "4", "--lr", "0.02", "--rank", "4", "--seeds", "1",
        "--batch-size", "8", *more,
    ]  # fmt: skip


def test_a_study_of_questions_and_what_its_runs_are_for(
    lowland: Run, questions: Path, tiny_reader: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    methods = ("full", "lora", "flat-lora", "dora")
    words = options(questions, tiny_reader, out, "--epochs", "5", "--methods", *methods)
    code, report, err = lowland("compare", *words, small=False)
    assert code == 0, err
    assert "no answer" in report  # the baseline
    assert "F1 by kind of example" in report
    runs = {read_record(folder).method: folder for folder in out.glob("question-answering-*")}
    assert set(runs) == set(methods)
    for folder in runs.values():
        _check_record(folder)
        _check_answers(folder, questions)
    _check_predict(lowland, runs["lora"], questions, tmp_path)
    _check_merge(lowland, runs["lora"], questions, tmp_path)
    for path in (runs["flat-lora"], runs["lora"] / "adapter"):
        code, report, err = lowland("check", "--adapter", str(path))
        assert code == 0, report + err
        assert "FAIL" not in report
    _check_stress(lowland, out, tmp_path)


def _check_record(folder: Path) -> None:
    record, predictions = read_record(folder), read_predictions(folder)
    assert record.status == "finished", record.failure
    assert list(record.scores["test"]) == SCORES
    assert set(record.chosen) == {"no_answer_threshold"}
    assert list(predictions) == ["split", "example", "group", "category", "score", "text", *OWN]
    assert predictions["score"].mean() == pytest.approx(record.scores["test"]["f1"])
    assert set(predictions["category"]) == {"answerable", "unanswerable"}
    assert record.baseline["no answer"]["test"]["f1"] == pytest.approx(
        (predictions["answers"] == "[]").mean()
    )
    kinds = predictions.groupby("category")["score"]
    by_kind = record.class_scores["test"]
    assert {kind: scores["f1"] for kind, scores in by_kind.items()} == pytest.approx(kinds.mean().to_dict())
    assert {kind: scores["support"] for kind, scores in by_kind.items()} == kinds.size().to_dict()
    for row in predictions.itertuples():
        gold = [answer["text"] for answer in json.loads(row.answers)]
        assert row.score == f1(row.predicted, gold)


def _check_answers(folder: Path, questions: Path) -> None:
    """A run answers as it was tested, and every answer stands at its place."""
    tested = read_predictions(folder)
    rows = [question_rows()[number] for number in tested["example"]]
    answers = load(folder).predict([(row["question"], row["context"]) for row in rows])
    assert list(answers["predicted"]) == list(tested["predicted"])
    np.testing.assert_allclose(answers["p_no_answer"], tested["p_no_answer"], atol=1e-5)
    for row in answers.itertuples():
        place = (row.start, row.end)
        assert row.predicted == ("" if place == (-1, -1) else row.context[row.start : row.end])
        assert (row.predicted == "") == (row.p_no_answer > 0.5)


def _check_predict(lowland: Run, run: Path, questions: Path, tmp_path: Path) -> None:
    row = question_rows()[0]
    code, out, err = lowland("predict", str(run), "--text", row["question"], row["context"])
    assert code == 0, err
    assert out.splitlines()[0] == "question,context,predicted,start,end,p_no_answer"
    code, out, err = lowland(
        "predict", str(run), "--data", str(questions), "--label-column", "answers", "--out", str(tmp_path / "out.jsonl")
    )  # fmt: skip
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == len(question_rows())
    assert [line["id"] for line in lines] == [
        row["id"] for row in question_rows()
    ]  # the file's columns are kept
    assert "f1 " in err
    gold = [row["answers"]["text"] for row in question_rows()]
    mean = np.mean([f1(line["predicted"], texts) for line, texts in zip(lines, gold, strict=True)])
    assert f"f1 {mean:.4f}" in err


def _check_merge(lowland: Run, run: Path, questions: Path, tmp_path: Path) -> None:
    code, out, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    assert "validation texts of the run's task question-answering" in out
    report = (tmp_path / "merged" / "merge_report.json").read_text()
    assert str(questions) not in report
    assert json.loads(report)["setup"]["chosen"] == read_record(run).chosen
    pairs = [(row["question"], row["context"]) for row in question_rows()]
    merged, apart = load(tmp_path / "merged").predict(pairs), load(run).predict(pairs)
    pd.testing.assert_frame_equal(merged, apart, atol=1e-5)


def _check_stress(lowland: Run, runs: Path, tmp_path: Path) -> None:
    words = [str(runs), "--corruptions", "typos", "--limit", "6", "--out", str(tmp_path / "stress")]
    code, _, err = lowland("stress", "adapter", *words)
    assert code == 0, err
    (folder,) = (tmp_path / "stress").glob("adapter-question-answering-*")
    rows = pd.read_parquet(folder / "rows.parquet")
    clean = rows[rows["condition"] == "clean"]
    asked = {row["question"] for row in question_rows()}
    assert set(clean["prompt"]) <= asked  # the context stays as it is
    assert not set(rows[rows["condition"] == "typos"]["prompt"]) <= asked
    assert (clean["gold"] != "").any()
    for run, block in clean.groupby(["model", "seed"]):
        (path,) = (path for path in runs.glob("question-*") if read_record(path).method == run[0])
        tested = read_predictions(path).set_index("example")["score"]
        np.testing.assert_allclose(block["score"], tested.loc[block["item"]])


def setup_of(chosen: dict[str, float] | None = None, max_length: int = 24, **fields: Any) -> Setup:
    own = task_fields("question-answering", **{"stride": 4, **fields})
    return Setup(own, tiny_tokenizer(), max_length, (), chosen or {})


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    answers = [Answers(tuple(r["answers"]["text"]), tuple(r["answers"]["answer_start"])) for r in rows]
    columns = {name: [row[name] for row in rows] for name in ("question", "context")}
    return {**columns, "answers": [answer.as_text() for answer in answers]}


def perfect_outputs(encoded: Encoded, margin: float = 5) -> dict[str, np.ndarray]:
    """Logits of a model that knows every target."""
    width = max(encoded.lengths)
    outputs = {name: np.full((len(encoded), width), -100.0) for name in ("start", "end")}
    for name, logits in outputs.items():
        for row, place in enumerate(encoded.rows[f"{name}_positions"]):
            logits[row, : encoded.lengths[row]] = 0
            logits[row, place] = margin
    return outputs


def test_a_model_that_knows_the_targets_answers_right() -> None:
    task, rows = task_named("squad-v2"), question_rows()
    columns = columns_of(rows)
    encoded = task.encode(columns, setup_of(), "evaluate")
    assert len(encoded) > len(rows)  # several windows
    answers = task.decode(perfect_outputs(encoded), encoded, setup_of({THRESHOLD: 0.0}))
    assert list(answers["predicted"]) == ["".join(row["answers"]["text"]) for row in rows]
    starts = [next(iter(row["answers"]["answer_start"]), -1) for row in rows]
    assert list(answers["start"]) == starts
    assert list(answers["end"]) == [
        s + len(t) if t else -1 for s, t in zip(starts, answers["predicted"], strict=True)
    ]
    alone = task.encode({name: columns[name] for name in ("question", "context")}, setup_of(), "predict")
    assert alone.rows["input_ids"] == encoded.rows["input_ids"]
    assert "start_positions" not in alone.rows


def test_the_threshold_decides_and_is_chosen_on_validation_data() -> None:
    task, columns = task_named("squad-v2"), columns_of(question_rows())
    encoded = task.encode(columns, setup_of(), "evaluate")
    outputs = perfect_outputs(encoded)
    never, always = (task.decode(outputs, encoded, setup_of({THRESHOLD: t})) for t in (-50.0, 50.0))
    assert not any(never["predicted"])
    assert (never["p_no_answer"] > 0.5).all()
    assert all(always["predicted"])
    outputs["start"][:, 0] += 11  # a model that says too often that there is no answer
    data_split = load_split(columns)
    chosen = task.choose(data_split, outputs, encoded, setup_of())
    assert set(chosen) == {THRESHOLD}
    for threshold, better in ((chosen[THRESHOLD], True), (0.0, False)):
        answers = task.decode(outputs, encoded, setup_of({THRESHOLD: threshold}))
        assert (task.summarise(data_split, answers)["f1"] == 1) == better


def load_split(columns: dict[str, list[str]]) -> Any:
    from lowland.tasks.examples import Split

    empty = ("",) * len(columns["question"])
    return Split(
        {name: tuple(values) for name, values in columns.items()}, np.arange(len(empty)), empty, empty
    )


def test_an_answer_longer_than_a_window_is_not_trained_on() -> None:
    context = "by " + "old " * 30 + "Anna ."
    rows = [
        {"question": "who ?", "context": context, "answers": {"text": [context[3:-2]], "answer_start": [3]}},
        {"question": "who ?", "context": context, "answers": {"text": ["Anna"], "answer_start": [123]}},
    ]
    columns, task = columns_of(rows), task_named("squad-v2")
    trained = task.encode(columns, setup_of(), "train")
    assert set(trained.examples) == {1}
    assert (trained.truncation.inputs, trained.truncation.cut, trained.truncation.longest) == (2, 1, 38)
    assert set(task.encode(columns, setup_of(), "evaluate").examples) == {0, 1}
    with pytest.raises(Mistake, match="no window of 24 tokens holds an answer whole"):
        task.encode({name: values[:1] for name, values in columns.items()}, setup_of(), "train")


def test_long_questions_are_counted() -> None:
    columns = columns_of(question_rows()[:4])
    columns["question"][2] = "who runs the old mill " * 8
    truncation = task_named("squad-v2").encode(columns, setup_of(), "predict").truncation
    assert (truncation.inputs, truncation.cut) == (4, 1)
    assert truncation.longest == 40 + len(columns["context"][2].split()) + 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_padded_on_the_right(side: str) -> None:
    setup = setup_of()
    setup.tokenizer.padding_side = side
    task = task_named("squad-v2")
    encoded = task.encode(columns_of(question_rows()), setup, "train")
    batch = task.collator(setup)([encoded[row] for row in range(8)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    for row in range(8):
        length = encoded.lengths[row]
        assert batch["input_ids"][row, :length].tolist() == encoded.rows["input_ids"][row]
        assert not batch["attention_mask"][row, length:].any()
        assert int(batch["start_positions"][row]) == encoded.rows["start_positions"][row]


def model_folder(folder: Path, model: type, config: PreTrainedConfig, **special: str | None) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(config).save_pretrained(folder)
    tiny_tokenizer(**special).save_pretrained(folder)
    return folder


SIZES: dict[str, Any] = {"vocab_size": 32, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
LAYERS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BART = {"d_model": 16, "decoder_start_token_id": 3, "max_position_embeddings": 64} | {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 32}.items()
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
MODELS: dict[str, tuple[type, PreTrainedConfig]] = {
    "encoder-decoder bart": (BartModel, BartConfig(**SIZES, **BART)),
    "encoder-decoder t5": (T5Model, T5Config(**SIZES, **T5)),
    "decoder gpt2": (GPT2Model, GPT2Config(**SIZES, **GPT2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_other_architectures_learn_and_answer(tmp_path: Path, questions: Path, name: str) -> None:
    special = {} if "bart" in name else {"cls_token": None, "sep_token": None, "eos_token": "[SEP]"}
    source = find_model(str(model_folder(tmp_path / "model", *MODELS[name], **special)))
    fields = {"name": "question-answering", "data": str(questions), "stride": 4}
    data = load_data(task_fields(**fields))
    settings = {"lr": 0.01, "epochs": 8, "batch_size": 8, "rank": 4}
    job = job_of("lora", data, source, task=fields, max_length=32, **settings)
    check_methods_fit([job])
    fitted = fit(job)
    losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    assert len(answer_test_sets(fitted).predictions) == len(data.splits["test"])


def test_a_tiny_model_learns_to_find_names(tmp_path: Path, tiny_reader: Path, questions: Path) -> None:
    fields = {"name": "question-answering", "data": str(questions), "stride": 4}
    data = load_data(task_fields(**fields))
    settings = {"lr": 0.02, "epochs": 12, "batch_size": 8}
    job = job_of("full", data, find_model(str(tiny_reader)), task=fields, max_length=32, own=settings)
    evaluation = answer_test_sets(fit(job))
    assert evaluation.scores["test"]["f1"] > 0.9
    assert evaluation.baseline["no answer"]["test"]["f1"] < 0.5


DECODERS: dict[str, tuple[type, PreTrainedConfig]] = {
    "gemma3_text": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(**SIZES, **LAYERS, head_dim=8, num_key_value_heads=1),
    ),
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, **LAYERS, num_key_value_heads=1)),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_without_such_a_head_is_refused(
    tmp_path: Path, lowland: Run, questions: Path, kind: str
) -> None:
    """Llama's class for it does not find the weights of Llama."""
    folder = model_folder(tmp_path / "decoder", *DECODERS[kind])
    code, _, err = lowland("compare", *options(questions, folder, tmp_path / "runs"), small=False)
    assert code == 2
    assert err.splitlines()[-1] == (
        f"lowland: {folder} holds a {kind} model, which transformers cannot give a head that marks answers in a"
        " context; use an encoder, such as BERT, or an encoder-decoder, such as T5"
    )


def test_an_adapter_alone_is_known_by_the_class_that_it_names(tmp_path: Path) -> None:
    """ModernBERT's head has the names of a classifier's."""
    config = ModernBertConfig(**SIZES, **LAYERS, cls_token_id=2, sep_token_id=3)
    folder = model_folder(tmp_path / "modern", ModernBertModel, config)
    loaded = load_span_model(folder, load_tokenizer(folder))
    add_lora(loaded.model, LoRAConfig(r=2, modules_to_save=tuple(loaded.trained_whole)))
    save_adapter(loaded.model, tmp_path / "adapter", base_model=str(folder))
    predictor = load(tmp_path / "adapter")
    assert predictor.task.name == "question-answering"
    row = question_rows()[0]
    assert len(predictor.predict([(row["question"], row["context"])])) == 1


def test_what_the_class_for_a_decoder_has_written_is_read(tmp_path: Path) -> None:
    config = LlamaConfig(**SIZES, **LAYERS, num_key_value_heads=1)
    folder = model_folder(tmp_path / "reader", LlamaForQuestionAnswering, config)
    assert load_span_model(folder, load_tokenizer(folder)).fresh_modules == ()


def test_a_tokenizer_without_a_token_for_no_answer_is_refused(
    tmp_path: Path, lowland: Run, questions: Path
) -> None:
    config = BertConfig(**SIZES, **LAYERS, max_position_embeddings=64)
    folder = model_folder(tmp_path / "bert", BertForQuestionAnswering, config, cls_token=None, sep_token=None)
    code, _, err = lowland("compare", *options(questions, folder, tmp_path / "runs"), small=False)
    assert code == 2
    assert "has neither a classification token nor an end-of-text token" in err
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def test_a_model_that_marks_answers_keeps_its_head_and_is_served(tmp_path: Path, lowland: Run) -> None:
    config = BertConfig(**SIZES, **LAYERS, max_position_embeddings=64)
    folder = model_folder(tmp_path / "reader", BertForQuestionAnswering, config)
    loaded = load_span_model(folder, load_tokenizer(folder))
    assert (loaded.fresh_modules, loaded.remarks) == ((), ())
    row = question_rows()[0]
    code, out, err = lowland("predict", str(folder), "--text", row["question"], row["context"])
    assert code == 0, err
    assert out.startswith("question,context,predicted")
    code, out, err = lowland("check", "--model", str(folder), "--rank", "4")
    assert code == 0, out + err
    assert "FAIL" not in out


def test_a_classifiers_labels_do_not_change_the_head(tmp_path: Path) -> None:
    config = BertConfig(**SIZES, **LAYERS, max_position_embeddings=64, num_labels=3)
    folder = model_folder(tmp_path / "three", BertForQuestionAnswering, config)  # a config with three labels
    loaded = load_span_model(folder, load_tokenizer(folder))
    assert loaded.model.qa_outputs.out_features == 2
    assert loaded.fresh_head == ("qa_outputs",)
