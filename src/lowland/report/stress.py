"""A stress test in words: a summary for the terminal, and the whole story in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.evidence.stress import StressEvidence, split_rows, stress_evidence
from lowland.ground.records import StressRecord, read_rows, read_stress_record
from lowland.report.stress_adapters import adapter_parts
from lowland.report.stress_tables import (
    account_table,
    accuracy_table,
    category_table,
    chance,
    dose_table,
    example_table,
    mitigation_table,
    named,
    points,
    reference_table,
    worst_table,
)

RETRIEVER = "lowland/retriever"
ABOUT_RETRIEVER = (
    "`lowland/retriever` is no language model. It embeds a question with MiniLM and says the answer of the nearest"
    " of its packed facts, or that it does not know. It reads no instructions, so that a prompt can neither help"
    " nor harm it, and it is deterministic, so that its epochs agree. What is measured is how such embeddings bear"
    " damage; it says nothing about language models."
)


def stress_summary(rows: pd.DataFrame, record: StressRecord) -> str:
    """The story for the terminal: what came out by condition, the greatest harm, what mitigations do.

    Args:
        rows: of one record, a row a question asked.
        record: of the same run.
    """
    parts = [_complete(record)]
    if rows.empty:
        return parts[0]
    if _of_adapters(rows):
        return "\n\n".join([*parts, *adapter_parts(rows, full=False)])
    for block in split_rows(rows):
        found = stress_evidence(block)
        parts += [_heading(found), accuracy_table(found), "\n".join(f"- {one}" for one in _sentences(found))]
        parts += [ABOUT_RETRIEVER] if found.model == RETRIEVER else []
    return "\n\n".join(parts)


def stress_markdown(rows: pd.DataFrame, record: StressRecord) -> str:
    """The whole story as Markdown, its sections under headings of the second degree.

    Args:
        rows: of one record, a row a question asked.
        record: of the same run.
    """
    parts = [_complete(record), _settings(record)]
    if not rows.empty and _of_adapters(rows):
        return "\n\n".join([*parts, *adapter_parts(rows, full=True)]) + "\n"
    for block in [] if rows.empty else split_rows(rows):
        parts += _sections(block, stress_evidence(block))
    return "\n\n".join(part for part in parts if part) + "\n"


def stress_folders(folders: Sequence[Path]) -> str:
    """One Markdown document of several runs, a heading of the first degree each.

    Args:
        folders: of stress tests, each with `record.json` and `rows.parquet`.

    Raises:
        Mistake: if a folder holds no stress test that can be read.
    """
    documents = []
    for folder in folders:
        record = read_stress_record(folder)
        rows = read_rows(folder)
        kind = rows["eval"].iloc[0] if len(rows) else "no rows"
        documents.append(
            f"# {kind}: {record.model.get('name', 'unknown model')}\n\n{stress_markdown(rows, record)}"
        )
    return "\n".join(documents)


def _sections(rows: pd.DataFrame, found: StressEvidence) -> list[str]:
    reference = found.reference
    return [
        _heading(found),
        ABOUT_RETRIEVER if found.model == RETRIEVER else "",
        "\n".join(f"- {one}" for one in _sentences(found)),
        f"## Accuracy by condition and mitigation\n\n{accuracy_table(found)}",
        f"## Against {reference}\n\n{reference_table(found)}" if found.to_reference else "",
        f"## What a mitigation changes\n\n{mitigation_table(found)}" if found.mitigated else "",
        f"## Worst case\n\n{worst_table(found)}" if found.worst else "",
        f"## Accuracy by rate of damage\n\n{dose_table(found)}" if found.doses else "",
        f"## Every row accounted for\n\n{account_table(found)}",
        f"## Errors by category\n\n{category_table(found)}\n\nExamples:\n\n{example_table(rows)}",
        f"## How to read this\n\n{_notes(found)}",
    ]


def _heading(found: StressEvidence) -> str:
    epochs = f"{found.epochs} epoch{'s' * (found.epochs != 1)}"
    return (
        f"{found.eval}, {found.model}: {found.items} items, {epochs}, {found.asked:,} questions asked;"
        f" {100 * found.level:g} % intervals over items in brackets"
    )


def _sentences(found: StressEvidence) -> list[str]:
    """The greatest harm, the best and the dearest mitigation, the worst case: with their intervals."""
    lines = []
    plain = [one for one in found.to_reference if one.cell.mitigation == "none" and one.estimate.items]
    if plain:
        most = min(plain, key=lambda one: one.estimate.value)
        lines.append(
            f"Lowest against {found.reference}: {named(most.cell)}, {points(most.estimate)} points,"
            f" p {chance(most.p_holm)} (Holm, over {len(found.to_reference)} comparisons)."
        )
    for one in found.mitigated:
        if one.cell.condition == found.reference:
            lines.append(f"{one.cell.mitigation} on {found.reference} input: {points(one.estimate)} points.")
    others = [one for one in found.mitigated if one.cell.condition != found.reference and one.estimate.items]
    if others:
        best = max(others, key=lambda one: one.estimate.value)
        told = (
            f"{named(best.cell)}, {points(best.estimate)} points, p {chance(best.p_holm)} (Holm, over"
            f" {len(found.mitigated)} comparisons)"
        )
        gained = best.estimate.value > 0
        lines.append(f"Most gained by a mitigation: {told}." if gained else "No mitigation gained anything.")
    if found.failed:
        lines.append(f"{found.failed} of {found.asked:,} rows failed; accuracies are of the others.")
    return lines or ["One condition was asked: there is nothing to compare."]


def _complete(record: StressRecord) -> str:
    counts = record.counts
    told = ", ".join(
        f"{counts[name]:,} {name}" for name in ("expected", "scored", "failed") if name in counts
    )
    missing = counts.get("expected", 0) - counts.get("scored", 0) - counts.get("failed", 0)
    lost = f" Beware: {missing:,} rows are missing." if missing else ""
    why = f" ({record.failure})" if record.failure else ""
    return f"The run is {record.status}{why}: rows {told}.{lost}"


def _settings(record: StressRecord) -> str:
    """What was asked for, what went over the wire, and of which items."""
    left_out = ("eval", "model", "runs", "questionnaire", *(record.model.get("requested") or {}))
    asked = {**(record.asked.get("questionnaire") or {}), **record.asked}
    asked = {name: value for name, value in asked.items() if name not in left_out}
    lines = [f"- model: {record.model.get('name', 'unknown')}"]
    lines += [f"- described: {_flat(one)}" for one in [record.model.get("described")] if one]
    lines += [f"- {name}: {_flat(value)}" for name, value in asked.items() if value not in (None, {}, [])]
    lines += _over_the_wire(record.model)
    if items := record.items:
        sha256 = str(items.get("sha256"))[:12]
        lines.append(f"- items: {items.get('count', '?')}, {items.get('source', '?')}, SHA-256 {sha256}")
    lines += [f"- {name.replace('_', ' ')}: {_flat(value)}" for name, value in record.cost.items()]
    return "\n".join(lines)


def _over_the_wire(model: Mapping[str, Any]) -> list[str]:
    """Settings as requested and as sent; some providers drop what they do not take, and their logs keep silent."""
    requested = dict(model.get("requested") or {})
    requested |= requested.pop("extra_body", None) or {}
    sent = model.get("sent") or {}
    if not requested and not sent:
        return []
    if not sent:
        return [f"- requested: {_flat(requested)}; no request to a server shows what was sent"]
    names = dict.fromkeys([*requested, *sent])
    return [f"- {name}: requested {_said(requested, name)}, sent {_said(sent, name)}" for name in names]


def _said(values: Mapping[str, Any], name: str) -> str:
    return _flat(values[name]) if values.get(name) is not None else "nothing"


def _of_adapters(rows: pd.DataFrame) -> bool:
    return bool((rows["eval"] == "adapter").any())


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value)) or "none"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _notes(found: StressEvidence) -> str:
    level, count = f"{100 * found.level:g} %", f"{found.resamples:,}"
    notes = [
        f"An interval ({level}, {count} resamples of the {found.items} items, all epochs of an item together) speaks"
        " of other questions of this kind. It does not speak of other models, prompts or corruptions.",
        "Differences are paired by item: both sides are resampled alike. p is an exact sign-flip test by item;"
        " Holm's correction is over all rows of a table.",
        "An interval without width means that all items came out alike, not that the number is certain: of n items"
        f" alike, up to 3 in n of all items may be otherwise (here {min(100, 300 / found.items):.0f} %).",
        f"Flips are over pairs of epochs. '{found.reference} flips' is what differs between two epochs of the same"
        f" undamaged question: chance alone. It is 'none' with one epoch.",
        "Failed rows are in no accuracy but the one that counts them as wrong. UNSURE counts as wrong, and apart.",
    ]
    if found.eval == "messy":
        notes.append(
            "'Rate' is what was asked for, of the characters (of emoji: of the edges of words). A question gets one"
            " edit at least, so that low rates are higher in truth on short questions, and may be the same text."
        )
    if found.eval == "multilingual":
        notes.append(
            "'Kept the language' is among replies of which it could be told; the rest are 'undecided'."
        )
    return "\n".join(f"- {one}" for one in notes)
