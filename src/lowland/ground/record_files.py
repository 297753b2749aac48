"""Files of records: functions that write and read what a run or a stress test leaves in its folder."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.records import (
    PREDICTION_COLUMNS,
    RECORD_VERSION,
    ROW_COLUMNS,
    STRESS_RECORD_VERSION,
    RunRecord,
    SearchEntry,
    StressRecord,
)
from lowland.ground.visible import visible


def renewal(folder: Path) -> str:
    """Return what to do about a run whose record is damaged."""
    return (
        f"remove it with lowland study rm --yes {visible(str(folder))} and run it again, or run everything again with"
        " --fresh"
    )


class UnreadableRecord(Mistake):
    """Record that is missing, damaged or of another version.

    Attributes:
        reason: what is wrong with it, without what to do.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason


class OtherVersion(UnreadableRecord):
    """Record of a version that this lowland does not read."""


Record = TypeVar("Record", RunRecord, StressRecord)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `record.json` into a run's folder."""
    _write_json(folder, record)


def write_stress_record(folder: Path, record: StressRecord) -> None:
    """Write `record.json` into a stress test's folder."""
    _write_json(folder, record)


def _write_json(folder: Path, record: RunRecord | StressRecord) -> None:
    text = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "record.json").write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> RunRecord:
    """Return the record in a run's folder.

    Raises:
        Mistake: if the folder has no record, or the record cannot be read, is that of a stress test, or has another
            version.
    """
    content = _read_json(folder)
    if content.get("kind") == "stress":
        raise Mistake(f"{folder} holds a stress test; name the folder of a training run")
    return _parse_record(folder, content, RunRecord, RECORD_VERSION)


def read_stress_record(folder: Path) -> StressRecord:
    """Return the record in a stress test's folder.

    Raises:
        Mistake: if the folder has no record, or the record cannot be read, is that of a training run, or has another
            version.
    """
    content = _read_json(folder)
    asked = content.get("asked")
    if "kind" not in content and isinstance(asked, dict) and "method" in asked:
        raise Mistake(f"{folder} holds a training run; name the folder of a stress test")
    return _parse_record(folder, content, StressRecord, STRESS_RECORD_VERSION)


def read_any_record(folder: Path) -> RunRecord | StressRecord:
    """Return the record in the folder of a run or of a stress test.

    Raises:
        UnreadableRecord: if the folder has no record, or the record cannot be read or has another version.
    """
    content = _read_json(folder)
    if content.get("kind") == "stress":
        return _parse_record(folder, content, StressRecord, STRESS_RECORD_VERSION)
    return _parse_record(folder, content, RunRecord, RECORD_VERSION)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "record.json"
    try:
        content = parse_json(path.read_text(encoding="utf-8"), finite=True)
    except FileNotFoundError:
        what = "holds no record.json" if folder.exists() else "does not exist"
        raise UnreadableRecord(f"{folder} {what}", "name the folder of a run") from None
    except NotADirectoryError:
        raise UnreadableRecord(f"{folder} is a file", "name the folder of a run") from None
    except NotJSON as error:
        where = f"in line {error.line}" if error.line is not None else f"({error.reason})"
        raise UnreadableRecord(f"{path} is damaged {where}", renewal(folder)) from None
    except Mistake as mistake:
        raise UnreadableRecord(f"{path} is damaged: {mistake}", renewal(folder)) from None
    except UnicodeDecodeError:
        raise UnreadableRecord(f"{path} is damaged", renewal(folder)) from None
    except OSError as error:
        raise UnreadableRecord(
            f"{path} cannot be read ({reason_of(error)})", "name the folder of a run"
        ) from None
    if not isinstance(content, dict):
        raise UnreadableRecord(f"{path} is damaged: it holds no JSON object", renewal(folder))
    return content


def _parse_record(folder: Path, content: dict[str, Any], kind: type[Record], known: int) -> Record:
    path = folder / "record.json"
    _check_version(path, content.get("version"), known)
    fields = dataclasses.fields(kind)
    unknown = [repr(name) for name in content if name not in {entry.name for entry in fields}]
    needed = [entry.name for entry in fields if entry.default is entry.default_factory is dataclasses.MISSING]
    missing = [repr(name) for name in needed if name not in content]
    wrong = [f"has the unknown entry {name}" for name in unknown] + [f"lacks {name}" for name in missing]
    wrong = wrong or _wrong_values(content, kind)
    if wrong:
        raise UnreadableRecord(f"{path} is damaged: it {' and '.join(wrong)}", renewal(folder))
    return kind(**content)


def _wrong_values(content: dict[str, Any], kind: type[RunRecord] | type[StressRecord]) -> list[str]:
    """Return what is wrong with the values of a record, as ends of the sentence "it …"."""
    wrong = []
    for name, hint in get_type_hints(kind).items():
        try:
            TypeAdapter(hint).validate_python(content.get(name, {} if name == "asked" else None), strict=True)
        except ValidationError:
            if name in content:
                wrong.append(f"holds {content[name]!r:.60} for {name!r}")
    return wrong or (_wrong_request if kind is RunRecord else _wrong_mappings)(content)


def _wrong_request(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with the request of a run; see `_wrong_values`."""
    asked = content["asked"]
    parts = [(name, asked.get(name)) for name in ("task", "method")]
    keys = {"task": "name", "method": "label"}
    wrong = [
        f"holds {part!r:.60} for {name!r} of 'asked'"
        for name, part in parts
        if not isinstance(part, dict) or not isinstance(part.get(keys[name]), str)
    ]
    seed = asked.get("seed")
    is_whole = isinstance(seed, int) and not isinstance(seed, bool)
    wrong += [] if is_whole else [f"holds {seed!r:.60} for 'seed' of 'asked'"]
    tuning = content.get("tuning")
    try:
        known = SearchEntry(**tuning) if tuning else None
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        return [*wrong, f"holds a damaged 'tuning' ({places:.60})"]
    lacking = sorted(known.space.keys() - known.best.keys()) if known else []
    return wrong + [f"lacks the best {name} in 'tuning'" for name in lacking]


def _wrong_mappings(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with the sections of a stress test's request and model; see `_wrong_values`."""
    model = content.get("model", {})
    sections = {
        "questionnaire": content["asked"].get("questionnaire"),
        "requested": model.get("requested"),
        "sent": model.get("sent"),
    }
    if isinstance(sections["requested"], dict):
        sections["extra_body"] = sections["requested"].get("extra_body")
    return [
        f"holds {value!r:.60} for {name!r}"
        for name, value in sections.items()
        if not isinstance(value, dict | None)
    ]


def _check_version(path: Path, version: object, known: int) -> None:
    if version == known and type(version) is int:
        return
    kind: type[UnreadableRecord] = OtherVersion
    if isinstance(version, int) and 0 < version < known:
        advice = "run it again with --fresh, or read it with the version of lowland that wrote it"
    elif isinstance(version, int) and version > known:
        advice = "update lowland, or run it again with --fresh"
    else:
        kind, advice = UnreadableRecord, "run it again with --fresh"
    raise kind(f"{path} is a record of version {version}, and this lowland reads version {known}", advice)


def write_rows(folder: Path, rows: pd.DataFrame) -> None:
    """Write `rows.parquet`, and `rows.csv` for people; columns are `ROW_COLUMNS`, others may follow.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in ROW_COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(f"rows lack the columns {missing}")
    _write_parquet(folder / "rows.parquet", rows)
    rows.to_csv(folder / "rows.csv", index=False, lineterminator="\n")


def read_rows(folder: Path) -> pd.DataFrame:
    """Return the rows of a stress test.

    Raises:
        Mistake: if they cannot be read.
    """
    path = folder / "rows.parquet"
    try:
        return _read_parquet(path, ROW_COLUMNS)
    except ValueError:
        raise Mistake(f"{path} is missing or damaged; ask again with --fresh") from None


def write_predictions(folder: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.parquet`; columns are `PREDICTION_COLUMNS`, then those of the task.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {missing}")
    _write_parquet(folder / "predictions.parquet", predictions)


def read_predictions(folder: Path) -> pd.DataFrame:
    """Return the predictions of a run, one row for each test example.

    Raises:
        Mistake: if they cannot be read.
    """
    path = folder / "predictions.parquet"
    try:
        table = _read_parquet(path, [name for name in PREDICTION_COLUMNS if name != "text"])
    except ValueError:
        raise Mistake(f"{path} is missing or damaged; run it again with --fresh") from None
    return table if "text" in table else table.assign(text="")  # runs before November 2026 kept no texts


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table with a checksum for each page, so that a changed byte does not become another number."""
    table.to_parquet(path, index=False, write_page_checksum=True)


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table, and compare the checksums of its pages.

    Raises:
        ValueError: if the file is missing or damaged, or lacks one of the columns.
    """
    try:
        table = pd.read_parquet(path, page_checksum_verification=True)
    except Exception as error:  # damaged metadata makes the reader raise errors of many kinds
        raise ValueError(reason_of(error)) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(f"the table lacks {missing}")
    return table


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write `history.jsonl`, one line for each entry; NaN and infinity become null, since JSON has neither."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    entries = [{name: plain(value) for name, value in entry.items()} for entry in history]
    lines = [json.dumps(entry, sort_keys=True, allow_nan=False) for entry in entries]
    (folder / "history.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
