"""Model card of a run: what it was trained on and how, its scores with intervals, and how to load it.

It has the form of the Hugging Face hub's cards: a header in YAML, then Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lowland.evidence.core.arrays import are_shares
from lowland.evidence.core.intervals import paired_interval
from lowland.evidence.core.wording import score_name
from lowland.evidence.readers.runs import finished
from lowland.ground.mistakes import plural
from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord, title_of
from lowland.ground.store import write_whole
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Code, Paragraph, Quoted, Section, Table
from lowland.report.markdown import escape, render

CARD = "README.md"
"""Name of the card in a run's folder, as the hub expects it."""
LEVEL = 0.95
"""Level of the intervals."""


@dataclass(frozen=True)
class Kind:
    """Kind of a trained model.

    Attributes:
        auto_class: class of transformers that loads it.
        pipeline: the hub's name for what it does.
    """

    auto_class: str
    pipeline: str


KINDS: Mapping[str, Kind] = {
    "ForSequenceClassification": Kind("AutoModelForSequenceClassification", "text-classification"),
    "ForQuestionAnswering": Kind("AutoModelForQuestionAnswering", "question-answering"),
    "ForImageClassification": Kind("AutoModelForImageClassification", "image-classification"),
    "ForCausalLM": Kind("AutoModelForCausalLM", "text-generation"),
    "LMHeadModel": Kind("AutoModelForCausalLM", "text-generation"),
    "ForConditionalGeneration": Kind("AutoModelForSeq2SeqLM", "text2text-generation"),
}
"""Kinds by the ends of the names of transformers' classes."""


def write_cards(folders: Iterable[Path]) -> None:
    """Write the card of each finished run that kept its weights, unless it has one."""
    for folder, record in finished(list(folders)).items():
        if record.files and folder.is_dir() and not (folder / CARD).exists():
            write_whole(folder / CARD, model_card(folder, record))


def model_card(folder: Path, record: RunRecord) -> str:
    """Return the card of a finished run, as Markdown with a header.

    Args:
        folder: folder of the run.
        record: its record.
    """
    method, seed = visible(record.method), record.seed
    blocks: list[Block] = [
        Paragraph(
            f"{escape(title_of(record.model))}, fine-tuned on the task {escape(visible(record.task))} by the method"
            f" {escape(method)}, with seed {seed}, by lowland."
        ),
        Section("Scores", _scores(folder, record)),
        Section("Use", _use(folder, record)),
        Section("Training data", (Bullets(_data(record)),)),
        Section("Method", (Bullets(_method(record)),)),
        Section("Model and code", (Bullets(_origin(record)),)),
    ]
    if record.remarks:
        sentences = tuple(escape(visible(sentence)) for sentence in record.remarks)
        blocks.append(Section("What to know of data and model", (Bullets(sentences),)))
    header = yaml.safe_dump(_header(folder, record), sort_keys=False, allow_unicode=True)
    title = f"# {escape(visible(record.task))}: {escape(method)}, seed {seed}"
    return f"---\n{header}---\n\n{title}\n\n{render(blocks)}\n"


def kind_of(record: RunRecord) -> Kind | None:
    """Return the kind of a run's model; None if transformers alone cannot use it as the run did."""
    if record.asked["task"].get("head") == "verbalizer":
        return None
    name = str(record.model.get("class", ""))
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), None)


def _header(folder: Path, record: RunRecord) -> dict[str, Any]:
    """Return the header of the card, by the hub's names."""
    kind = kind_of(record)
    adapter = (folder / "adapter").is_dir()
    metrics = [
        {"type": name, "value": round(value, 4)} for name, value in next(iter(record.scores.values())).items()
    ]
    result = {
        "task": {"type": kind.pipeline if kind else "other"},
        "dataset": {"name": record.task, "type": record.task, "split": next(iter(record.scores))},
        "metrics": metrics,
    }
    return {
        "base_model": record.model.get("name"),
        "library_name": "peft" if adapter else "transformers",
        **({"pipeline_tag": kind.pipeline} if kind else {}),
        "tags": ["lowland", record.method],
        "model-index": [{"name": folder.name, "results": [result]}],
    }


def _scores(folder: Path, record: RunRecord) -> tuple[Block, ...]:
    """Return the table of scores, with the interval of the mean score of the examples."""
    table = read_predictions(folder)
    rows: list[tuple[str | Quoted, ...]] = []
    for split, scores in record.scores.items():
        examples = table[table["split"] == split]
        interval = _interval(examples)
        for name, value in scores.items():
            is_mean = abs(float(examples["score"].mean()) - value) < 1e-6
            baselines = (by_split.get(split, {}).get(name) for by_split in record.baseline.values())
            baseline = next((f"{number:.4f}" for number in baselines if number is not None), "")
            rows.append(
                (
                    Quoted(visible(split)),
                    score_name(name),
                    f"{value:.4f}",
                    interval if is_mean else "",
                    baseline,
                )
            )
    simplest = visible(next(iter(record.baseline), ""))
    header = ("test set", "score", "value", f"{100 * LEVEL:g} % interval", simplest)
    columns = len(header) if simplest else len(header) - 1
    return (
        Table(header[:columns], tuple(row[:columns] for row in rows)),
        Paragraph(
            "Intervals speak of other examples of the same kind, and not of other training runs: one seed says nothing"
            " of the method."
        ),
    )


def _interval(examples: pd.DataFrame) -> str:
    """Return the interval of the mean score over examples (groups of alike examples stay together), in words."""
    scores = examples["score"].to_numpy(dtype=np.float64)[None]
    if examples["group"].nunique() < 2:
        return ""
    interval = paired_interval(scores, np.zeros_like(scores), groups=list(examples["group"]), level=LEVEL)
    low, high = interval.low, interval.high
    if are_shares(scores, scores):
        low = max(low, 0.0)  # differences, and so `high`, end at 1
    return f"{low:.4f} to {high:.4f}"


def _use(folder: Path, record: RunRecord) -> tuple[Block, ...]:
    """Return how the model is loaded: by lowland, and by PEFT or transformers."""
    blocks: list[Block] = [
        Paragraph("With lowland, from this folder (its path stands for `RUN`):"),
        _python('import lowland\n\nprint(lowland.load("RUN").predict([…]))'),
    ]
    if (kind := kind_of(record)) is None:
        return tuple(blocks)
    if not (folder / "adapter").is_dir():
        return (*blocks, Paragraph("With transformers alone:"), _python(_of_pipeline(kind, "RUN/model")))
    blocks += [Paragraph("With PEFT:"), _python(_of_peft(kind, record))]
    if _can_be_merged(folder):
        merged = Paragraph("Merged (`lowland merge RUN --out merged`), with transformers alone:")
        blocks += [merged, _python(_of_pipeline(kind, "merged"))]
    return tuple(blocks)


def _can_be_merged(folder: Path) -> bool:
    """Return whether a run's adapter is LoRA, which `lowland merge` merges."""
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text("utf-8"))
    return config.get("peft_type") == "LORA" and not config.get("use_dora")


def _of_pipeline(kind: Kind, folder: str) -> str:
    lines = (
        "from transformers import pipeline",
        "",
        f'model = pipeline("{kind.pipeline}", model="{folder}")',
    )
    return "\n".join((*lines, "print(model(…))"))


def _of_peft(kind: Kind, record: RunRecord) -> str:
    """Return the program that loads an adapter into its base model with PEFT."""
    name = json.dumps(str(record.model.get("name")))
    labels = [str(label) for label in record.data.get("labels", [])]
    has_labels = kind.pipeline.endswith("classification")
    lines = ["from peft import PeftModel", f"from transformers import {kind.auto_class}", ""]
    if has_labels:
        lines.append(f"labels = {json.dumps(labels, ensure_ascii=False)}")
    more = ", num_labels=len(labels), id2label=dict(enumerate(labels))" if has_labels else ""
    return "\n".join(
        [
            *lines,
            f"base = {kind.auto_class}.from_pretrained({name}{more})",
            'model = PeftModel.from_pretrained(base, "RUN/adapter").eval()',
        ]
    )


def _python(text: str) -> Code:
    return Code(text, "python")


def _data(record: RunRecord) -> tuple[str, ...]:
    data = record.data
    sizes = ", ".join(f"{visible(name)} {count:,}" for name, count in data.get("sizes", {}).items())
    lines = [f"source: {escape(visible(str(data.get('source'))))}", f"examples: {escape(sizes)}"]
    if labels := data.get("labels"):
        lines.append(f"labels: {escape(', '.join(visible(str(label)) for label in labels))}")
    lines.append(f"SHA-256 of all examples and splits: {data.get('sha256')}")
    cut = {name: count["cut"] for name, count in data.get("truncated", {}).items() if count.get("cut")}
    lines += [
        f"{plural(count, 'example')} of {escape(visible(name))} {'was' if count == 1 else 'were'} cut off at"
        f" {record.asked['max_length']} tokens"
        for name, count in cut.items()
    ]
    return tuple(lines)


def _method(record: RunRecord) -> tuple[str, ...]:
    own = {
        name: value
        for name, value in record.asked["method"].items()
        if name != "label" and value not in ({}, None)
    }
    lines = [f"{name.replace('_', ' ')}: {escape(visible(_written(value)))}" for name, value in own.items()]
    if record.tuning:
        lines.append(f"searched on validation data: {escape(', '.join(record.tuning.get('best', {})))}")
    trainable, total = record.parameters.get("trainable"), record.parameters.get("total")
    if trainable is not None and total is not None:
        lines.append(f"trained parameters: {trainable:,.0f} of {total:,.0f}")
    return tuple(lines)


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _origin(record: RunRecord) -> tuple[str, ...]:
    model, environment = record.model, record.environment
    lines = [
        f"base model: {escape(visible(str(model.get('name'))))}, from: {escape(visible(str(model.get('origin'))))};"
        f" SHA-256 {model.get('sha256')}"
    ]
    if terms := model.get("terms"):
        lines.append(f"terms of the base model: {escape(visible(str(terms)))}")
    names = ("python", "torch", "transformers", "peft")
    versions = ", ".join(f"{name} {environment[name]}" for name in names if name in environment)
    lines.append(
        f"lowland {record.code.get('lowland')}, {versions}; number format {environment.get('dtype')}"
    )
    return tuple(lines)
