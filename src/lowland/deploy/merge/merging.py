"""A trained adapter merged into its base, written as a whole model, and proven to answer as the two did apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
    Difference,
    LayerError,
    batches,
    difference,
    layer_errors,
    without_branches,
)
from lowland.deploy.merge.report import MergeReport
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.store import Store
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
from lowland.tasks.classification import VALIDATION
from lowland.tasks.readers import read_embedded, read_texts
from lowland.tasks.table import load_task

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
PRECISIONS: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}

TOLERANCES: Mapping[str, float] = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 1e-1, NF4: 1.0}
"""The largest difference of a logit that passes. These are ours, no standard's: some ten to a hundred roundings of a
classifier's logit, which is of the order of 1. Logits of language models are larger, and may need more. A small model
mostly lies above that of nf4 (docs/merging.md): who wants it nevertheless says so with a tolerance of their own."""
EIGHT_BIT_BASE = 1e-1
"""At the least, where layers of the base round what comes in to 8 bits: the merged model does not."""

MOST_TEXTS, EMBEDDED_TEXTS = 1000, 64
"""How many texts are compared at the most, and how many of those that come with lowland; evenly spread."""


@dataclass(frozen=True)
class Texts:
    """Texts that a merge is verified on.

    Attributes:
        texts: n of them.
        origin: where they came from, in words.
        instead: why they are not the run's validation texts, where these were looked for.
    """

    texts: tuple[str, ...]
    origin: str
    instead: str | None = None


def merge(
    folder: Path,
    out: Path,
    *,
    model: str | None = None,
    dtype: str = "fp32",
    precision: str = "float32",
    tolerance: float | None = None,
    data: Path | None = None,
    text_column: str = "text",
    say: Callable[[str], None] = lambda words: None,
) -> MergeReport:
    """Merge an adapter into its base, and write the whole model if it answers as before.

    The folder `out` then holds the model, its tokenizer and `merge_report.json`. It is written beside its place, read
    again from there, compared, and renamed if the report's `passed` is true; else nothing is left.

    Args:
        folder: of a run, or of an adapter in PEFT's format.
        out: where to; it must be empty or not there.
        model: the base; default: the one that the run or adapter names.
        dtype: fp32, fp16, bf16 or nf4.
        precision: of the sum, float32 or float64.
        tolerance: on the largest difference of a logit; default: that of the dtype in `TOLERANCES`, or
            `EIGHT_BIT_BASE`, where it applies.
        data: a file of texts to compare on; default: the run's validation texts, else embedded ones.
        text_column: its column of texts.
        say: told what is being done.

    Raises:
        Mistake: if there is no adapter to merge, or something that was given cannot be used.
    """
    _check(out, dtype, precision, tolerance)
    adapted = find_adapted(folder, model)
    check_mergeable(adapted)
    texts = _texts(adapted, data, text_column)
    say(f"loading {adapted.base.source.name} and its adapter")
    apart = load_adapted(adapted)
    with (
        _parents(out),
        TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as beside,
    ):
        with Store(beside).writing(out.name) as partial:
            say(f"merging in {precision}, writing in {dtype}")
            _write(adapted, apart, partial, dtype, PRECISIONS[precision])
            say(f"comparing on {len(texts.texts)} texts")
            logits, own, effect, layers = _compare(adapted, apart, partial, texts)
            report = MergeReport(
                adapter=str(folder),
                base={
                    **adapted.base.source.describe(),
                    "quantised": quantised_with(apart.config),
                    "rounds_inputs": rounds_inputs(apart),
                },
                task_type=adapted.base.kind,
                dtype=dtype,
                precision=precision,
                tolerance=_default_tolerance(apart, dtype) if tolerance is None else tolerance,
                texts={"origin": texts.origin, "number": len(texts.texts), "instead": texts.instead},
                logits=logits,
                own_dtype=own,
                effect=effect,
                layers=layers,
            )
            (partial / "merge_report.json").write_text(report.as_json(), encoding="utf-8")
        if report.passed:
            (Path(beside) / out.name).rename(out)
    return report


def _check(out: Path, dtype: str, precision: str, tolerance: float | None) -> None:
    problems = []
    if dtype not in TOLERANCES:
        problems.append(one_of("dtype", dtype, TOLERANCES))
    if precision not in PRECISIONS:
        problems.append(one_of("precision", precision, PRECISIONS))
    if tolerance is not None and not tolerance >= 0:
        problems.append(f"tolerance is {tolerance}; it must be at least 0")
    if out.exists() and not out.is_dir():
        problems.append(f"out is {out}, which is a file; name a folder")
    elif out.is_dir() and any(out.iterdir()):
        problems.append(f"the folder {out} is not empty; name another one with --out, or empty it")
    if problems:
        raise Mistake(*problems)
    if dtype == NF4:
        check_installed("bitsandbytes", "--dtype nf4")


@contextmanager
def _parents(out: Path) -> Iterator[None]:
    """The folders above a place; those that had to be made go again if nothing came to lie in them."""
    made = [one for one in out.absolute().parents if not one.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in made:  # the innermost comes first
            with suppress(OSError):  # it is not empty
                one.rmdir()


def _default_tolerance(apart: nn.Module, dtype: str) -> float:
    return max(TOLERANCES[dtype], EIGHT_BIT_BASE if rounds_inputs(apart) else 0.0)


def _texts(adapted: Adapted, data: Path | None, column: str) -> Texts:
    """The texts of a file that is given; else the run's own validation texts; else some that come with lowland."""
    if data is not None:
        return Texts(_spread(read_texts(data, column), MOST_TEXTS), f"column {column} of {data}")
    instead = None
    if (record := adapted.record) is not None:
        try:
            task = load_task(record.asked["task"], record.asked["data"])
            if task.sha256 == record.data["sha256"]:
                own = task.splits[VALIDATION].texts
                return Texts(_spread(own, MOST_TEXTS), f"validation texts of the run's task {task.task}")
            instead = "the data of the run's task has changed since"
        except Mistake as mistake:
            instead = f"the data of the run's task cannot be had ({mistake.problems[0]})"
    table, origin = read_embedded("financial_demo.csv")
    return Texts(_spread(list(table["text"]), EMBEDDED_TEXTS), origin, instead)


def _spread(texts: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(texts[:: -(-len(texts) // most)])


def _write(adapted: Adapted, apart: nn.Module, folder: Path, dtype: str, precision: torch.dtype) -> None:
    held = DTYPES.get(dtype, torch.float32)  # 4 bits are made of float32
    merged: Any = merge_lora(copy.deepcopy(apart), keep=False, dtype=held, precision=precision)
    forget_quantisation(merged)
    try:
        if dtype == NF4:
            merged = in_nf4(merged, apart, folder)
        merged.save_pretrained(folder)
    except SafetensorError as error:  # of the disk: it is full, for instance
        raise OSError(f"the weights cannot be written ({error})") from error
    adapted.base.tokenizer.save_pretrained(folder)


def _compare(
    adapted: Adapted, apart: nn.Module, folder: Path, texts: Texts
) -> tuple[Difference, Difference, Difference, dict[str, LayerError]]:
    """Hold the merged model, as anyone would load it from its folder, against base and adapter.

    Computed in float32, computed in its own way, the base alone instead of it, and weight by weight.
    """
    base = adapted.base

    def load() -> Any:
        auto = getattr(transformers, AUTO_CLASSES[base.kind])
        return auto.from_pretrained(folder, dtype="auto", device_map="cpu").eval()

    def compared(merged: Any) -> Difference:
        return difference(apart, merged, batches(texts.texts, base.tokenizer, adapted.max_length), base.kind)

    effect = compared(without_branches(apart))
    merged = load()
    plain = quantised_with(merged.config) is None
    own = compared(merged)
    if plain and merged.dtype == torch.float32:
        return own, own, effect, layer_errors(apart, merged)
    merged = compute_in_float32(merged if plain else load())  # bitsandbytes may have repacked the first one
    return compared(merged), own, effect, layer_errors(apart, merged)
