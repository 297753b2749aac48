"""Find a trained adapter and its base model from the folder of a run, or of an adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lowland.deploy.runs import check_same_model, check_weights, fields_of, finished_record
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.lora.init_methods import init_problem, lost_init
from lowland.lora.peft_config import TASKS as CLASSES_BY_TASK
from lowland.lora.peft_config import other_kinds, read_config, read_json, task_of_class
from lowland.lora.peft_weights import WEIGHTS_FILE, plain_names
from lowland.models.find import find_model
from lowland.models.images import reads_images
from lowland.models.load import load_tokenizer, read_model_config
from lowland.models.positions import token_limit
from lowland.models.source import ModelSource
from lowland.tasks.base import Task
from lowland.tasks.examples import Setup, TaskFields
from lowland.tasks.table import task_fields, task_named

SEQ_CLS, CAUSAL_LM, SEQ_2_SEQ_LM = "SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM"
QUESTION_ANS = "QUESTION_ANS"
IMAGE_CLS = "IMAGE_CLS"
"""Lowland's name for classifiers of images, for which PEFT has no task type."""

AUTO_CLASSES: Mapping[str, str] = {
    SEQ_CLS: "AutoModelForSequenceClassification",
    CAUSAL_LM: "AutoModelForCausalLM",
    SEQ_2_SEQ_LM: "AutoModelForSeq2SeqLM",
    QUESTION_ANS: "AutoModelForQuestionAnswering",
    IMAGE_CLS: "AutoModelForImageClassification",
}
"""Task types that can be read and merged, and the class of transformers that loads each."""

TASKS_OF_KINDS: Mapping[str, str] = {
    SEQ_CLS: "classification",
    QUESTION_ANS: "question-answering",
    IMAGE_CLS: "image-classification",
}
"""Tasks for models of a task type, if no record names the task."""

CLASSIFIER_HEADS = {"score", "classifier", "classification_head"}
"""Names of the heads of transformers' sequence classifiers."""

SPAN_HEADS = {"qa_outputs"}
"""Names of the heads of transformers' models that mark answers in a context."""

OUTPUT_LAYERS = ("score.weight", "classifier.weight", "out_proj.weight")
"""Names of the last layers of these heads; each has a row for each label."""

DEFAULT_MAX_LENGTH = 512
"""Number of tokens after which a text is cut off if there is no record of a run."""


@dataclass(frozen=True)
class Base:
    """Base model on this disk, and the task type that it is loaded for.

    Attributes:
        source: folder and hashes of the model.
        kind: the task type, a key of `AUTO_CLASSES`.
        label_names: names of a classifier's outputs, in order; empty for a language model.
        tokenizer: the adapter's own if its folder contains one, else the base model's; or its image processor.
        task: task that reads inputs and decodes outputs; None for a language model.
        fields: the task's fields; those of the run, else the defaults; None for a language model.
        resized_by: folder of the adapter if it has a tokenizer of its own; the base is resized to the embeddings in it.
    """

    source: ModelSource
    kind: str
    label_names: tuple[str, ...]
    tokenizer: Any
    task: Task | None
    fields: TaskFields | None = None
    resized_by: Path | None = None

    def setup(self, max_length: int, chosen: Mapping[str, float] | None = None) -> Setup:
        """Return what the task's encoding and decoding depend on."""
        assert self.fields is not None
        return Setup(self.fields, self.tokenizer, max_length, self.label_names, chosen or {})


@dataclass(frozen=True)
class Adapted:
    """Trained adapter and its base model.

    Attributes:
        base: model that the adapter belongs to.
        folder: folder with `adapter_config.json` and `adapter_model.safetensors`.
        max_length: number of tokens after which a text is cut off.
        is_lowland_lora: whether lowland's own layers can load it (LoRA, rsLoRA); else PEFT's are needed.
        record: record of the run that it came from; None for a folder with only an adapter.
    """

    base: Base
    folder: Path
    max_length: int
    is_lowland_lora: bool
    record: RunRecord | None = None


def find_adapted(folder: Path, model: str | None = None) -> Adapted:
    """Find the adapter in a folder, and its base model.

    Args:
        folder: folder of a run, or with an adapter in PEFT's format.
        model: the base model; default: the one that the run or the adapter names.

    Raises:
        Mistake: if the folder contains neither, the run failed or has no adapter, or the base model cannot be loaded or
            is not the one that the run was trained on.
    """
    if (folder / "record.json").is_file():
        return _of_run(folder, model)
    if (folder / "adapter_config.json").is_file():
        return _of_adapter(folder, model)
    raise Mistake(f"{folder} is neither a run (record.json) nor an adapter (adapter_config.json)")


def find_base(model: str) -> Base:
    """Find a base model for the task type that its config names; without one, as a classifier with two labels.

    Raises:
        Mistake: if the model, its config or its tokenizer cannot be found or read.
    """
    source = find_model(model)
    kind = kind_of_model(source.folder)
    task = task_of_kind(kind)
    label_names = _label_names(source.folder, None) if task is not None and task.has_classes else ()
    reader = load_reader(task, source.folder)
    return Base(source, kind, label_names, reader, task, default_fields(task))


def task_of_kind(kind: str) -> Task | None:
    """Return the task for models of a task type if no record names it; None for language models."""
    name = TASKS_OF_KINDS.get(kind)
    return None if name is None else task_named(name)


def load_reader(task: Task | None, folder: Path) -> Any:
    """Load what reads a task's inputs from a model's folder; for a language model, its tokenizer."""
    return load_tokenizer(folder) if task is None else task.load_reader(folder)


def default_fields(task: Task | None) -> TaskFields | None:
    """Return a task's fields with their defaults; None for a language model."""
    return None if task is None else task_fields(task.name)


def check_mergeable(adapted: Adapted) -> None:
    """Check that an adapter can be merged into the base model.

    Raises:
        Mistake: if it is not LoRA or rsLoRA.
    """
    if adapted.is_lowland_lora:
        return
    served = "; `lowland predict` without --merge can use it" if adapted.base.task is not None else ""
    if lost_init(read_json(adapted.folder)):
        served = ""
    try:
        read_config(adapted.folder)
    except Mistake as mistake:
        raise Mistake(*(f"{problem}{served}" for problem in mistake.problems)) from None


def _of_run(folder: Path, model: str | None) -> Adapted:
    record = finished_record(folder)
    if (folder / "model").is_dir():
        whole = folder / "model"
        where = f"; its complete model is in {whole}" if (whole / "config.json").is_file() else ""
        raise Mistake(
            f"{folder} is a run of {record.method}, without an adapter, with nothing to merge{where}"
        )
    check_weights(folder, record)
    if not (folder / "adapter").is_dir():
        raise Mistake(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    base = base_of_run(folder, record, model)
    length = token_limit_of(base, int(record.asked["max_length"]))
    return Adapted(base, folder / "adapter", length, _is_lowland_lora(read_json(folder / "adapter")), record)


def base_of_run(folder: Path, record: RunRecord, model: str | None = None) -> Base:
    """Find the base model that a run was trained on.

    Args:
        folder: folder of the run.
        record: its record.
        model: the base model; default: the one that the run names.

    Raises:
        Mistake: if it cannot be found, or is not the one that the run was trained on.
    """
    source = find_model(model) if model else find_model(record.asked["model"], record.asked["revision"])
    check_same_model(folder, record, source)
    task, fields = task_named(record.task), fields_of(record)
    labels = tuple(record.data["labels"])
    return Base(source, task.peft_task_type(fields), labels, load_reader(task, source.folder), task, fields)


def _of_adapter(folder: Path, model: str | None) -> Adapted:
    config = read_json(folder)
    name = model or config.get("base_model_name_or_path")
    if not name:
        raise Mistake(f"{folder} does not say which base model it adapts; name it with --model")
    source = find_model(name, None if model else config.get("revision"))
    own = (folder / "tokenizer_config.json").is_file()
    kind = _kind_of_adapter(folder, config, source.folder)
    task = task_of_kind(kind)
    label_names = _label_names(source.folder, folder) if task is not None and task.has_classes else ()
    reader = load_reader(task, folder if own else source.folder)
    base = Base(source, kind, label_names, reader, task, default_fields(task), folder if own else None)
    return Adapted(base, folder, token_limit_of(base, DEFAULT_MAX_LENGTH), _is_lowland_lora(config))


def _is_lowland_lora(config: Mapping[str, Any]) -> bool:
    return config.get("peft_type") == "LORA" and not other_kinds(config) and not init_problem(config)


def _kind_of_adapter(folder: Path, config: Mapping[str, Any], base: Path) -> str:
    """Return an adapter's task type; without one, that of the class that it names, or of the head that it saved.

    Without these, it is that of its base model.
    """
    task = config.get("task_type")
    if task is None:
        mapping = config.get("auto_mapping")
        named = mapping.get("base_model_class") if isinstance(mapping, dict) else None
        saved = {str(name).rpartition(".")[2] for name in config.get("modules_to_save") or ()}
        if saved & SPAN_HEADS or task_of_class(str(named)) == QUESTION_ANS:
            return QUESTION_ANS
        kind = kind_of_model(base)
        return SEQ_CLS if saved & CLASSIFIER_HEADS and kind != IMAGE_CLS else kind
    if task not in AUTO_CLASSES:
        raise Mistake(
            f"{folder} is an adapter for {task}; adapters for {', '.join(AUTO_CLASSES)} can be read"
        )
    return str(task)


def kind_of_model(folder: Path) -> str:
    """Return the task type of the model that a config names; if it names none, that of a classifier.

    Raises:
        Mistake: if there is no config that transformers can read.
    """
    config = read_model_config(folder)
    if reads_images(config):
        return IMAGE_CLS
    named = set(config.architectures or ())
    kinds = (kind for kind, classes in CLASSES_BY_TASK.items() if not named.isdisjoint(classes.values()))
    return next(kinds, SEQ_CLS)


def _label_names(base: Path, adapter: Path | None) -> tuple[str, ...]:
    """Return a classifier's label names: the base config's, unless the adapter's head has another number of outputs."""
    names: dict[int, str] = read_model_config(base).id2label
    rows = _head_rows(adapter) if adapter else None
    if rows in (None, len(names)) and len(names) > 1:
        return tuple(names[number] for number in sorted(names))
    return tuple(f"LABEL_{number}" for number in range(rows or 2))


def _head_rows(adapter: Path) -> int | None:
    """Return the number of outputs of the head in an adapter's file; `load_adapter` reports a damaged file."""
    try:
        with safe_open(adapter / WEIGHTS_FILE, "pt") as file:
            names = plain_names(file.keys(), adapter / WEIGHTS_FILE)
            heads = [key for key, name in names.items() if name.endswith(OUTPUT_LAYERS)]
            heads = [key for key in heads if CLASSIFIER_HEADS & set(key.split("."))]
            return int(file.get_slice(heads[0]).get_shape()[0]) if heads else None
    except (OSError, SafetensorError, Mistake):
        return None


def token_limit_of(base: Base, asked: int) -> int:
    """Return the number of tokens after which a text is cut off: the requested one, or as many as the model reads."""
    return token_limit(base.tokenizer, read_model_config(base.source.folder), asked)
