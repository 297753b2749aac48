"""Reader of training logs: the entries of `history.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake

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
