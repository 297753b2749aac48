"""Prediction with a trained model: a run, an adapter, or a complete (merged) model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from transformers.trainer_pt_utils import nested_concat

from lowland.deploy.batches import batches
from lowland.deploy.find import (
    DEFAULT_MAX_LENGTH,
    QUESTION_ANS,
    SEQ_CLS,
    Adapted,
    check_mergeable,
    find_adapted,
)
from lowland.deploy.load import load_adapted, load_with_peft
from lowland.deploy.merged import merge_report, merged_fields, merged_setup, task_of_model
from lowland.deploy.runs import check_weights, fields_of, finished_record
from lowland.ground.listing import no_such_run
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import fetched
from lowland.lora import merge_lora
from lowland.models.bag_of_words import BagOfWords
from lowland.models.formats import NumberFormat, answer_in_fp32, attend_eagerly
from lowland.models.load import read_model_config
from lowland.models.positions import token_limit
from lowland.models.quantised import check_readable, compute_in_float32
from lowland.tasks.base import Task
from lowland.tasks.examples import Encoded, Setup, TaskFields
from lowland.tasks.table import task_named
from lowland.train.methods import method_named

Columns = Mapping[str, Sequence[Any]]
"""Inputs by the names of the task's input columns."""


@dataclass(frozen=True)
class Predictor:
    """Trained model that predicts: labels of texts or images, answers, or texts that it writes.

    Attributes:
        task: task that reads inputs and decodes outputs.
        model: the model, in evaluation mode.
        setup: tokenizer, length, label names, and what was chosen on validation data.
        record: record of the run that it came from, if any.
        dtype: number format of the forward pass: that of the run, so that it predicts as it was tested; fp32 without
            a record.
    """

    task: Task
    model: Any
    setup: Setup
    record: RunRecord | None = None
    dtype: NumberFormat = "fp32"

    def predict(self, inputs: Sequence[str] | Sequence[Sequence[str]], batch_size: int = 32) -> pd.DataFrame:
        """Predict for texts or images: labels, answers, or texts that the model writes.

        Args:
            inputs: n texts or images; for a task that reads several columns, n tuples.
            batch_size: number of inputs in a forward pass.

        Returns:
            The input columns, then `predicted` and the task's own columns, a row for each input. Classification adds
            `p_<label>` for each label.

        Raises:
            Mistake: if there is no input, or an input has another number of texts than the task reads, or is not text.
        """
        return self.predict_columns(self.columns(inputs), batch_size)

    def predict_columns(self, columns: Columns, batch_size: int = 32) -> pd.DataFrame:
        """Predict for inputs by column; see `predict`.

        Raises:
            Mistake: if there is no input.
        """
        answers = self.answer(columns, batch_size)
        inputs = pd.DataFrame({name: list(columns[name]) for name in self.task.input_columns})
        return pd.concat([inputs, answers], axis=1)

    @torch.inference_mode()
    def answer(self, columns: Columns, batch_size: int = 32) -> pd.DataFrame:
        """Return the predictions: `predicted` and the task's own columns, in the inputs' order.

        Raises:
            Mistake: if there is no input.
        """
        if not len(columns[self.task.input_columns[0]]):
            raise Mistake(f"there is no {self.task.reads} to predict for; give at least one")
        encoded = self.encode(columns)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.dtype == "bf16"):
            outputs = [
                self.task.infer(self.model, batch, self.setup)[1]
                for batch in batches(
                    self.task, encoded, self.setup, batch_size, self.model, encoded.by_length
                )
            ]
        joined = functools.reduce(partial(nested_concat, padding_index=-100), outputs)
        as_arrays = encoded.in_order({name: tensor.double().numpy() for name, tensor in joined.items()})
        return self.task.decode(as_arrays, encoded, self.setup)

    def ready(self) -> Predictor:
        """Return the predictor in evaluation mode, and in the number format in which its run was tested."""
        self.model.eval()
        if self.record is None or self.record.environment.get("dtype") != "bf16":
            return self
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        answer_in_fp32(attend_eagerly(base))
        return replace(self, dtype="bf16")

    def encode(self, columns: Columns) -> Encoded:
        """Return inputs as the model reads them."""
        return self.task.encode(columns, self.setup, "predict")

    def columns(self, inputs: Sequence[str] | Sequence[Sequence[str]]) -> Columns:
        """Return inputs by column; see `predict`."""
        if isinstance(inputs, str):
            raise Mistake(
                f"the inputs are the text {inputs[:40]!r}; give a list of texts, as [{inputs[:40]!r}]"
            )
        if isinstance(inputs, pd.DataFrame | Mapping):
            raise Mistake(
                f"the inputs are a {type(inputs).__name__}, which stands for its names; give a list of texts, such as"
                " list(table['text'])"
            )
        names = self.task.input_columns
        rows = [tuple(row) if isinstance(row, list | tuple) else (row,) for row in inputs]
        if wrong := [row for row in rows if len(row) != len(names)]:
            raise Mistake(
                f"an input has {plural(len(wrong[0]), 'text')}, and the task {self.task.name} reads {', '.join(names)};"
                f" give {plural(len(names), 'text')} for each example"
            )
        problems = [
            f"input {number}: the {name} {problem}"
            for number, row in enumerate(rows, start=1)
            for name, value in zip(names, row, strict=True)
            if (problem := self.task.input_problem(value)) is not None
        ]
        if problems:
            raise Mistake(*problems)
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}


@dataclass(frozen=True)
class WordCounter(Predictor):
    """Bag of words that predicts; its `model` is a `BagOfWords`."""

    def answer(self, columns: Columns, batch_size: int = 32) -> pd.DataFrame:
        """Return the predictions, as `Predictor.answer` does."""
        texts = [columns[name] for name in self.task.input_columns]
        if not len(texts[0]):
            raise Mistake("there is no text to predict for; give at least one")
        return self.task.decode({"logits": self.model.logits(texts)}, self.encode(columns), self.setup)

    def ready(self) -> Predictor:
        """Return the predictor as it is: nothing in it depends on a mode or a number format."""
        return self

    def encode(self, columns: Columns) -> Encoded:
        """Return the number of inputs: words are counted, not encoded."""
        return Encoded({}, np.arange(len(columns[self.task.input_columns[0]])))


def load(folder: str | Path, *, merge: bool = False) -> Predictor:
    """Load the trained model of a run, of an adapter, or of a folder with a complete (merged) model.

    Args:
        folder: folder or URL of a run, or folder of a Hugging Face model, or of an adapter in PEFT's format.
        merge: whether to merge the adapter into the base model first.

    Raises:
        Mistake: if the folder contains none, the run failed or kept no weights, the base model cannot be loaded or is
            not the one that the run was trained on, the model is not a classifier, modules have no trained weights, or
            `merge` is asked for and there is no adapter that can be merged.

    Examples:
        >>> lowland.load("runs/financial-demo-lora-s42-…").predict(["profit rose", "sales fell"])
    """
    folder = Path(fetched(folder))
    if not folder.exists():
        raise Mistake(
            no_such_run(folder)
            or f"{folder} does not exist; name the folder of a run, of a model or of an adapter"
        )
    if (folder / "record.json").is_file():
        predictor = _of_run(folder, merge)
    elif (folder / "config.json").is_file():
        if merge:
            raise Mistake(f"{folder} contains a complete model, with nothing to merge; leave --merge out")
        predictor = _of_model(folder)
    elif (folder / "adapter_config.json").is_file():
        predictor = _of_adapter(folder, merge)
    else:
        raise Mistake(
            f"{folder} is neither a run (record.json) nor a model (config.json) nor an adapter (adapter_config.json)"
        )
    return predictor.ready()


def _of_run(folder: Path, merge: bool) -> Predictor:
    record = finished_record(folder)
    if not (folder / "model").is_dir():
        return _of_adapter(folder, merge)
    if merge:
        raise Mistake(f"{folder} is a run of {record.method}, with nothing to merge; leave --merge out")
    check_weights(folder, record)
    if method_named(record.asked["method"]["name"]).counts_words:
        labels, fields = tuple(record.data["labels"]), fields_of(record)
        setup = Setup(fields, None, int(record.asked["max_length"]), labels, record.chosen)
        return WordCounter(task_named(record.task), BagOfWords.load(folder / "model"), setup, record)
    return _of_model(folder / "model", record)


def _adapter_and_task(folder: Path) -> tuple[Adapted, Task]:
    """Find the adapter in a folder, and its task; raise `Mistake` if it is for none."""
    adapted = find_adapted(folder)
    task = adapted.base.task
    if task is None:
        raise Mistake(
            f"the adapter in {folder} is for {adapted.base.kind}, and no record says what it writes; name the folder of"
            f" its run (adapters for {SEQ_CLS} and {QUESTION_ANS} need none)"
        )
    return adapted, task


def _of_adapter(folder: Path, merge: bool) -> Predictor:
    adapted, task = _adapter_and_task(folder)
    base = adapted.base
    if merge:
        check_mergeable(adapted)
    if adapted.is_lowland_lora:
        model = load_adapted(adapted)
        model = merge_lora(model, keep=False, dtype=torch.float32) if merge else model
    else:
        model = load_with_peft(adapted)
    chosen = None if adapted.record is None else adapted.record.chosen
    return Predictor(task, model, base.setup(adapted.max_length, chosen), adapted.record)


def task_in(folder: Path) -> tuple[Task, TaskFields | None, dict[str, str]]:
    """Return the task of the model in a folder, the fields of a run, and the names of its input columns in a file.

    The names are those of the file that it was trained on, if that is known.

    Raises:
        Mistake: if the folder holds a model or an adapter that is for no task, or a run that failed.
    """
    if (folder / "record.json").is_file():
        fields = fields_of(finished_record(folder))
        task = task_named(fields.name)
        return task, fields, task.input_names(fields)
    if (folder / "config.json").is_file():
        names = merge_report(folder).get("input_names")
        task, fields = task_of_model(folder), merged_fields(folder)
        return task, fields, dict(names) if isinstance(names, dict) else task.input_names(fields)
    task = task_named("classification")
    if (folder / "adapter_config.json").is_file():
        _, task = _adapter_and_task(folder)
    return task, None, task.input_names()  # `load` refuses a folder that holds none of these


def _of_model(folder: Path, record: RunRecord | None = None) -> Predictor:
    config = read_model_config(folder)
    if record is not None:
        task, length = task_named(record.task), int(record.asked["max_length"])
        fields, labels, chosen = fields_of(record), tuple(record.data["labels"]), record.chosen
    else:
        task, merged, fields = task_of_model(folder), merged_setup(folder), merged_fields(folder)
        names = config.id2label if task.has_classes else {}
        labels = tuple(merged.get("labels", [names[number] for number in sorted(names)]))
        length, chosen = merged.get("max_length", DEFAULT_MAX_LENGTH), merged.get("chosen", {})
    check_readable(config, folder)
    reader = task.load_reader(folder)
    setup = Setup(fields, reader, token_limit(reader, config, length), labels, chosen)
    loaded = task.load_model(folder, setup)
    model = compute_in_float32(loaded.model)
    if loaded.fresh_modules:
        raise Mistake(
            f"the weights in {folder} lack {', '.join(loaded.fresh_modules)}, so predictions would be random; fine-tune"
            " the model first"
        )
    return Predictor(task, model, setup, record)
