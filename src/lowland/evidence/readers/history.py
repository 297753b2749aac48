"""Readers of training logs: the entries of `history.jsonl`, and those up to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake
from lowland.ground.remote import STATE_FILE

Entries = Sequence[Mapping[str, Any]]
"""Entries of a training log, in their order."""


def read_history(folder: Path) -> Entries:
    """Return the entries of a run's training log; none if the run has no log.

    Raises:
        Mistake: if the log cannot be read.
    """
    path = folder / "history.jsonl"
    if not path.is_file():
        return []
    try:
        entries = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (NotJSON, UnicodeDecodeError):
        raise Mistake(
            f"{path} is damaged; run it again with lowland compare --fresh, or leave it out"
        ) from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise Mistake(
            f"{path} is damaged: a line is no JSON object; run it again with lowland compare --fresh"
        )
    return entries


def read_history_so_far(checkpoints: Path) -> Entries:
    """Return the entries of a training log up to the last checkpoint of a run that is being trained.

    What cannot be read, since it is written or removed meanwhile, is left out.

    Args:
        checkpoints: folder of the run's checkpoints.
    """
    for path in sorted(checkpoints.glob(f"checkpoint-*/{STATE_FILE}"), key=_step, reverse=True):
        try:
            entries = parse_json(path.read_text(encoding="utf-8"))["log_history"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if isinstance(entries, list):
            return [entry for entry in entries if isinstance(entry, dict)]
    return []


def _step(path: Path) -> int:
    """Return the optimizer step of a checkpoint's file; -1 if its folder's name has none."""
    number = path.parent.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
