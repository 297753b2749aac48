"""Blocks of a stress test's record: whether the run is complete, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowland.ground.mistakes import plural
from lowland.ground.records import StressRecord, title_of
from lowland.report.blocks import Bullets, Paragraph


def completeness(record: StressRecord) -> Paragraph:
    """Build the sentences that say how many rows there are, what went wrong, and what to do about it."""
    counts = record.counts
    parts = [f"{counts[name]:,} {name}" for name in ("expected", "scored", "failed") if name in counts]
    missing = counts.get("expected", 0) - counts.get("scored", 0) - counts.get("failed", 0)
    warning = f" Beware: {plural(missing, 'row')} missing." if missing else ""
    reason = f" ({record.failure})" if record.failure else ""
    advice = ""
    if record.status != "finished":
        again = (
            "only what is missing" if counts.get("scored") != counts.get("expected") else "everything again"
        )
        advice = f" Remove the cause, and repeat the command of the run; it asks {again}."
    return Paragraph(
        f"The run is {record.status}{reason}: rows {', '.join(parts)}.{warning}{advice}{_changed(record)}"
    )


def _changed(record: StressRecord) -> str:
    """Return a sentence for each fine-tuned run whose answers to undamaged texts are not those of its own record."""
    return "".join(
        f" Beware: {share:.1%} of the answers of {run.get('method')}, seed {run.get('seed')}, to undamaged texts"
        " are not those of its record; its weights, its settings or the machine have changed."
        for run in record.model.get("runs") or []
        if (share := run.get("clean_differs") or 0) > 0
    )


def settings(record: StressRecord) -> Bullets:
    """Build the list of settings as requested and as sent, the items and the cost."""
    left_out = ("eval", "model", "runs", "questionnaire", *(record.model.get("requested") or {}))
    asked = {**(record.asked.get("questionnaire") or {}), **record.asked}
    asked = {name: value for name, value in asked.items() if name not in left_out}
    lines = [f"model: {title_of(record.model)}"]
    if described := record.model.get("described"):
        lines.append(f"described: {_flat(described)}")
    lines += [f"{name}: {_flat(value)}" for name, value in asked.items() if value not in (None, {}, [])]
    lines += _requested_and_sent(record.model)
    if items := record.items:
        sha256 = str(items.get("sha256"))[:12]
        lines.append(f"items: {items.get('count', '?')}, {items.get('source', '?')}, SHA-256 {sha256}")
    lines += [f"{name.replace('_', ' ')}: {_flat(value)}" for name, value in record.cost.items()]
    return Bullets(tuple(lines))


def _requested_and_sent(model: Mapping[str, Any]) -> list[str]:
    """Return settings as requested and as sent; some providers drop unsupported ones, and do not log it."""
    requested = dict(model.get("requested") or {})
    requested |= requested.pop("extra_body", None) or {}
    sent = model.get("sent") or {}
    if not requested and not sent:
        return []
    if not sent:
        return [f"requested: {_flat(requested)}; no request to a server shows what was sent"]
    return [
        f"{name}: requested {_value(requested, name)}, sent {_value(sent, name)}"
        for name in dict.fromkeys([*requested, *sent])
    ]


def _value(values: Mapping[str, Any], name: str) -> str:
    return _flat(values[name]) if values.get(name) is not None else "nothing"


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value)) or "none"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
