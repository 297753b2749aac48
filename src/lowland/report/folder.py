"""Report of what a folder of runs holds: a row for each run and stress test, and what is to be said of some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowland.ground.listing import Entry, is_stress
from lowland.ground.mistakes import plural
from lowland.ground.records import RunRecord, StressRecord, title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Table

LONGEST = 200
"""Number of characters of a failure's first line that are shown."""


def describe_entry(entry: Entry) -> dict[str, Any]:
    """Return what is known of a run or stress test as plain values by name; None for what is not known."""
    record = entry.record
    values: dict[str, Any] = {
        "name": entry.folder.name,
        "folder": str(entry.folder),
        "kind": "stress" if is_stress(entry) else "run",
        "status": entry.state,
        **dict.fromkeys(("task", "method", "seed", "score", "value", "seconds", "key", "started", "ended")),
        "problem": problem_of(entry),
    }
    if record is None:
        return values
    values |= {"key": record.key, "started": record.when.get("started"), "ended": record.when.get("ended")}
    if isinstance(record, StressRecord):
        named = {"task": f"stress {record.asked.get('eval', '')}".strip(), "method": title_of(record.model)}
        return values | named | {"seed": record.asked.get("seed"), "seconds": record.cost.get("seconds")}
    score, value = primary_score(record)
    return values | {
        "task": record.task,
        "method": record.method,
        "seed": record.seed,
        "score": score,
        "value": value,
        "seconds": record.cost.get("train_seconds"),
    }


def primary_score(record: RunRecord) -> tuple[str | None, float | None]:
    """Return name and value of the first score of the first test set; None for each if there is none."""
    first = next(iter(record.scores.values()), {})
    return next(iter(first.items()), (None, None))


def folder_blocks(entries: Sequence[Entry]) -> list[Block]:
    """Build a table with a row for each entry, and a list of what is to be said of those that are not finished."""
    if not entries:
        return [Paragraph("No runs and no stress tests.")]
    problems = [f"{entry.name}: {problem}" for entry in entries if (problem := problem_of(entry))]
    blocks: list[Block] = [entries_table(entries), Paragraph(_counts(entries))]
    return [*blocks, Bullets(tuple(problems))] if problems else blocks


def entries_table(entries: Sequence[Entry]) -> Table:
    """Build the table of runs and stress tests."""
    header = ("name", "task", "method", "seed", "status", "score", "seconds", "ended (UTC)")
    return Table(header, tuple(_row(describe_entry(entry)) for entry in entries))


def _row(values: dict[str, Any]) -> tuple[str, ...]:
    score = "" if values["value"] is None else f"{values['score'].replace('_', ' ')} {values['value']:.4f}"
    ended = str(values["ended"] or "").partition("+")[0].replace("T", " ")
    texts = (values["name"], values["task"], values["method"], values["seed"], values["status"], score)
    seconds = "" if values["seconds"] is None else f"{values['seconds']:.1f}"
    return tuple(visible("" if text is None else str(text)) for text in (*texts, seconds, ended))


def _counts(entries: Sequence[Entry]) -> str:
    """Return how many runs and stress tests there are, and in which states."""
    parts = []
    for noun, kind in (("run", False), ("stress test", True)):
        states = [entry.state for entry in entries if is_stress(entry) is kind]
        if states:
            counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            parts.append(f"{plural(len(states), noun)}: {counted}")
    return ". ".join(parts) + "."


def problem_of(entry: Entry) -> str | None:
    """Return the sentence on an entry that is not finished; None for one that is."""
    record = entry.record
    match entry.state:
        case "finished":
            return None
        case "damaged" | "other version":
            return entry.reason
        case "running":
            return "a process works on it"
        case "unfinished" if is_stress(entry):
            return "begun and not finished; repeat its command, which goes on from there"
        case "unfinished":
            end = " from its last checkpoint" if entry.has_checkpoints else ""
            again = "lowland study retry" if record else "the study's command"
            return f"begun and not finished; {again} runs it{end}"
    lines = str((record and record.failure) or "no reason is recorded").strip().splitlines()
    return visible(lines[0])[:LONGEST]
