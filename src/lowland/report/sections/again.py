"""Everything that is needed to run a study again: commands, recipe, versions, and what data and model were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.records import RunRecord, title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Code, Data, Paragraph
from lowland.report.cells import Column, Row

NOT_OF_RECIPE = ("task", "method", "seed")
"""Entries of a request that a recipe states otherwise."""


def again_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build command, recipe, remarks, hashes, versions and the list of runs."""
    blocks: list[Block] = [
        Paragraph("Save this as `recipe.yaml`:"),
        Code(recipe_text(evidence.records)),
        Paragraph("Then run the study, and make this page again:"),
        Code("lowland compare --config recipe.yaml --out runs\nlowland report runs"),
        Paragraph(_about_equality(evidence.records)),
    ]
    blocks.append(_facts(evidence.first))
    if remarks := list(dict.fromkeys(remark for record in evidence.records for remark in record.remarks)):
        blocks += [Paragraph("Remarks of the runs:"), Bullets(tuple(map(visible, remarks)))]
    return [*blocks, _runs(evidence)]


def recipe_text(records: Sequence[RunRecord]) -> str:
    """Return a recipe file that asks for these runs."""
    first = records[0].asked
    shared = {name: value for name, value in first.items() if name not in NOT_OF_RECIPE and value is not None}
    methods = {record.method: _method(record.asked["method"]) for record in records}
    recipe = {
        "task": {name: value for name, value in first["task"].items() if value is not None},
        "methods": list(methods.values()),
        "seeds": sorted({record.seed for record in records}),
        **shared,
    }
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)).rstrip()


def _method(asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entry of a recipe's methods for the request of a run."""
    return {
        str(asked["name"]): {
            name: value for name, value in asked.items() if name != "name" and value not in (None, {}, [])
        }
    }


def _about_equality(records: Sequence[RunRecord]) -> str:
    seeds = {
        name: {r.seed for r in records if r.method == name}
        for name in dict.fromkeys(r.method for r in records)
    }
    same = len({frozenset(each) for each in seeds.values()}) == 1
    words = "" if same else " Not every method has every seed here, and the recipe asks for all."
    return (
        "Equal requests on one machine leave equal records, except for times. On another machine, numbers may differ by"
        f" rounding.{words}"
    )


def _facts(record: RunRecord) -> Data:
    """Build a table of what is known of data, model, code and machine."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in record.data.get("sizes", {}).items())
    labels = ", ".join(map(str, record.data.get("labels") or ()))
    data = {
        "source": record.data.get("source"),
        "examples": sizes,
        "labels": labels if len(labels) < 300 else f"{labels[:299]}…",
        "SHA-256": record.data.get("sha256"),
    }
    model = {
        "name": title_of(record.model),
        "origin": record.model.get("origin"),
        "revision": record.model.get("revision"),
        "class": record.model.get("class"),
        "SHA-256 of the weights": record.model.get("sha256"),
        "SHA-256 of config and tokenizer": record.model.get("files_sha256"),
        "terms": record.model.get("terms"),
    }
    code = {name.replace("_sha256", ", SHA-256"): value for name, value in record.code.items()}
    parts: dict[str, dict[str, Any]] = {
        "data": data,
        "model": model,
        "code": code,
        "environment": record.environment,
    }
    rows = tuple(
        (part, name, visible(str(value)))
        for part, values in parts.items()
        for name, value in values.items()
        if value not in (None, "")
    )
    columns = (Column("part", "of"), Column("name", "what"), Column("value", "value"))
    return Data("provenance", "Data, model, code and machine of the first run", columns, rows, heading=2)


def _runs(evidence: StudyEvidence) -> Data:
    """Build the list of all runs, with the reasons of those that failed."""
    score = evidence.first.primary_score
    columns: tuple[Column, ...] = (
        Column("run", "run"),
        Column("method", "method"),
        Column("seed", "seed", "number", "d"),
        Column("status", "status"),
        Column(score, score.replace("_", " "), "number", ".4f"),
        Column("validation", "validation", "number", ".4f"),
        Column("seconds", "seconds", "number", ".1f"),
        Column("started", "started (UTC)"),
        Column("key", "key"),
        Column("failure", "why it failed"),
    )
    folders = {id(record): folder.name for folder, record in evidence.runs.items()}
    rows: tuple[Row, ...] = tuple(
        (
            visible(folders.get(id(record), "")),
            record.method,
            record.seed,
            record.status,
            record.scores.get("test", {}).get(score),
            record.validation.get(score),
            record.cost.get("train_seconds"),
            str(record.when.get("started", "")).partition("+")[0].replace("T", " "),
            record.key,
            visible(str(record.failure).strip().splitlines()[-1]) if record.failure else "",
        )
        for record in (*evidence.records, *evidence.failed)
    )
    if not evidence.failed:
        columns, rows = columns[:-1], tuple(row[:-1] for row in rows)
    return Data("runs", "All runs", columns, rows)
