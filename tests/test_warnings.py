"""Every warning speaks on its case, and is silent beside it: the table of all warnings on data, models and records.

A warning is a line in which a sentence enters the channel of remarks ("Beware: …"), Python's warnings or a report. The
source is searched for such lines, so that a new one needs an entry in `LINES`, and a case. Clean data sets are in
tests/tasks/test_silence.py.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peft
import pytest
from inspect_ai.scorer import SampleScore, Score
from transformers import (
    BartForCausalLM,
    BertForSequenceClassification,
    FNetConfig,
    FNetForQuestionAnswering,
    FNetForSequenceClassification,
)

import lowland as package
from lowland import flat
from lowland.evidence import inspect_metric
from lowland.evidence.results import as_results
from lowland.ground.records import StressRecord
from lowland.measure.subject import load_subject
from lowland.models.language import load_language_model
from lowland.models.load import load_classifier, load_tokenizer
from lowland.models.source import ModelSource
from lowland.models.spans import load_span_model
from lowland.report.markdown import render_page
from lowland.report.page import study_page
from lowland.report.stress_record import completeness
from lowland.report.study import summary
from lowland.stress.questions.questionnaire import MessyQuestionnaire, MultilingualQuestionnaire
from lowland.study.recipe import Recipe
from lowland.tasks.examples import Setup, Split, TaskData, TaskFields
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.table import load_data, task_fields, task_named
from lowland.train.fit import fit
from lowland.train.test import test as answer_test_sets
from tests.conftest import bert_config, job_of, table_of
from tests.evidence.test_study import leave_run
from tests.flat.conftest import ours, peft_lora, rows
from tests.images import draw_folder
from tests.language_models import language_model, save
from tests.report.whole_studies import evidence_of, leave_study
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, own_machine
from tests.tasks.questions import question_rows, write_squad

__all__ = ["own_machine"]
SOURCE = Path(package.__file__).parent
ENTERS = re.compile(r"\bremarks?(?:=| \+?= |\()|\b\w*warnings?\.warn\(|\.warning\(|Beware")
PASSES_ON = ""
LINES: dict[tuple[str, str], str] = {
    (
        "tasks/splits.py",
        'remarks = [*joined_remarks(kept), *case_remarks(table["label"]), *copies, *remarks]',
    ): "joined, case, copies",
    ("study/messages.py", "def remark(self, sentence: str) -> None:"): PASSES_ON,
    ("tasks/splits.py", "remarks += surplus_remarks(fields.max_train, train)"): "few to train on",
    (
        "tasks/splits.py",
        "remarks += _share_remarks(table, fields.test_share, roles.unit)",
    ): "share of the test",
    ("tasks/images.py", "table, remarks = read_image_folder(Path(fields.data))"): "other files",
    (
        "tasks/images.py",
        'source, remarks = f"{source} + {Path(fields.test_data).name}", [*remarks, *further]',
    ): PASSES_ON,
    ("tasks/images.py", "return replace(data, splits=splits, remarks=(*remarks, *data.remarks))"): PASSES_ON,
    ("tasks/images.py", "test, remarks = read_image_folder(folder)"): PASSES_ON,
    ("tasks/generation.py", "def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:"): (
        "the same text"
    ),
    ("models/language.py", "remark = _remark_on_padding(model)"): "padding of a decoder",
    (
        "models/language.py",
        "return LoadedModel(model, train_head=False, remarks=(remark,) if remark else ())",
    ): PASSES_ON,
    ("tasks/splits.py", "remarks = [*remarks, *_leak_remarks(dropped)]"): "leaks",
    ("tasks/splits.py", "remarks=tuple(remarks),"): PASSES_ON,
    ("tasks/base.py", "def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:"): PASSES_ON,
    ("tasks/classification.py", "def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:"): (
        "the same answer"
    ),
    (
        "tasks/question_answering.py",
        "def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:",
    ): "no answers",
    (
        "tasks/question_data.py",
        "return replace(data, remarks=(*data.remarks, *sentences))",
    ): "few titles, several places",
    ("models/load.py", "remark = settle_padding(loaded.model, tokenizer)"): "padding",
    (
        "models/spans.py",
        "return loaded if sentence is None else replace(loaded, remarks=(*loaded.remarks, sentence))",
    ): "padding of spans",
    (
        "models/load.py",
        "return replace(loaded, remarks=(*loaded.remarks, *([remark] if remark else [])))",
    ): PASSES_ON,
    ("models/load.py", "remarks=(*loaded.remarks, redrawn_sentence(names, label_names)),"): "another head",
    ("train/fit.py", 'remark(f"training and validation: {sentence}")'): "long texts in training",
    ("train/fit.py", "remark(sentence)"): PASSES_ON,
    ("train/test.py", "for sentence in job.task.remarks(split, table):"): PASSES_ON,
    (
        "train/test.py",
        'remark(f"{name}, {job.method.label}, seed {job.seed}: {sentence}")',
    ): "the same answer",
    ("train/test.py", 'remark(f"{name}: {sentence}")'): "long texts in the test",
    ("deploy/table.py", "remark(sentence)"): "long texts to predict",
    ("stress/adapters/run.py", "progress.remark(sentence)"): "long texts in a stress test",
    ("stress/behaviour/run.py", "progress.remark(sentence)"): "long texts in a suite",
    (
        "deploy/forgetting/texts.py",
        "remark(f\"{plural(copies, 'row')} of {path} {verbs[0]} an earlier text, and {verbs[1]} left out\")",
    ): "copies in other texts",
    ("deploy/forgetting/retention.py", "progress.remark(sentence)"): "long texts of another task",
    ("deploy/forgetting/rewind.py", "progress.remark(sentence)"): "other scores than recorded",
    ("deploy/forgetting/rewound.py", "remarks=[*original.remarks, sentence],"): PASSES_ON,
    ("measure/subject.py", 'remark("runs trained in bf16 are measured in float32")'): "a run in bf16",
    ("study/run.py", "progress.remark(remark)"): PASSES_ON,
    ("study/run.py", "remarks = list(job.data.remarks)"): PASSES_ON,
    ("study/run.py", "def remark(sentence: str) -> None:"): PASSES_ON,
    ("study/run.py", "progress.remark(sentence)"): PASSES_ON,
    (
        "study/run.py",
        "record = replace(finished_record(begun, fitted, evaluation), remarks=remarks)",
    ): PASSES_ON,
    ("study/overrides.py", "warnings.warn("): "overrides",
    ("ground/progress.py", "def remark(self, sentence: str) -> None:"): PASSES_ON,
    ("ground/progress.py", 'self.say(f"Beware: {sentence}.")'): PASSES_ON,
    ("flat/config.py", "warnings.warn("): "much noise",
    ("flat/checks.py", "warnings.warn("): "an untested PEFT",
    (
        "evidence/inspect_metric.py",
        '_log.warning("paired_difference is not known: %s", reason)',
    ): "samples that do not pair",
    ("flat/arming.py", "warnings.warn("): "no step",
    (
        "report/stress_record.py",
        'warning = f" Beware: {plural(missing, \'row\')} missing." if missing else ""',
    ): ("missing rows"),
    (
        "report/stress_record.py",
        "f\" Beware: {share:.1%} of the answers of {run.get('method')}, seed {run.get('seed')}, to undamaged texts\"",
    ): "a changed run",
    (
        "report/sections/verdict.py",
        "Paragraph(f\"Beware: {_runs_named(runs)}: {visible(sentence).rstrip('.')}.\")",
    ): PASSES_ON,
    (
        "report/sections/verdict.py",
        'return f"Beware: {\' and \'.join(parts)}; this page is of the other {len(evidence.runs)}." if parts else ""',
    ): "unfinished runs",
    (
        "report/study.py",
        'warnings.append(Paragraph("Beware: the runs were made with different versions of lowland\'s code."))',
    ): "versions",
    (
        "report/study.py",
        'sentence = f"Beware: the runs were made in different environments, which differ in {differing}."',
    ): "environments",
}
"""Lines in which a sentence enters a channel, with the names of their cases; or passes on what another line said."""


@dataclass(frozen=True)
class Case:
    """A warning.

    Attributes:
        sentence: a part of its sentence, as a regular expression.
        sentences: function that returns what is said in the faulty case (True) and in the clean one (False).
    """

    sentence: str
    sentences: Callable[[bool, Tools], list[str]]


@dataclass(frozen=True)
class Tools:
    """What a case may use: a folder, the tiny model, the table of texts split, and the command line."""

    folder: Path
    source: ModelSource
    data: TaskData
    command: Callable[..., tuple[int, str, str]]
    patch: pytest.MonkeyPatch


@pytest.fixture
def tools(
    tmp_path: Path,
    source: ModelSource,
    data: TaskData,
    lowland: Callable[..., tuple],
    monkeypatch: pytest.MonkeyPatch,
) -> Tools:
    return Tools(tmp_path, source, data, lowland, monkeypatch)


def warned(action: Callable[[], Any]) -> list[str]:
    """Return the texts of Python's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(warning.message) for warning in caught]


def beware(text: str) -> list[str]:
    return [line for line in text.splitlines() if "Beware" in line]


def labels_of(faulty: bool, tools: Tools) -> list[str]:
    table = table_of()
    if faulty:
        table.loc[:5, "label"] = "Good"
    return list(make_splits(table, "a table", TaskFields(name="classification")).remarks)


def numbers_of(faulty: bool, tools: Tools) -> list[str]:
    table = table_of()
    table["label"] = table["label"].map({"good": "3.1", "bad": "3.2"})
    if faulty:
        table.loc[table.index[table["label"] == "3.1"][:4], "label"] = "3.10"
    return list(make_splits(table, "a table", TaskFields(name="classification")).remarks)


def leaks_of(faulty: bool, tools: Tools) -> list[str]:
    table = table_of()
    table["split"] = ["test" if number % 4 == 0 else "train" for number in range(len(table))]
    if faulty:
        table = pd.concat(
            [table, table[table["split"] == "test"].head(3).assign(split="train")], ignore_index=True
        )
    return list(make_splits(table, "a table", TaskFields(name="classification")).remarks)


def copies_of(faulty: bool, tools: Tools) -> list[str]:
    table = table_of()
    table.loc[len(table)] = [table["text"][0], "bad" if faulty else table["label"][0]]
    return list(make_splits(table, "a table", TaskFields(name="classification")).remarks)


def shares_of(faulty: bool, tools: Tools) -> list[str]:
    titles = [str(number) for number in range(10) for _ in range(4)] + ["0"] * (100 if faulty else 0)
    table = pd.DataFrame({"text": [f"text {number}" for number in range(len(titles))], "title": titles})
    roles = Roles(label=None, together=("title",))
    return list(make_splits(table, "a table", TaskFields(name="classification"), roles=roles).remarks)


def surplus_of(faulty: bool, tools: Tools) -> list[str]:
    fields = TaskFields(name="classification", max_train=10_000 if faulty else 20)
    return list(make_splits(table_of(), "a table", fields).remarks)


def files_of(faulty: bool, tools: Tools) -> list[str]:
    folder = draw_folder(tools.folder / "images", count=10)
    if faulty:
        (folder / "notes.txt").write_text("mine")
    return list(load_data(task_fields("image-classification", data=str(folder))).remarks)


def same_text(faulty: bool, tools: Tools) -> list[str]:
    texts = [f"text {number}" for number in range(12)]
    split = Split({"source": tuple(texts), "target": tuple(texts)}, np.arange(12), tuple(texts), ("",) * 12)
    answers = pd.DataFrame({"predicted": ["text 1"] * 12 if faulty else texts})
    return list(task_named("text-to-text").remarks(split, answers))


def padding_of_decoder(faulty: bool, tools: Tools) -> list[str]:
    model = BartForCausalLM(language_model("bart").config) if faulty else language_model("llama")
    return list(load_language_model(save(model, tools.folder / "decoder"), "CAUSAL_LM").remarks)


def fitted_with(faulty: bool, tools: Tools) -> tuple[list[str], list[str]]:
    """Return what training and the test say, where a text has up to 2 or up to 40 tokens."""
    in_training: list[str] = []
    in_test: list[str] = []
    changes: dict[str, Any] = {
        "max_length": 2 if faulty else 128,
        "epochs": 3,
        "own": {"lr": 0.01},
        "rank": 4,
    }
    fitted = fit(job_of("lora", tools.data, tools.source, **changes), remark=in_training.append)
    answer_test_sets(fitted, in_test.append)
    return in_training, in_test


def same_answer(faulty: bool, tools: Tools) -> list[str]:
    task, split = task_named("classification"), tools.data.splits["test"]
    logits = np.tile([0.0, 1.0], (len(split), 1))
    if not faulty:
        logits[0] = [1.0, 0.0]
    setup = Setup(
        task_fields("classification"), load_tokenizer(tools.source.folder), 40, tools.data.label_names
    )
    encoded = task.encode(split.columns, setup, "evaluate")
    return list(task.remarks(split, task.decode({"logits": logits}, encoded, setup)))


def no_answers(faulty: bool, tools: Tools) -> list[str]:
    path = write_squad(tools.folder / "questions.json")
    split = load_data(task_fields("squad-v2", data=str(path))).splits["test"]
    answers = pd.DataFrame({"predicted": [""] * len(split)})
    if not faulty:
        answers.loc[0, "predicted"] = "Anna"
    return list(task_named("squad-v2").remarks(split, answers))


def few_titles(faulty: bool, tools: Tools) -> list[str]:
    path = write_squad(tools.folder / "questions.json", question_rows(titles=4 if faulty else 5, each=20))
    return list(load_data(task_fields("squad-v2", data=str(path))).remarks)


def several_places(faulty: bool, tools: Tools) -> list[str]:
    rows = question_rows()
    for row in rows:
        row["answers"]["answer_start"] = []
    rows[0]["context"] += " Anna ." if faulty else ""
    path = tools.folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(load_data(task_fields("squad-v2", data=str(path))).remarks)


def heads(faulty: bool, tools: Tools) -> list[str]:
    model = BertForSequenceClassification(bert_config(num_labels=2))
    model.config.id2label = {0: "up" if faulty else "good", 1: "down" if faulty else "bad"}
    model.save_pretrained(tools.folder / "classifier")
    loaded = load_classifier(
        tools.folder / "classifier", ["bad", "good"], load_tokenizer(tools.source.folder)
    )
    return list(loaded.remarks)


def padding(faulty: bool, tools: Tools) -> list[str]:
    """A Fourier transform mixes all positions, the padding's too; an attention mask keeps them apart."""
    if not faulty:
        return list(
            load_classifier(tools.source.folder, ["bad", "good"], load_tokenizer(tools.source.folder)).remarks
        )
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
    }
    folder, tokenizer = tools.folder / "fnet", load_tokenizer(tools.source.folder)
    FNetForSequenceClassification(FNetConfig(vocab_size=64, **sizes)).save_pretrained(folder)
    tokenizer.model_input_names = ["input_ids"]
    return list(load_classifier(folder, ["bad", "good"], tokenizer).remarks)


def spans(faulty: bool, tools: Tools) -> list[str]:
    folder, tokenizer = tools.folder / "reader", load_tokenizer(tools.source.folder)
    if not faulty:
        return list(load_span_model(tools.source.folder, tokenizer).remarks)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    FNetForQuestionAnswering(FNetConfig(vocab_size=64, **sizes)).save_pretrained(folder)
    tokenizer.model_input_names = ["input_ids"]
    return list(load_span_model(folder, tokenizer).remarks)


def trained_run(tools: Tools) -> str:
    code, _, err = tools.command("train", "--seed", "1")
    assert code == 0, err
    (run,) = (tools.folder / "runs").glob("classification-*")
    return str(run)


def predicted(faulty: bool, tools: Tools) -> list[str]:
    text = "the firm rises " * (30 if faulty else 1)
    return beware(tools.command("predict", trained_run(tools), "--text", text)[2])


def stressed(faulty: bool, tools: Tools) -> list[str]:
    if faulty:
        table = table_of()
        table.assign(text=table["text"] + " again" * 60).to_csv(tools.folder / "texts.csv", index=False)
    options = ("--limit", "5", "--corruptions", "casing", "--levels", "heavy")
    code, _, err = tools.command(
        "stress", "adapter", trained_run(tools), *options, "--out", str(tools.folder / "tests")
    )
    assert code == 0, err
    return beware(err)


def other_texts(tools: Tools, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    change(table_of(2)).to_csv(tools.folder / "other.csv", index=False)
    run, path = trained_run(tools), str(tools.folder / "other.csv")
    code, _, err = tools.command("retention", run, "--data", path)
    assert code == 0, err
    return beware(err)


def copies_of_others(faulty: bool, tools: Tools) -> list[str]:
    return other_texts(tools, lambda table: pd.concat([table, table[:1]]) if faulty else table)


def long_cases(faulty: bool, tools: Tools) -> list[str]:
    run = trained_run(tools)
    label = json.loads((Path(run) / "record.json").read_text())["data"]["labels"][0]
    text = "{firm} rises" + " again" * (60 if faulty else 0)
    test = {
        "name": "rises",
        "capability": "words",
        "kind": "minimum functionality",
        "templates": {label: [text]},
    }
    suite = {"name": "own", "slots": {"firm": ["the firm", "the shop"]}, "tests": [test]}
    (tools.folder / "suite.yaml").write_text(json.dumps(suite))
    code, _, err = tools.command(
        "behave", run, "--suite", str(tools.folder / "suite.yaml"), "--out", str(tools.folder / "tests")
    )
    assert code == 0, err
    return beware(err)


def long_others(faulty: bool, tools: Tools) -> list[str]:
    return other_texts(
        tools, lambda table: table.assign(text=table["text"] + " again" * (60 if faulty else 0))
    )


def other_scores(faulty: bool, tools: Tools) -> list[str]:
    run = trained_run(tools)
    path = Path(run) / "record.json"
    record = json.loads(path.read_text())
    record["scores"]["test"]["accuracy"] -= 0.1 if faulty else 0
    path.write_text(json.dumps(record))
    code, _, err = tools.command("rewind", run, "--scale", "1")
    assert code == 0, err
    return beware(err)


def overrides(faulty: bool, tools: Tools) -> list[str]:
    newer: dict[str, Any] = {"methods": [{"lora": {"lr": 0.001}}]}
    older: dict[str, Any] = {"methods": ["lora"], "overrides": {"lora": {"lr": 0.001}}}
    return warned(lambda: Recipe(task="financial-demo", **(older if faulty else newer)))


def much_noise(faulty: bool, tools: Tools) -> list[str]:
    return warned(lambda: flat.arm(ours(), rho=1.01 if faulty else 1))


def no_step(faulty: bool, tools: Tools) -> list[str]:
    def train() -> None:
        model = ours().train()
        with flat.arm(model, total_steps=2) as noise:
            if not faulty:
                noise.begin_step(0)
            model(rows())

    return warned(train)


def untested_peft(faulty: bool, tools: Tools) -> list[str]:
    if faulty:
        tools.patch.setattr(peft, "__version__", "0.17.1")
    return warned(lambda: flat.arm(peft_lora()))


def unpaired_samples(faulty: bool, tools: Tools) -> list[str]:
    table = pd.DataFrame({"example": list("abcd"), "score": [1.0, 0.0, 1.0, 0.0]})
    baseline, messages = as_results(table, "before", "accuracy", "before.eval"), []
    tools.patch.setattr(inspect_metric, "read_inspect", lambda *rest: [baseline])
    tools.patch.setattr(inspect_metric._log, "warning", lambda text, reason: messages.append(text % reason))
    names = "abxyz" if faulty else "abc"
    scores = [SampleScore(score=Score(value="C"), sample_id=name) for name in names]
    inspect_metric.paired_difference("before.eval")(scores)
    return messages


def missing_rows(faulty: bool, tools: Tools) -> list[str]:
    counts = {"expected": 5, "scored": 3, "failed": 1 if faulty else 2}
    parts: dict[str, Any] = {"asked": {}, "items": {}, "model": {}, "cost": {}}
    record = StressRecord(key="c0ffee", status="incomplete" if faulty else "finished", counts=counts, **parts)
    return beware(completeness(record).text)


def changed_run(faulty: bool, tools: Tools) -> list[str]:
    run = {"method": "lora", "seed": 1, "clean_differs": 0.25 if faulty else 0.0}
    parts: dict[str, Any] = {"asked": {}, "items": {}, "model": {"runs": [run]}, "cost": {}, "counts": {}}
    return beware(completeness(StressRecord(key="c0ffee", status="finished", **parts)).text)


def measured_run(faulty: bool, tools: Tools) -> list[str]:
    """The run of the default number format, or of bf16, is loaded to be measured."""
    options = ["--method", "lora", "--seed", "1", "--epochs", "1", "--dtype", "bf16" if faulty else "fp32"]
    code, _, err = tools.command("train", *options)
    assert code == 0, err
    (run,) = (tools.folder / "runs").glob("*-s1-*")
    sentences: list[str] = []
    load_subject(run, sentences.append)
    return sentences


def study_of(change: dict[str, Any], faulty: bool, tools: Tools) -> list[str]:
    folders = [
        leave_run(tools.folder, "lora", 0),
        leave_run(tools.folder, "lora", 1, **(change if faulty else {})),
    ]
    return beware(summary(folders))


def unfinished_runs(faulty: bool, tools: Tools) -> list[str]:
    folder = leave_study(tools.folder / "runs", methods=("lora",), seeds=1, examples=20)
    return beware(render_page(study_page(evidence_of(folder, unfinished=int(faulty)))))


CASES: dict[str, Case] = {
    "case": Case(r"the labels 'Good' \(6 rows\) and 'good' .* differ in case alone", labels_of),
    "joined": Case(
        r"the labels '3.1' \(\d+ rows\) and '3.10' \(4 rows\) are spellings of one number", numbers_of
    ),
    "leaks": Case("3 rows of an earlier split occurred in a later one", leaks_of),
    "share of the test": Case(
        r"the test set has \d+% of the examples, and test_share is 20%: .* the same title .* has 104 examples",
        shares_of,
    ),
    "copies": Case(r"1 example with different labels \(2 rows\)", copies_of),
    "long texts in training": Case(
        "training and validation: .* are longer than 2 tokens and were cut",
        lambda faulty, tools: fitted_with(faulty, tools)[0],
    ),
    "long texts in the test": Case(
        "test: .* are longer than 2 tokens and were cut", lambda faulty, tools: fitted_with(faulty, tools)[1]
    ),
    "long texts to predict": Case("are longer than 40 tokens and were cut", predicted),
    "long texts in a stress test": Case("are longer than 40 tokens and were cut", stressed),
    "copies in other texts": Case("1 row of .* repeats an earlier text, and is left out", copies_of_others),
    "long texts in a suite": Case("are longer than 40 tokens and were cut", long_cases),
    "long texts of another task": Case("are longer than 40 tokens and were cut", long_others),
    "other scores than recorded": Case(
        "with scale 1, accuracy on test is .*, and the record says", other_scores
    ),
    "the same answer": Case("the prediction for every example is 'good'", same_answer),
    "few to train on": Case("max_train is 10,000, and there are", surplus_of),
    "other files": Case("1 file in images that are no images of a class were left out", files_of),
    "the same text": Case("the model writes 'text 1' for every example", same_text),
    "padding of a decoder": Case("depend on the padding before it in a BartForCausalLM", padding_of_decoder),
    "no answers": Case("the model answers no question, so it has not learned to find answers", no_answers),
    "few titles": Case("4 titles are too few to hold some of them out", few_titles),
    "several places": Case("the answers of 1 question have no places", several_places),
    "padding": Case("a text's logits depend on its padding", padding),
    "padding of spans": Case("a text's logits depend on its padding in a FNetForQuestionAnswering", spans),
    "another head": Case("a classifier of up, down, and the data's labels are bad, good", heads),
    "overrides": Case("overrides is an older form", overrides),
    "much noise": Case("rho is 1.01: the noise on each layer's output is larger", much_noise),
    "no step": Case("the model was trained without noise: call noise.begin_step", no_step),
    "samples that do not pair": Case("2 of 5 samples are in before.eval", unpaired_samples),
    "an untested PEFT": Case(r"peft is 0\.17\.1; the noise was tested", untested_peft),
    "a run in bf16": Case("runs trained in bf16 are measured in float32", measured_run),
    "a changed run": Case("Beware: 25.0% of the answers of lora, seed 1, to undamaged texts", changed_run),
    "unfinished runs": Case("Beware: 1 run did not finish; this page is of the other 1", unfinished_runs),
    "missing rows": Case("Beware: 1 row missing", missing_rows),
    "versions": Case(
        "different versions of lowland's code",
        lambda faulty, tools: study_of({"code": {"lowland": "0.0.1"}}, faulty, tools),
    ),
    "environments": Case(
        "different environments",
        lambda faulty, tools: study_of({"environment": {"torch": "1.0"}}, faulty, tools),
    ),
}


def test_every_line_that_warns_has_a_case() -> None:
    """If this fails, a warning was added or changed: give it a line in `LINES`, and a case in `CASES`."""
    lines = [
        (str(path.relative_to(SOURCE)), line.strip())
        for path in sorted(SOURCE.rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if ENTERS.search(line)
    ]
    assert sorted(set(lines)) == sorted(LINES)
    named = {name for names in LINES.values() if names for name in names.split(", ")}
    assert named == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_it_speaks_on_its_case(name: str, tools: Tools) -> None:
    sentences = CASES[name].sentences(True, tools)
    assert [bool(re.search(CASES[name].sentence, sentence)) for sentence in sentences].count(True) == 1, (
        sentences
    )


@pytest.mark.parametrize("name", CASES)
def test_it_is_silent_beside_its_case(name: str, tools: Tools) -> None:
    assert CASES[name].sentences(False, tools) == []


def test_the_packaged_questions_are_silent() -> None:
    for questionnaire in (MessyQuestionnaire(), MultilingualQuestionnaire()):
        assert warned(questionnaire.questions) == []


@pytest.mark.parametrize("kind", ["messy", "multilingual"])
@pytest.mark.filterwarnings(*INSPECTS)
def test_a_stress_test_with_the_packaged_questions_is_silent(kind: str, tools: Tools) -> None:
    with MessagesAPI() as api:
        options = (
            "--model",
            "anthropic/claude-sonnet-5",
            "--base-url",
            api.url,
            "--limit",
            "2",
            "--epochs",
            "1",
        )
        code, out, err = tools.command("stress", kind, *options, "--out", str(tools.folder / "runs"))
    assert code == 0, err
    assert beware(out + err) == []
