"""Report of one run or stress test: what was asked, what came out, what it cost, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowland.evidence.core.wording import score_name
from lowland.ground.listing import Entry
from lowland.ground.records import RunRecord, StressRecord, title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Code, Paragraph, Section, Table
from lowland.report.folder import describe_entry
from lowland.report.stress_record import completeness
from lowland.report.stress_record import settings as stress_settings


def run_blocks(entry: Entry) -> list[Block]:
    """Build the report of a run or stress test."""
    record = entry.record
    status = f"{entry.name}: {entry.state}"
    problem = describe_entry(entry)["problem"]
    blocks: list[Block] = [Paragraph(status if problem is None else f"{status}; {problem}")]
    if isinstance(record, StressRecord):
        blocks += [completeness(record), stress_settings(record)]
    elif record is not None:
        blocks += _of_run(record)
    if entry.folder.is_dir():
        blocks.append(Section("Files", (Bullets(_files(entry)),)))
    if isinstance(record, RunRecord) and record.failure:
        blocks.append(Section("Failure", (Code(_lines(record.failure)),)))
    return blocks


def _of_run(record: RunRecord) -> list[Block]:
    """Build the sections of a training run's record."""
    asked = record.asked
    rest = {name: value for name, value in asked.items() if name not in ("task", "method")}
    data: dict[str, Any] = {
        name: record.data[name] for name in ("source", "sha256", "sizes") if name in record.data
    }
    blocks = _section("Asked", {"task": asked["task"], "method": asked["method"], **rest})
    if record.scores:
        blocks.append(Section("Scores", (_scores(record),)))
    search: dict[str, Any] = {
        name: record.tuning[name] for name in ("space", "best") if name in record.tuning
    }
    sections: list[tuple[str, Mapping[str, Any]]] = [
        ("Validation", record.validation),
        ("Chosen on validation data", record.chosen),
        ("Search of the settings", search),
        ("Data", data),
        ("Model", {"name": title_of(record.model), **{k: v for k, v in record.model.items() if k != "name"}}),
        ("Parameters", _counted(record.parameters)),
        ("Cost", _counted(record.cost)),
        ("When", record.when),
        ("Code", record.code),
        ("Environment", record.environment),
    ]
    for title, values in sections:
        blocks += _section(title, values)
    if record.remarks:
        blocks.append(Section("Remarks", (Bullets(tuple(visible(remark) for remark in record.remarks)),)))
    return blocks


def _section(title: str, values: Mapping[str, Any]) -> list[Block]:
    """Return a section with a line for each value; none without values."""
    lines = tuple(f"{visible(name.replace('_', ' '))}: {_text(value)}" for name, value in values.items())
    return [Section(title, (Bullets(lines),))] if lines else []


def _scores(record: RunRecord) -> Table:
    """Build the table of scores, a row for each test set; the baselines' rows stand below."""
    names = list(dict.fromkeys(name for scores in record.scores.values() for name in scores))
    rows = [("", split, scores) for split, scores in record.scores.items()]
    rows += [
        (method, split, scores)
        for method, by_split in record.baseline.items()
        for split, scores in by_split.items()
    ]
    return Table(
        ("method", "test set", *map(score_name, names)),
        tuple(
            (visible(method or record.method), visible(split), *[_number(scores.get(name)) for name in names])
            for method, split, scores in rows
        ),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    """Write a value of a record on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(name))} {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(_text, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else visible(str(value))


def _counted(values: Mapping[str, float]) -> dict[str, Any]:
    """Write whole numbers with commas."""
    return {name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()}


def _files(entry: Entry) -> tuple[str, ...]:
    """Return each file of a run with its size; a file of the trained weights that is gone is said to be missing."""
    sizes = {
        path.relative_to(entry.folder).as_posix(): f"{path.stat().st_size:,} bytes"
        for path in sorted(entry.folder.rglob("*"))
        if path.is_file()
    }
    saved = entry.record.files if isinstance(entry.record, RunRecord) else {}
    sizes |= {name: "missing" for name in saved if name not in sizes}
    return tuple(f"{visible(name)}: {size}" for name, size in sizes.items())


def _lines(text: str) -> str:
    """Return a text with its line breaks, and without anything else that is hidden."""
    return "\n".join(visible(line) for line in text.splitlines())
