"""Report of `lowland measure cost`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowland.report.blocks import Block, Paragraph, Section, Table
from lowland.report.wording import MISSING

UNITS = ("bytes", "KiB", "MiB", "GiB")
FILES = {
    "adapter": "adapter, on disk",
    "model": "trained model, on disk",
    "base": "base model, on disk",
    "merged_fp32": "whole model in fp32",
    "merged_bf16": "whole model in bf16",
}


def cost_blocks(figures: Mapping[str, Any]) -> list[Block]:
    """Build the report of a run's cost, from the figures of `lowland measure cost --json`."""
    return [
        Paragraph(f"Cost of {figures['method']} ({figures['run']})"),
        _parameters(figures),
        _training(figures),
        _inference(figures["inference"]),
        _files(figures["files"]),
    ]


def _parameters(figures: Mapping[str, Any]) -> Section:
    """Return the parameters by kind of module, and the optimizer's memory."""
    counts = figures["parameters"]
    total = sum(count["total"] for count in counts.values())
    rows = tuple((kind, f"{count['total']:,}", _count(count["trained"])) for kind, count in counts.items())
    rows += (("all", f"{total:,}", f"{figures['trained']:,}"),)
    memory = (
        f"AdamW keeps {_bytes(figures['optimizer_bytes'])} of states for the trained parameters, in float32."
    )
    return Section("Parameters", (Table(("modules", "parameters", "trained"), rows), Paragraph(memory)))


def _training(figures: Mapping[str, Any]) -> Section:
    """Return what the record says of the training."""
    training = figures["training"]
    rows = (
        ("optimizer steps", _count(training["steps"])),
        _step(training),
        ("seconds in all, with validation", _seconds(training["seconds"])),
        ("peak memory", MISSING if training["peak_bytes"] is None else _bytes(training["peak_bytes"])),
        ("batch size, number format", f"{training['batch_size']}, {training['dtype']}"),
        ("machine", f"{training['processor']}, {training['device']}"),
    )
    return Section("Training, as recorded", (Table(("", ""), rows),))


def _step(training: Mapping[str, Any]) -> tuple[str, str]:
    """Return the time of a step: the median that was measured; of older runs the mean, with validation."""
    steps, seconds = training["steps"], training["seconds"]
    if training["seconds_per_step"] is None and steps and seconds:
        return "seconds a step, mean with validation", _seconds(seconds / steps)
    return "seconds a step, median", _seconds(training["seconds_per_step"])


def _inference(inference: Mapping[str, Any]) -> Section:
    """Return the times of forward passes, and the ratio of adapter and merged model."""
    rows = tuple((name, f"{1000 * seconds:.1f}") for name, seconds in inference["seconds"].items())
    tokens = f" of up to {inference['tokens']} tokens" if inference["tokens"] else ""
    about = (
        f"Forward pass of {inference['inputs']} inputs{tokens} in float32, {inference['threads']} threads, median of"
        f" {inference['rounds']} rounds in turns:"
    )
    blocks: list[Block] = [Paragraph(about), Table(("model", "milliseconds"), rows)]
    if (ratio := inference["adapter_to_merged"]) is not None:
        blocks.append(
            Paragraph(
                f"The unmerged adapter takes {ratio['median']:.2f} times as long as the merged model (quartiles"
                f" {ratio['lower_quartile']:.2f} to {ratio['upper_quartile']:.2f})."
            )
        )
    return Section("Inference, measured now", tuple(blocks))


def _files(files: Mapping[str, int | None]) -> Section:
    """Return the sizes of files."""
    rows = tuple(
        (title, _bytes(size)) for name, title in FILES.items() if (size := files.get(name)) is not None
    )
    return Section("Files", (Table(("", "size"), rows),))


def _bytes(size: float) -> str:
    """Write a size in the largest unit of which there is at least one."""
    for unit in UNITS:
        if size < 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == UNITS[0] else f"{size:.1f} {unit}"


def _seconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"
