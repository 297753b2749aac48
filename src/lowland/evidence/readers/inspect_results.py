"""Reader of Inspect's logs (https://inspect.aisi.org.uk): scores of samples, epochs as repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lowland.evidence.readers.lm_eval_results import choose
from lowland.evidence.readers.table_results import Columns, with_groups
from lowland.evidence.results import Results, as_results
from lowland.ground.mistakes import Mistake, reason_of

LOG_VERSION = 2
"""Version of Inspect's logs that this reader knows."""
OWN_TASKS = frozenset({"messy", "multilingual"})
"""Tasks of lowland's own, whose samples are forms of an `item`."""
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's letters for correct, partially correct, incorrect and no answer."""


def is_inspect(path: Path) -> bool:
    """Return whether a file is a log of Inspect, or a folder holds such logs."""
    return any(path.glob("*.eval")) if path.is_dir() else path.suffix == ".eval"


def read_inspect(path: Path, metric: str | None, columns: Columns) -> list[Results]:
    """Read logs: one result for each model.

    Raises:
        Mistake: if Inspect is not installed, a log cannot be read or is unfinished, a folder holds several logs of one
            task and model, or there are several scores and none is named.
    """
    logs = [_log(file) for file in (sorted(path.glob("*.eval")) if path.is_dir() else [path])]
    kinds = [(log["model"], log["task"]) for log in logs]
    if again := [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]:
        model, task = again[0]
        raise Mistake(f"{path} holds several logs of {task} with {model}; name the logs to compare")
    many_tasks = len({log["task"] for log in logs}) > 1
    results = []
    for model in dict.fromkeys(log["model"] for log in logs):
        rows = [
            {**row, "example": f"{log['task']}: {row['example']}" if many_tasks else row["example"]}
            for log in logs
            if log["model"] == model
            for row in log["rows"]
        ]
        names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
        chosen = choose(names, metric, str(path))
        table = pd.DataFrame(
            {
                "example": [row["example"] for row in rows],
                "score": [number_of(row["scores"].get(chosen)) for row in rows],
                "text": [row["text"] for row in rows],
            }
        )
        about = [row["about"] for row in rows]
        is_own = {log["task"].removeprefix("lowland/") for log in logs} <= OWN_TASKS
        group = "item" if is_own and columns.group == Columns.group else columns.group
        grouped = with_groups(table, about, str(path), group)
        results.append(as_results(grouped, str(model), chosen, str(path)))
    return results


def _log(file: Path) -> dict[str, Any]:
    """Return model, task, and example, text, scores and metadata of each sample and epoch."""
    try:
        from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
    except ImportError:
        raise Mistake(
            f"{file} is a log of Inspect, which is not installed; pip install 'lowland[stress]'"
        ) from None
    try:
        header = read_eval_log(str(file), header_only=True)
        samples = read_eval_log_sample_summaries(str(file))
    except Exception as error:
        raise Mistake(f"{file} cannot be read as a log of Inspect ({reason_of(error)})") from error
    if header.version > LOG_VERSION:
        raise Mistake(
            f"{file} is a log of version {header.version}; lowland reads versions up to {LOG_VERSION}: update lowland,"
            " or export the scores as a table"
        )
    if header.status != "success":
        raise Mistake(
            f"{file} is unfinished: its status is {header.status}; finish it with inspect eval-retry, and give that log"
        )
    if failed := [sample for sample in samples if sample.error]:
        raise Mistake(f"{file}: sample {failed[0].id} ended with an error; finish it with inspect eval-retry")
    rows = [
        {
            "example": str(sample.id),
            "text": sample.input if isinstance(sample.input, str) else "",
            "scores": _scores(sample.scores or {}),
            "about": sample.metadata or {},
        }
        for sample in samples
    ]
    return {"model": header.eval.model, "task": header.eval.task, "rows": rows}


def _scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the values by name; a score of several values has one for each of their names."""
    values: dict[str, Any] = {}
    for name, score in scores.items():
        if isinstance(score.value, dict):
            values |= {f"{name} ({key})": value for key, value in score.value.items()}
        else:
            values[name] = score.value
    return values


def number_of(value: Any) -> Any:
    """Return a score of Inspect as a number; what is no letter of Inspect stays as it is."""
    return LETTERS.get(value, value) if isinstance(value, str) else value
