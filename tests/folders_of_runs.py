"""Folders of runs for tests: finished, failed, unfinished and damaged ones, without training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.record_files import write_predictions, write_record, write_stress_record
from lowland.ground.records import StressRecord
from lowland.ground.store import Store, key_of
from tests.evidence.test_study import answers_of, record_of

WHEN = {"started": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T10:01:00+00:00"}


def name_of(method: str, seed: int, settings: dict[str, Any] | None = None) -> str:
    """The name that lowland gives to a run's folder: it ends in its key."""
    return f"toy-{method}-s{seed}-{_key(method, seed, settings)[:10]}"


def _key(method: str, seed: int, settings: dict[str, Any] | None) -> str:
    return key_of({"method": method, "seed": seed, **(settings or {})})


def put_run(
    root: Path,
    method: str = "lora",
    seed: int = 1,
    *,
    settings: dict[str, Any] | None = None,
    answers: pd.DataFrame | None = None,
    **changes: Any,
) -> Path:
    """A run in a folder of runs, as a study leaves it."""
    method_asked = {"name": method, "label": method, **(settings or {})}
    record = dataclasses.replace(
        record_of(method, seed),
        key=_key(method, seed, settings),
        asked={"task": {"name": "toy"}, "method": method_asked, "seed": seed, "dtype": "fp32"},
        when=WHEN,
    )
    record = dataclasses.replace(record, **changes)
    store, name = Store(root), name_of(method, seed, settings)
    with store.claim(name), store.writing(name) as folder:
        write_record(folder, record)
        write_predictions(folder, answers_of(method, seed) if answers is None else answers)
    return root / name


def put_failure(
    root: Path, method: str = "lora", seed: int = 2, failure: str = "Diverged: loss\n\nat"
) -> Path:
    return put_run(root, method, seed, status="failed", failure=failure, scores={})


def put_unfinished(root: Path, method: str = "lora", seed: int = 3, *, noted: bool = True) -> Path:
    """What a killed run leaves; the folder that it would have had."""
    whole = put_run(root, method, seed, status="unfinished", scores={})
    store = Store(root)
    store.checkpoints(whole.name).mkdir()
    (root / f".{whole.name}.partial").mkdir()
    if noted:
        whole.rename(store.begun(whole.name))
    else:
        shutil.rmtree(whole)
    return whole


def put_stress_test(root: Path, status: str = "finished") -> Path:
    folder = root / "messy-retriever-0123456789"
    folder.mkdir(parents=True)
    record = StressRecord(
        key="0123456789abcdef",
        asked={"eval": "messy", "seed": 0},
        status=status,
        model={"name": "retriever"},
        counts={"expected": 2, "scored": 2, "failed": 0},
        when=WHEN,
    )
    write_stress_record(folder, record)
    return folder


def tree(root: Path) -> dict[str, bytes]:
    """The content of every file under a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
