"""Reader of what lm-evaluation-harness writes with `--log_samples`: a JSON line for each question and filter."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.evidence.readers.table_results import Columns, with_groups
from lowland.evidence.results import Results, as_results
from lowland.ground.mistakes import Mistake

NAME = re.compile(r"samples_(?P<task>.+?)_\d{4}-\d{2}-\d{2}T[\d.:-]+\.jsonl")
"""Name of a file with samples: the task, and when it was run."""
KEYS = ("doc_id", "filtered_resps")
"""Entries that each sample has."""


def is_lm_eval(path: Path) -> bool:
    """Return whether a file holds samples of lm-evaluation-harness, or a folder such files."""
    if path.is_dir():
        return bool(_files(path))
    if path.suffix != ".jsonl":
        return False
    with path.open("rb") as file:
        first = file.readline(2**20)
    return all(f'"{key}"'.encode() in first for key in KEYS)


def read_lm_eval(path: Path, metric: str | None, columns: Columns) -> list[Results]:
    """Read samples: one result for each folder, which lm-evaluation-harness names after the model.

    Raises:
        Mistake: if a line cannot be read, a folder holds several runs of one task, or there are several scores and none
            is named.
    """
    files = _files(path) if path.is_dir() else [path]
    return [
        _result(folder, [file for file in files if file.parent == folder], path, metric, columns.group)
        for folder in dict.fromkeys(file.parent for file in files)
    ]


def _result(folder: Path, files: list[Path], path: Path, metric: str | None, group: str) -> Results:
    """Return the result of one model; `group` names the entry of a question that says which are alike."""
    tasks = [_task(file) for file in files]
    if again := [task for task in dict.fromkeys(tasks) if tasks.count(task) > 1]:
        raise Mistake(f"{folder} holds several runs of {again[0]}; name the file of one of them")
    rows = [row for task, file in zip(tasks, files, strict=True) for row in _rows(file, task)]
    scores = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    chosen = choose(scores, metric, str(folder if path.is_dir() else path))
    if lacking := sum(chosen not in row["scores"] for row in rows):
        raise Mistake(
            f"{folder}: {lacking} of {len(rows)} samples have no score {chosen}; name the samples_*.jsonl of tasks that"
            " have it"
        )
    table = pd.DataFrame(
        {
            "example": [
                f"{row['task']}: {row['example']}" if len(files) > 1 else row["example"] for row in rows
            ],
            "score": [row["scores"][chosen] for row in rows],
            "text": [row["text"] for row in rows],
        }
    )
    source = str(folder if path.is_dir() else path)
    grouped = with_groups(table, [row["about"] for row in rows], source, group)
    return as_results(grouped, folder.name.replace("__", "/"), chosen, source)


def choose(scores: list[str], metric: str | None, source: str) -> str:
    """Return the name of the score to read.

    Raises:
        Mistake: if there is none, it is unknown, or there are several and none is named.
    """
    listed = ", ".join(scores)
    if not scores:
        raise Mistake(f"{source} holds no scores that are numbers; expected one for each example")
    if metric is None and len(scores) > 1:
        raise Mistake(f"{source} holds several scores ({listed}); name one by --metric")
    if metric is not None and metric not in scores:
        raise Mistake(f"{source} has no score {metric}; expected one of {listed}")
    return metric or scores[0]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("samples_*.jsonl"), key=lambda path: path.name)


def _task(file: Path) -> str:
    match = NAME.fullmatch(file.name)
    return match["task"] if match else file.stem


def _rows(file: Path, task: str) -> list[dict[str, Any]]:
    """Return task, example, text, scores and question of each sample.

    The scores of several filters are told apart by the filter's name.
    """
    rows: dict[str, dict[str, Any]] = {}
    samples = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            sample = json.loads(line)
            # The hash of the question is part of the name, so that other questions of the same number do not pair.
            samples.append((f"{sample['doc_id']} ({str(sample.get('doc_hash', ''))[:8]})", sample))
        except (ValueError, KeyError, TypeError) as error:
            raise Mistake(f"{file} line {number} is no sample of lm-evaluation-harness") from error
    filters = {sample.get("filter", "none") for _, sample in samples}
    for example, sample in samples:
        row = rows.setdefault(
            example,
            {
                "task": task,
                "example": example,
                "text": _text(sample),
                "scores": {},
                "about": sample.get("doc") if isinstance(sample.get("doc"), dict) else {},
            },
        )
        for name in _scores(sample):
            title = f"{name} ({sample['filter']})" if len(filters) > 1 else name
            row["scores"][title] = sample[name]
    return list(rows.values())


def _scores(sample: Mapping[str, Any]) -> list[str]:
    """Return the names of a sample's scores that are numbers."""
    named = sample.get("metrics") or []
    return [name for name in named if isinstance(sample.get(name), int | float)]


def _text(sample: Mapping[str, Any]) -> str:
    """Return the question, as the model was asked it."""
    arguments = sample.get("arguments") or {}
    first = next(iter(arguments.values()), "") if isinstance(arguments, dict) else arguments[0]
    if isinstance(first, dict):
        first = first.get("arg_0", "")
    elif isinstance(first, list | tuple):
        first = first[0] if first else ""
    return str(first)
