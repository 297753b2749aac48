"""A trained adapter and its base: found from the folder of a run, or of an adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord, read_record
from lowland.lora.peft_config import TASKS, other_kinds, read_config, read_json
from lowland.models.find import ModelSource, find_model
from lowland.models.load import load_tokenizer, read_model_config, token_limit

SEQ_CLS, CAUSAL_LM, SEQ_2_SEQ_LM = "SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM"

AUTO_CLASSES: Mapping[str, str] = {
    SEQ_CLS: "AutoModelForSequenceClassification",
    CAUSAL_LM: "AutoModelForCausalLM",
    SEQ_2_SEQ_LM: "AutoModelForSeq2SeqLM",
}
"""What is read and merged, by PEFT's names of tasks, and the class of transformers' that loads it."""

CLASSIFIER_HEADS = {"score", "classifier", "classification_head"}
"""What the heads of transformers' sequence classifiers are called."""

OUTPUT_LAYERS = ("score.weight", "classifier.weight", "out_proj.weight")
"""What the last layers of these heads are called; they have a row a label."""

LENGTH = 512
"""Tokens a text at the most, where no record says how many."""


@dataclass(frozen=True)
class Base:
    """A base model on this disk, and as what it is loaded.

    Attributes:
        source: where it was found.
        kind: a key of `AUTO_CLASSES`.
        label_names: of a classifier's outputs, in order; empty for a language model.
        tokenizer: the adapter's own, where its folder holds one, else the base's.
    """

    source: ModelSource
    kind: str
    label_names: tuple[str, ...]
    tokenizer: Any


@dataclass(frozen=True)
class Adapted:
    """A trained adapter and its base.

    Attributes:
        base: what it adapts.
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        max_length: tokens a text at the most.
        ours: whether lowland's own layers can load it (LoRA, rsLoRA); else PEFT's.
        record: of the run that it came from; None for a folder with an adapter alone.
    """

    base: Base
    folder: Path
    max_length: int
    ours: bool
    record: RunRecord | None = None


def find_adapted(folder: Path, model: str | None = None) -> Adapted:
    """The adapter that a folder holds, and its base.

    Args:
        folder: of a run, or with an adapter in PEFT's format.
        model: the base; default: the one that the run or the adapter names.

    Raises:
        Mistake: if the folder holds neither, the run failed or has no adapter, or the base model cannot be had or is
            not the one that the run was trained on.
    """
    if (folder / "record.json").is_file():
        return _of_run(folder, model)
    if (folder / "adapter_config.json").is_file():
        return _of_adapter(folder, model)
    raise Mistake(f"{folder} is neither a run (record.json) nor an adapter (adapter_config.json)")


def find_base(model: str) -> Base:
    """A base model alone, as what its config says that it is; one without a head as a classifier with two labels."""
    source = find_model(model)
    kind = _kind_of_base(source.folder)
    names = _label_names(source.folder, None) if kind == SEQ_CLS else ()
    return Base(source, kind, names, load_tokenizer(source.folder))


def check_mergeable(adapted: Adapted) -> None:
    """Raise `Mistake` if an adapter is of a kind that cannot be folded into the weights here."""
    if adapted.ours:
        return
    served = "; `lowland predict` without --merge answers with it" if adapted.base.kind == SEQ_CLS else ""
    try:
        read_config(adapted.folder)
    except Mistake as mistake:
        raise Mistake(*(f"{problem}{served}" for problem in mistake.problems)) from None


def finished_record(folder: Path) -> RunRecord:
    """The record of a run that finished; raises `Mistake` if it failed."""
    record = read_record(folder)
    if record.status != "finished":
        failure = (record.failure or "no reason is recorded").splitlines()[0]
        raise Mistake(f"the run in {folder} failed ({failure}); it has nothing to answer with")
    return record


def _of_run(folder: Path, model: str | None) -> Adapted:
    record = finished_record(folder)
    if (folder / "model").is_dir():
        raise Mistake(
            f"{folder} is a run of {record.method}, without an adapter, with nothing to merge;"
            f" its whole model is in {folder / 'model'}"
        )
    if not (folder / "adapter").is_dir():
        raise Mistake(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    source = find_model(model) if model else find_model(record.asked["model"], record.asked["revision"])
    for part, words in (("sha256", "weights"), ("files_sha256", "config and tokenizer")):
        if part not in record.model:
            raise Mistake(
                f"the record in {folder} has no {part} of the base model; it is an older lowland's: run it again, or"
                f" name {folder / 'adapter'}, which is not held against its base"
            )
        if source.describe()[part] != record.model[part]:
            raise Mistake(
                f"the {words} of the base model {source.name} have SHA-256 {source.describe()[part]};"
                f" the run in {folder} was trained on {record.model[part]}"
            )
    tokenizer = load_tokenizer(source.folder)
    base = Base(source, SEQ_CLS, tuple(record.data["labels"]), tokenizer)
    length = _limit(base, int(record.asked["max_length"]))
    return Adapted(base, folder / "adapter", length, _is_ours(read_json(folder / "adapter")), record)


def _of_adapter(folder: Path, model: str | None) -> Adapted:
    config = read_json(folder)
    name = model or config.get("base_model_name_or_path")
    if not name:
        raise Mistake(f"{folder} does not say which base model it adapts; name it with --model")
    source = find_model(name, None if model else config.get("revision"))
    own = (folder / "tokenizer_config.json").is_file()
    tokenizer = load_tokenizer(folder if own else source.folder)
    kind = _kind_of_adapter(folder, config, source.folder)
    names = _label_names(source.folder, folder) if kind == SEQ_CLS else ()
    base = Base(source, kind, names, tokenizer)
    return Adapted(base, folder, _limit(base, LENGTH), _is_ours(config))


def _is_ours(config: Mapping[str, Any]) -> bool:
    return config.get("peft_type") == "LORA" and not other_kinds(config)


def _kind_of_adapter(folder: Path, config: Mapping[str, Any], base: Path) -> str:
    """What the adapter says; else a classifier if it brings a classifier's head; else what the base says."""
    task = config.get("task_type")
    if task is None:
        saved = {str(name).rpartition(".")[2] for name in config.get("modules_to_save") or ()}
        return SEQ_CLS if saved & CLASSIFIER_HEADS else _kind_of_base(base)
    if task not in AUTO_CLASSES:
        raise Mistake(f"{folder} is an adapter for {task}; those for {', '.join(AUTO_CLASSES)} can be read")
    return str(task)


def _kind_of_base(folder: Path) -> str:
    named = set(read_model_config(folder).architectures or ())
    return next((kind for kind, known in TASKS.items() if not named.isdisjoint(known.values())), SEQ_CLS)


def _label_names(base: Path, adapter: Path | None) -> tuple[str, ...]:
    """A classifier's label names: the base config's, unless the adapter's head has another number of outputs."""
    names: dict[int, str] = read_model_config(base).id2label
    rows = _head_rows(adapter) if adapter else None
    if rows in (None, len(names)) and len(names) > 1:
        return tuple(names[number] for number in sorted(names))
    return tuple(f"LABEL_{number}" for number in range(rows or 2))


def _head_rows(adapter: Path) -> int | None:
    """How many outputs the head in an adapter's file has; a damaged file is `load_adapter`'s to tell of."""
    try:
        with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
            heads = [name for name in file.keys() if name.endswith(OUTPUT_LAYERS)]  # noqa: SIM118
            heads = [name for name in heads if CLASSIFIER_HEADS & set(name.split("."))]
            return int(file.get_slice(heads[0]).get_shape()[0]) if heads else None
    except (OSError, SafetensorError):
        return None


def _limit(base: Base, asked: int) -> int:
    return token_limit(base.tokenizer, read_model_config(base.source.folder), asked)
