"""Last lines of a study: where its runs are, which method has the highest mean score, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from lowland.evidence.readers.runs import finished
from lowland.ground.mistakes import plural
from lowland.ground.records import RunRecord


def closing_lines(folders: Sequence[Path], url: str | None = None) -> list[str]:
    """Return the last lines of a study.

    Args:
        folders: of the runs; failed ones are named.
        url: the URL that they are copied to, without its secrets; None if they are in folders only.
    """
    runs = finished(folders)
    failed = [folder for folder in folders if folder not in runs]
    lines = failure_lines(failed)
    if runs:
        lines.append(f"{_where(list(runs), url)}{_highest(runs) if len(runs) > 1 else ''}")
        lines += _next_steps(runs, url) if len(runs) > 1 else [f"Next: {_next_step(runs, url)}"]
    return lines


def failure_lines(failed: Sequence[Path]) -> list[str]:
    """Return a line for each run that failed."""
    return [f"The run failed; {folder / 'record.json'} says why" for folder in failed]


def _where(folders: Sequence[Path], url: str | None) -> str:
    if len(folders) == 1:
        return f"The run is in {_place_of(folders[0], url)}"
    return f"{plural(len(folders), 'run')} are in {url or folders[0].parent}"


def _place_of(folder: Path, url: str | None) -> str:
    """Return where a person finds a run."""
    return str(folder) if url is None else f"{url}/{folder.name}"


def _highest(runs: Mapping[Path, RunRecord]) -> str:
    """Return which method has the highest mean score; the words before it say how sure that is."""
    means = _means(runs)
    best = max(means.values())
    names = " and ".join(method for method, mean in means.items() if mean == best)
    score = next(iter(runs.values())).primary_score.replace("_", " ")
    return f"; the highest mean {score} is {best:.4f}, of {names}" if len(means) > 1 else ""


def _means(runs: Mapping[Path, RunRecord]) -> dict[str, float]:
    """Return the mean primary score of each method on the test set, over seeds."""
    scores: dict[str, list[float]] = {}
    for record in runs.values():
        split = next(iter(record.scores.values()))
        scores.setdefault(record.method, []).append(split[record.primary_score])
    return {method: fmean(values) for method, values in scores.items()}


def _next_steps(runs: Mapping[Path, RunRecord], url: str | None) -> list[str]:
    """Return what to do with the runs of a study, a command a line."""
    folder, record = next(iter(runs.items()))
    place = url or folder.parent / f"{record.task}-*"
    return [
        "Next:",
        f"- one page to share: lowland report {place}",
        f"- which examples go wrong, and what a method fixes: lowland errors {place}",
        f"- with the run of the highest validation score: {_next_step(runs, url)}",
    ]


def _next_step(runs: Mapping[Path, RunRecord], url: str | None) -> str:
    """Return a command that uses the run with the highest validation score: the test set chooses nothing."""
    folder = max(runs, key=lambda folder: runs[folder].validation.get(runs[folder].primary_score, -math.inf))
    if not any((folder / part).is_dir() for part in ("adapter", "model")):
        return "the runs kept no weights to predict with; lowland train with this method keeps them"
    data = runs[folder].data
    reads, inputs = data.get("reads", "text"), data.get("inputs", ["text"])
    values = "…" if len(inputs) == 1 else " ".join(map(str.upper, inputs))
    files = "FOLDER" if reads == "image" else "FILE"
    return f"lowland predict {_place_of(folder, url)} --{reads} {values}, or --data {files} --out FILE"
