"""Studies on disk with everything that a page shows: texts, probabilities, categories, logs; made without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from lowland.evidence.study_evidence import StudyEvidence, study_evidence
from lowland.ground.listing import entries_at, finished_runs
from lowland.ground.record_files import write_history, write_predictions, write_record
from lowland.ground.records import RunRecord

LABELS = ("negative", "neutral", "positive")
METHODS = ("full", "lora", "flat-lora", "dora", "bag-of-words")
SKILL = {"full": 1.9, "lora": 1.6, "flat-lora": 1.65, "dora": 1.6, "bag-of-words": 0.8}
WORDS = (
    "profit", "fell", "rose", "shares", "the", "of", "quarter", "expects", "not", "margin", "12", "million", "analysts",
)  # fmt: skip


def leave_study(
    root: Path,
    methods: Sequence[str] = METHODS,
    seeds: int = 5,
    examples: int = 400,
    labels: Sequence[str] = LABELS,
    text: Callable[[int], str] | None = None,
    steps: int = 60,
    settings: dict[str, dict[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """A folder of runs of a classification.

    Args:
        root: the folder; it is made.
        methods: labels of the methods; those of `SKILL` differ in how often they are right.
        seeds: number of seeds.
        examples: number of test examples.
        labels: the classes.
        text: text of each example, by its number.
        steps: number of entries of the training log.
        settings: settings in the request, by label.
        changes: entries of the records.
    """
    root.mkdir(exist_ok=True)
    same = np.random.default_rng(0)
    truth, hard = same.integers(len(labels), size=examples), same.normal(0, 1, (examples, len(labels)))
    texts = [text(n) if text else " ".join(same.choice(WORDS, 22)) for n in range(examples)]
    for method in methods:
        for seed in range(1, seeds + 1):
            folder = (
                root
                / f"toy-{method.replace('/', '_')[:40]}-s{seed}-{crc32(f'{method} {seed}'.encode()):010x}"
            )
            folder.mkdir()
            table = predictions(method, seed, truth, hard, texts, labels)
            write_predictions(folder, table)
            write_record(
                folder, record(method, seed, table, labels, (settings or {}).get(method, {}), changes)
            )
            write_history(folder, history(method, seed, steps))
    return root


def predictions(
    method: str, seed: int, truth: np.ndarray, hard: np.ndarray, texts: Sequence[str], labels: Sequence[str]
) -> pd.DataFrame:
    """Predictions of a run; examples that are hard for one run are hard for all."""
    own = np.random.default_rng([seed, *method.encode()])
    logits = hard + own.normal(0, 0.5, hard.shape) + SKILL.get(method, 1.5) * np.eye(len(labels))[truth]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    named = np.array(labels, dtype=object)
    predicted = named[shares.argmax(axis=1)]
    number = np.arange(len(truth))
    return pd.DataFrame(
        {
            "split": "test",
            "example": number + 1000,
            "group": [f"g{n}" for n in number],
            "category": np.array(["plain", "jargon", "mixed"], dtype=object)[number % 3],
            "score": (predicted == named[truth]).astype(float),
            "text": texts,
            "label": named[truth],
            "predicted": predicted,
            **{f"p_{label}": shares[:, place] for place, label in enumerate(labels)},
        }
    )


def record(
    method: str,
    seed: int,
    table: pd.DataFrame,
    labels: Sequence[str],
    settings: dict[str, Any],
    changes: dict[str, Any],
) -> RunRecord:
    """Record of a run with these predictions."""
    luck, accuracy = np.random.default_rng([seed, len(method)]), float(table["score"].mean())
    values: dict[str, Any] = {
        "key": f"{crc32(f'{method} {seed}'.encode()):016x}",
        "asked": {
            "task": {"name": "classification", "data": "toy.csv"},
            "method": {"name": method, "label": method, "lr": 1e-4, **settings},
            "seed": seed,
            "model": "tiny",
        },
        "status": "finished",
        "data": {
            "source": "toy.csv", "sha256": "da7a", "labels": list(labels),
            "sizes": {"train": 900, "validation": 90, "test": len(table)},
        },
        "model": {"name": "tiny", "origin": "folder", "sha256": "5eed", "class": "Bert"},
        "parameters": {"trainable": 1000 * len(method), "total": 90_000, "share": len(method) / 90},
        "scores": {"test": {"accuracy": accuracy, "macro_f1": accuracy - 0.01}},
        "validation": {"accuracy": accuracy + 0.01, "loss": 0.6},
        "baseline": {"majority": {"test": {"accuracy": 0.4, "macro_f1": 0.2}}},
        "code": {"lowland": "0.1.0", "source_sha256": "c0de"},
        "environment": {"python": "3.11", "torch": "2.13", "cores": 2},
        "cost": {"train_seconds": 10 * len(method) + luck.uniform(0, 2), "peak_bytes": 1e9 + 1e8 * len(method)},
        "when": {"started": f"2026-11-28T10:{[*SKILL, method].index(method):02d}:{seed:02d}+00:00"},
    }  # fmt: skip
    return RunRecord(**{**values, **changes})


def history(method: str, seed: int, steps: int) -> list[dict[str, Any]]:
    """Training log of three epochs, with a validation score at the end of each."""
    luck = np.random.default_rng([seed, len(method)])
    log: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        epoch = 3 * step / steps
        log.append(
            {"step": step, "epoch": epoch, "loss": float(1.1 * np.exp(-epoch / 2) + luck.normal(0, 0.02))}
        )
        if step % max(steps // 3, 1) == 0:
            scores = {"eval_loss": 1 - epoch / 6, "eval_accuracy": 0.5 + epoch / 10 + seed / 100}
            log.append({"step": step, "epoch": epoch, **scores})
    return log


def evidence_of(folder: Path, **options: Any) -> StudyEvidence:
    """Evidence of the finished runs in a folder."""
    return study_evidence(finished_runs(entries_at(folder)), **options)
