"""Cost of a run: parameters, optimizer, training steps as recorded, inference as measured now, and files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from lowland.deploy.batches import batches
from lowland.deploy.find import base_of_run
from lowland.deploy.predict import Predictor, load
from lowland.deploy.runs import WEIGHTS_FOLDERS
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord
from lowland.lora import lora_layers, merge_lora
from lowland.lora.inject import config_of
from lowland.lora.targets import is_under
from lowland.measure.adapter_settings import CostSettings
from lowland.measure.drift import INPUTS
from lowland.measure.parameters import adamw_bytes, count_by_kind, kinds_of_parameters
from lowland.measure.subject import load_network
from lowland.measure.timing import in_turns, ratio
from lowland.tasks.readers.originals import read_embedded

MOMENTS_BYTES = 8
"""Bytes of AdamW's two moments of a parameter in float32."""
STEP_SECONDS = "efficiency/seconds_per_step"
"""Entry of a run's history."""


@dataclass(frozen=True)
class Cost:
    """Cost of a run.

    Attributes:
        run: folder of the run.
        method: label of its method.
        parameters: numbers of `total` and `trained` parameters, by kind of module. `trained` is None for methods that
            train some of the model's own parameters alone.
        trained: number of trained parameters.
        optimizer_bytes: bytes of AdamW's states.
        training: from the record: `steps`, `seconds_per_step` (median), `seconds`, `peak_bytes`, `batch_size`, `dtype`,
            `processor` and `device`.
        inference: measured now: `seconds` of a forward pass by model (median), `inputs` in it, `tokens` in each, and
            `adapter_to_merged`, the ratio in each round: median and quartiles; None for a run without an adapter.
        files: bytes of the `adapter` or `model` on disk, of the `base` (None if it cannot be found), and of a
            `merged` model in `fp32` and `bf16`.
    """

    run: str
    method: str
    parameters: Mapping[str, Mapping[str, int | None]]
    trained: int
    optimizer_bytes: int
    training: Mapping[str, Any]
    inference: Mapping[str, Any]
    files: Mapping[str, int | None]

    def figures(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def measure_cost(settings: CostSettings, progress: Progress | None = None) -> Cost:
    """Measure what a run costs.

    Args:
        settings: the run, and how often to time it.
        progress: reports what is done.

    Raises:
        Mistake: if the folder holds no finished run of a network, or its weights or its base model cannot be loaded.
    """
    progress = progress or Progress()
    folder = settings.run
    predictor, record = load_network(folder, "which says what the training cost")
    model: nn.Module = predictor.model
    trained = _trained_names(model, record)
    own = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    known = bool(trained)
    counts = count_by_kind(model, trained)
    number = (
        sum(count["trained"] for count in counts.values()) if known else int(record.parameters["trainable"])
    )
    progress.say(f"timing {settings.rounds} rounds of {settings.batch_size} inputs")
    return Cost(
        run=str(folder),
        method=record.method,
        parameters={
            kind: {"total": count["total"], "trained": count["trained"] if known else None}
            for kind, count in counts.items()
        },
        trained=number,
        optimizer_bytes=adamw_bytes(own.values()) if known else MOMENTS_BYTES * number,
        training=_training(folder, record),
        files=_files(folder, record, model),
        inference=_inference(predictor, settings),
    )


def _trained_names(model: nn.Module, record: RunRecord) -> set[str]:
    """Return the names of the trained parameters; empty if only their number is known."""
    if isinstance(model, PeftModel):
        kinds = kinds_of_parameters(model)
        return {name for name, kind in kinds.items() if kind == "adapter" or ".modules_to_save." in name}
    names = {name for name, _ in model.named_parameters()}
    if any(True for _ in lora_layers(model)):
        whole = config_of(model).modules_to_save
        return {name for name in names if ".lora_" in f".{name}" or is_under(name, whole)}
    return names if record.parameters.get("trainable") == record.parameters.get("total") else set()


def _training(folder: Path, record: RunRecord) -> dict[str, Any]:
    """Return what the record and the history say of the training."""
    path = folder / "history.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = [json.loads(line) for line in lines]
    seconds = [entry[STEP_SECONDS] for entry in entries if STEP_SECONDS in entry]
    steps = [entry["step"] for entry in entries if "step" in entry]
    environment = record.environment
    return {
        "steps": max(steps) if steps else None,
        "seconds_per_step": median(seconds) if seconds else None,
        "seconds": record.cost.get("train_seconds"),
        "peak_bytes": record.cost.get("peak_bytes"),
        "batch_size": record.asked["method"].get("batch_size"),
        "dtype": environment.get("dtype"),
        "processor": environment.get("processor"),
        "device": environment.get("device"),
    }


def _files(folder: Path, record: RunRecord, model: nn.Module) -> dict[str, int | None]:
    """Return sizes in bytes: of what the run saved, of its base, and of a merged model."""
    saved: dict[str, int | None] = {
        part: _bytes_in(folder / part) for part in WEIGHTS_FOLDERS if (folder / part).is_dir()
    }
    try:
        base: int | None = _bytes_in(base_of_run(folder, record).source.folder, "*.safetensors")
    except Mistake:
        base = None
    kinds = kinds_of_parameters(model)
    numbers = sum(
        count["total"] for kind, count in count_by_kind(model, ()).items() if kind != "adapter" and kinds
    )
    return {**saved, "base": base, "merged_fp32": 4 * numbers, "merged_bf16": 2 * numbers}


def _bytes_in(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def _inference(predictor: Predictor, settings: CostSettings) -> dict[str, Any]:
    """Time forward passes of the run's model, and of the merged one, in turns."""
    batch = _batch(predictor, settings.batch_size)
    models: dict[str, nn.Module] = {"model": predictor.model}
    if (merged := _merged(settings.run)) is not None:
        models = {"adapter": predictor.model, "merged": merged}
    calls: dict[str, Callable[[], None]] = {
        name: partial(_forward, model, batch) for name, model in models.items()
    }
    seconds = in_turns(calls, settings.rounds)
    size = next(iter(batch.values())).shape
    return {
        "seconds": {name: median(values) for name, values in seconds.items()},
        "inputs": size[0],
        "tokens": size[1] if "input_ids" in batch else None,
        "rounds": settings.rounds,
        "threads": torch.get_num_threads(),
        "adapter_to_merged": ratio(seconds["adapter"], seconds["merged"]) if merged is not None else None,
    }


def _merged(folder: Path) -> nn.Module | None:
    """Return the run's model with its adapter merged, loaded anew; None for a run without an adapter."""
    model: Any = load(folder).model
    if isinstance(model, PeftModel):
        merged: nn.Module = model.merge_and_unload()
        return merged.eval()
    return merge_lora(model, keep=False).eval() if any(True for _ in lora_layers(model)) else None


def _batch(predictor: Predictor, size: int) -> dict[str, Tensor]:
    """Return a batch of embedded texts or drawn images, as the model reads them."""
    samples = predictor.task.sample_inputs()
    columns = samples[0] if samples is not None else None
    if columns is None:
        texts = tuple(read_embedded("financial_demo.csv")[0]["text"])
        columns = dict.fromkeys(predictor.task.input_columns, texts)
    few = {name: list(values[:size]) for name, values in columns.items()}
    encoded = predictor.encode(few)
    batch = next(batches(predictor.task, encoded, predictor.setup, size, predictor.model))
    inputs = {name: batch[name] for name in INPUTS if name in batch}
    return {**inputs, "labels": batch["input_ids"]} if predictor.model.config.is_encoder_decoder else inputs


@torch.inference_mode()
def _forward(model: nn.Module, batch: Mapping[str, Tensor]) -> None:
    model(**batch)
