"""Merge a trained adapter into its base model, compare the logits, and save the complete model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from lowland.deploy.find import AUTO_CLASSES, Adapted, check_mergeable, find_adapted
from lowland.deploy.load import load_adapted
from lowland.deploy.merge.proof import (
    TEXT,
    LayerError,
    LogitDifference,
    input_batches,
    layer_errors,
    logit_difference,
    noun_of,
    sample_inputs,
    without_branches,
)
from lowland.deploy.merge.report import MergeReport
from lowland.deploy.predict import Columns
from lowland.deploy.runs import fields_of
from lowland.deploy.settings import TOLERANCES, MergeSettings
from lowland.deploy.table import check_source, chosen_names
from lowland.ground.asked import plain
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord
from lowland.ground.store import Store, making_parents
from lowland.lora import merge_lora
from lowland.models.quantised import (
    NF4,
    check_installed,
    compute_in_float32,
    forget_quantisation,
    in_nf4,
    quantised_with,
    rounds_inputs,
)
from lowland.tasks.examples import VALIDATION, TaskData
from lowland.tasks.readers.images import check_images, images_in
from lowland.tasks.readers.tables import read_columns
from lowland.tasks.table import load_data, task_named

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
PRECISIONS: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}

EIGHT_BIT_BASE = 1e-1
"""Smallest default tolerance if layers of the base round their inputs to 8 bits, which the merged model does not do."""

MAX_TEXTS, EMBEDDED_TEXTS = 1000, 64
"""Largest number of texts to compare on, and of those from the embedded data set; they are evenly spread."""


@dataclass(frozen=True)
class ProofTexts:
    """Texts that a merge is verified on.

    Attributes:
        columns: n texts for each input column, by its name.
        origin: where they came from, in words.
        instead: why they are not the run's validation texts; None if they are, if a file was named, or if the adapter
            has no record of a run.
    """

    columns: Columns
    origin: str
    instead: str | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Comparison:
    """Comparison of a merged model with the unmerged one.

    Attributes:
        logits: difference of the logits, computed in float32.
        own_dtype: the same, computed in the merged model's dtype.
        effect: difference of the unmerged model's logits with and without s·BA.
        layers: error of each merged weight.
    """

    logits: LogitDifference
    own_dtype: LogitDifference
    effect: LogitDifference
    layers: dict[str, LayerError]


def merge(settings: MergeSettings, *, progress: Progress | None = None) -> MergeReport:
    """Merge an adapter into its base model, and save the complete model if its logits agree.

    The folder `out` then contains the model, its tokenizer and `merge_report.json`. The model is written to a temporary
    folder next to `out`, loaded from there and compared. If the report's `passed` is true, the folder is renamed to
    `out`; otherwise it is removed.

    Raises:
        Mistake: if there is no adapter to merge, the base model or the texts cannot be loaded, or the merged model
            cannot be stored in the format.
        OSError: if the merged model cannot be written.
    """
    progress, out = progress or Progress(), settings.out
    if settings.dtype == NF4:
        check_installed("bitsandbytes", "--dtype nf4")
    adapted = find_adapted(settings.run, settings.model)
    check_mergeable(adapted)
    texts = proof_texts(adapted, settings)
    progress.say(f"loading {adapted.base.source.title} and its adapter")
    apart = load_adapted(adapted)
    with (
        making_parents(out),
        TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as beside,
    ):
        with Store(beside).writing(out.name) as partial:
            progress.say(f"merging in {settings.precision}, writing in {settings.dtype}")
            write_merged(adapted, apart, partial, settings)
            progress.say(f"comparing on {len(texts)} {noun_of(adapted.base)}s")
            report = _report(settings, adapted, apart, texts, compare(adapted, apart, partial, texts))
            (partial / "merge_report.json").write_text(report.as_json(), encoding="utf-8")
        if report.passed:
            (Path(beside) / out.name).rename(out)
    return report


def _report(
    settings: MergeSettings, adapted: Adapted, apart: Any, texts: ProofTexts, comparison: Comparison
) -> MergeReport:
    base = {
        **adapted.base.source.describe(),
        "quantised": quantised_with(apart.config),
        "rounds_inputs": rounds_inputs(apart),
    }
    tolerance = settings.tolerance
    return MergeReport(
        adapter=str(settings.run),
        base=base,
        task_type=adapted.base.kind,
        task=None if adapted.record is None else adapted.record.task,
        input_names=None if adapted.record is None else _usual_names(adapted),
        setup=None if adapted.record is None else _setup(adapted, adapted.record),
        dtype=settings.dtype,
        precision=settings.precision,
        tolerance=_default_tolerance(apart, settings) if tolerance is None else tolerance,
        texts={
            "origin": texts.origin,
            "number": len(texts),
            "kind": f"{noun_of(adapted.base)}s",
            "instead": texts.instead,
        },
        logits=comparison.logits,
        own_dtype=comparison.own_dtype,
        effect=comparison.effect,
        layers=comparison.layers,
    )


def _setup(adapted: Adapted, record: RunRecord) -> dict[str, Any]:
    """Return what reading and decoding depend on as plain values, without the paths of the run's data."""
    fields = plain(fields_of(record).replace(data=None, test_data=None))
    return {
        "fields": fields,
        "max_length": adapted.max_length,
        "labels": list(record.data["labels"]),
        "chosen": dict(record.chosen),
    }


def _default_tolerance(apart: nn.Module, settings: MergeSettings) -> float:
    return max(TOLERANCES[settings.dtype], EIGHT_BIT_BASE if rounds_inputs(apart) else 0.0)


def proof_texts(adapted: Adapted, settings: MergeSettings) -> ProofTexts:
    """Return the texts of the file in the settings; else the run's own validation texts; else embedded ones.

    Raises:
        Mistake: if the texts of the file cannot be read.
    """
    record = adapted.record
    fields = None if record is None else fields_of(record)
    names, noun = _usual_names(adapted), noun_of(adapted.base)
    if settings.data is not None and adapted.base.task is not None:
        check_source(adapted.base.task, settings.data)
    if settings.data is not None and noun == "image":
        return ProofTexts(_spread({"image": _images(settings.data)}, MAX_TEXTS), f"images of {settings.data}")
    if settings.data is not None:
        chosen = chosen_names(names, settings.text_column)
        columns = read_columns(settings.data, chosen)
        read = ", ".join(chosen.values())
        return ProofTexts(_spread(columns, MAX_TEXTS), f"column {read} of {settings.data}")
    instead = None
    if record is not None and fields is not None:
        try:
            data = load_data(fields)
            if data.sha256 == record.data["sha256"]:
                own = {name: data.splits[VALIDATION][name] for name in (*names, *_context(data))}
                return ProofTexts(
                    _spread(own, MAX_TEXTS), f"validation {noun}s of the run's task {data.task}"
                )
            instead = "the data of the run's task has changed since"
        except Mistake as mistake:
            instead = f"the data of the run's task cannot be loaded ({mistake.problems[0]})"
    samples, origin = sample_inputs(adapted.base)
    return ProofTexts(_spread(samples, EMBEDDED_TEXTS), origin, instead)


def _images(folder: Path) -> list[str]:
    """Return the paths of the images in a folder, checked."""
    paths = [str(path) for path in images_in(folder)]
    check_images(paths, str(folder))
    return paths


def _context(data: TaskData) -> tuple[str, ...]:
    """Return the names of the columns beside its input columns that the run's task reads in its data."""
    known = data.splits[VALIDATION].columns
    return tuple(name for name in task_named(data.task).context_columns if name in known)


def _usual_names(adapted: Adapted) -> dict[str, str]:
    """Return the names that the input columns have in the file that the adapter's run was trained on."""
    if adapted.base.task is None:
        return {TEXT: TEXT}
    return adapted.base.task.input_names(None if adapted.record is None else fields_of(adapted.record))


def _spread(columns: Columns, most: int) -> dict[str, tuple[str, ...]]:
    """Return at most `most` texts of each column, evenly spread."""
    return {name: tuple(texts[:: -(-len(texts) // most)]) for name, texts in columns.items()}


def write_merged(adapted: Adapted, apart: nn.Module, folder: Path, settings: MergeSettings) -> None:
    """Write the merged model and its tokenizer into a folder.

    Raises:
        OSError: if the weights cannot be written.
    """
    held = DTYPES.get(settings.dtype, torch.float32)  # 4 bits are made from float32
    precision = PRECISIONS[settings.precision]
    merged: Any = merge_lora(copy.deepcopy(apart), keep=False, dtype=held, precision=precision)
    forget_quantisation(merged)
    try:
        if settings.dtype == NF4:
            merged = in_nf4(merged, apart, folder)
        merged.save_pretrained(folder)
    except SafetensorError as error:  # the disk is full, for instance
        raise OSError(f"the weights cannot be written ({error})") from error
    adapted.base.tokenizer.save_pretrained(folder)


def compare(adapted: Adapted, apart: nn.Module, folder: Path, texts: ProofTexts) -> Comparison:
    """Compare the merged model, loaded from its folder as a user would load it, with base and adapter."""
    base = adapted.base

    def load() -> Any:
        auto_class = getattr(transformers, AUTO_CLASSES[base.kind])
        merged = auto_class.from_pretrained(folder, dtype="auto", device_map="cpu").eval()
        return merged if base.task is None else base.task.with_head(merged, base.setup(adapted.max_length))

    def difference(merged: Any) -> LogitDifference:
        inputs = input_batches(base, texts.columns, adapted.max_length, model=apart)
        return logit_difference(apart, merged, inputs, base.kind)

    effect = difference(without_branches(apart))
    merged = load()
    plain = quantised_with(merged.config) is None
    own = difference(merged)
    if plain and merged.dtype == torch.float32:
        return Comparison(own, own, effect, layer_errors(apart, merged))
    merged = compute_in_float32(merged if plain else load())  # bitsandbytes may have repacked the first one
    return Comparison(difference(merged), own, effect, layer_errors(apart, merged))
