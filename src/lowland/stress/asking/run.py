"""Puts a questionnaire to a model through Inspect, and keeps what is whole."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.provenance import code, machine
from lowland.ground.records import StressRecord, write_rows, write_stress_record
from lowland.ground.store import Store
from lowland.stress.asking.budget import Gate, agree, estimate, is_paid
from lowland.stress.asking.inspecting import MOST_FAILED, ask, open_model, own_home
from lowland.stress.asking.settings import StressAsked, asked_as_dict, check, requested, run_key
from lowland.stress.progress import Progress
from lowland.stress.questions.questionnaire import Question, checked, content_sha256, questions

PARTIAL = "-unfinished"
"""Ends the name of a fresh run that is not finished, beside a finished one."""

if TYPE_CHECKING:
    import pandas as pd
    from inspect_ai.model import Model


def run_stress(
    asked: StressAsked,
    *,
    progress: Progress | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Path:
    """Ask all that is not answered yet, and write the rows and the record.

    A finished run is found and asks nothing. One that was killed or stopped goes on: what was answered is not asked
    again, but for the requests that were in flight, at most `max_connections`. Asked `fresh`, a finished run is
    replaced when the new one is finished, too; until then what there is of that lies beside it.

    Args:
        asked: what is asked.
        progress: told of every question.
        confirm: puts a question to the user; None where nobody can be asked.

    Returns:
        The run's folder. Its record says whether it is finished; rows are there in any case.

    Raises:
        Mistake: if it cannot be asked.
    """
    progress = progress or Progress()
    what = checked(asked.what)
    asked = dataclasses.replace(asked, what=what)
    price = check(asked)
    put = questions(what)
    key = run_key(asked, put)
    name = f"{what.eval}-{_slug(asked.model)}-{key[:10]}"
    store = Store(asked.out)
    with store.claim(name):
        place, beside = store.root / name, store.root / ".unfinished" / name
        found = store.find(name, StressRecord)
        if found is not None and not asked.fresh:
            progress.say(f"{what.eval}, {asked.model}: found, {found.counts['scored']:,} answers in {place}")
            return place
        model = open_model(asked)
        cost = estimate(put, asked.epochs, asked.max_tokens, price)
        with Gate(
            beside / "spent.jsonl",
            max_requests=asked.max_requests,
            max_cost=asked.max_cost,
            price=price,
            max_tokens=asked.max_tokens,
        ) as gate:
            left = _left(cost.requests, gate, asked.max_requests)
            if is_paid(asked.model, asked.base_url):
                agree(cost, asked.model, yes=asked.yes, confirm=confirm, left=left)
            progress.say(f"{what.eval}, {asked.model}: {_words(put, asked.epochs)}; {left:,} left to ask")
            started, clock = _now(), time.perf_counter()
            with own_home(beside / "inspect"):
                progress.begin(left)
                log = ask(asked, put, model, gate, beside / "logs", progress.step)
                progress.end()
            spent = {**gate.spent, "seconds": time.perf_counter() - clock}
        record, rows = _outcome(asked, put, key, log, gate, spent, started, model)
        partial = store.root / f"{name}{PARTIAL}"
        if found is not None and record.status != "finished":  # which stays, beside what is not
            place = partial
        _write(store, place.name, record, rows, log)
        if record.status == "finished":
            shutil.rmtree(partial, ignore_errors=True)
        if record.status == "finished" or record.counts["scored"] == record.counts["expected"]:
            shutil.rmtree(beside, ignore_errors=True)  # there is nothing to go on with
        progress.say(_told(record, place))
    return place


def _outcome(
    asked: StressAsked,
    put: Sequence[Question],
    key: str,
    log: Path,
    gate: Gate,
    spent: Mapping[str, float],
    started: str,
    model: Model,
) -> tuple[StressRecord, pd.DataFrame]:
    from lowland.stress.asking.collect import rows_of, settings_sent

    rows = rows_of(log, asked.what, asked.model, put)
    counts = {
        "expected": len(put) * asked.epochs,
        "scored": int((rows["status"] == "scored").sum()),
        "failed": int((rows["status"] == "failed").sum()),
    }
    status, failure = _judged(counts, rows, gate)
    sent, wanted = settings_sent(log), requested(asked)
    flat = {**{k: v for k, v in wanted.items() if k != "extra_body"}, **(wanted.get("extra_body") or {})}
    told: dict[str, Any] = {"name": asked.model, "requested": wanted, "sent": sent}
    told["dropped"] = [one for one in flat if one not in sent] if sent else None
    if hasattr(model.api, "describe"):
        told["described"] = model.api.describe()
    cost = {name: spent.get(name, 0) for name in ("requests", "input_tokens", "output_tokens", "seconds")}
    if gate.price is not None:
        cost["dollars"] = round(spent.get("dollars", 0.0), 6)
    record = StressRecord(
        key=key,
        asked=asked_as_dict(asked),
        status=status,
        failure=failure,
        items={
            "source": asked.what.items or "packed with lowland",
            "sha256": content_sha256(put),
            "count": len({one.item.id for one in put}),
        },
        model=told,
        counts=counts,
        code=code(),
        environment=machine("inspect-ai"),
        cost=cost,
        when={"started": started, "ended": _now()},
    )
    return record, rows.drop(columns="failure")


def _judged(counts: Mapping[str, int], rows: pd.DataFrame, gate: Gate) -> tuple[str, str | None]:
    """The status, and what there is to say of it."""
    from lowland.stress.asking.collect import failures

    missing = counts["expected"] - counts["scored"] - counts["failed"]
    failed = failures(rows)
    if missing:
        why = gate.reason or "the run was interrupted"
        words = f"{missing} of {counts['expected']} rows are missing: {why}"
        return "incomplete", words if failed is None else f"{words}; {failed}"
    if counts["failed"] > MOST_FAILED * counts["expected"]:
        return "failed", failed
    if not rows["reply"].str.strip().any():
        return "failed", f"the model returned nothing at all, {counts['scored']} times; the rows are kept"
    return "finished", failed


def _write(store: Store, name: str, record: StressRecord, rows: pd.DataFrame, log: Path) -> None:
    """Put record, rows and log in their place."""
    with store.writing(name) as folder:
        write_rows(folder, rows)
        write_stress_record(folder, record)
        (folder / "logs").mkdir()
        shutil.copy2(log, folder / "logs")


def _told(record: StressRecord, place: Path) -> str:
    counts = record.counts
    words = f"{record.status}: {counts['scored']:,} of {counts['expected']:,} rows scored"
    words += f", {counts['failed']:,} failed" if counts["failed"] else ""
    words += f" ({record.failure})" if record.failure else ""
    missing = "what is missing" if counts["scored"] < counts["expected"] else "anew"
    again = "" if record.status == "finished" else f"; the same command asks {missing}"
    return f"{words}, {record.cost['seconds']:.0f} s, in {place}{again}"


def _left(expected: int, gate: Gate, max_requests: int | None) -> int:
    left = max(0, expected - int(gate.spent["answered"]))
    return left if max_requests is None else min(left, max(0, max_requests - int(gate.spent["requests"])))


def _words(put: Sequence[Question], epochs: int) -> str:
    items = len({one.item.id for one in put})
    conditions = len({(one.condition, one.level, one.protected) for one in put})
    mitigations = len({one.mitigation for one in put})
    return f"{items} items x {conditions} conditions x {mitigations} mitigations x {epochs} epochs"


def _slug(model: str) -> str:
    return re.sub(r"[^a-zA-Z0-9.]+", "-", model).strip("-.")[:60]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
