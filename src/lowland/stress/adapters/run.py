"""Corrupted test texts through the fine-tuned runs of a study: whose accuracy holds up better?"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lowland
from lowland.deploy.predict import Classifier, load_classifier_of
from lowland.ground.progress import Progress
from lowland.ground.provenance import code
from lowland.ground.records import (
    ROW_COLUMNS,
    STRESS_RECORD_VERSION,
    StressRecord,
    read_predictions,
    write_rows,
    write_stress_record,
)
from lowland.ground.rng import stream
from lowland.ground.store import Store, key_of
from lowland.stress.adapters.runs import Run, data_of, runs_of
from lowland.stress.adapters.texts import (
    ALL,
    CLEAN,
    MITIGATIONS,
    conditions_of,
    damaged_texts,
    fingerprint,
    texts_of,
)
from lowland.tasks.classification import TextData
from lowland.train.environment import environment

COLUMNS = (*ROW_COLUMNS, "seed", "split", "group", "label", "predicted")
BATCH = 32
SAMPLE = 8 * BATCH
"""Texts after which the time for all of them is told."""


def stress_adapters(
    folders: Sequence[Path],
    *,
    corruptions: Sequence[str],
    levels: Sequence[str | float],
    protect: str = "no",
    mitigations: Sequence[str] = (),
    out: Path,
    data: Path | None = None,
    test_data: Path | None = None,
    progress: Progress | None = None,
    limit: int | None = None,
    seed: int = 0,
    fresh: bool = False,
) -> Path:
    """Ask finished runs of one study for the labels of their test texts, clean and corrupted, and keep every answer.

    Texts come from the data of the runs, read again and held against the record's SHA-256. Models answer in float32,
    as `lowland predict` does. A run's answers are kept as soon as it is through: what is interrupted goes on from
    there, and what is whole is not asked again.

    Args:
        folders: of the runs; all of one task, its data and base model, no method and seed twice.
        corruptions: names of `CORRUPTIONS`, or "all".
        levels: "light", "heavy", "ladder" (five rates), or rates in (0, 1].
        protect: "yes" spares names and numbers (`lowland.text.protection.vital`), "both" asks both ways.
        mitigations: besides "none", which is always asked, "normalise" (each text is cleaned before it is read, clean
            ones, too), or "all".
        out: the folder of records; a folder `adapter-<task>-<key>` is made in it.
        data: where the task's file lies now, if not where the runs found it.
        test_data: the same for a file of the test set.
        progress: told what is being done, and how long it will take.
        limit: test texts at the most, of each test set, drawn by the seed.
        seed: of the damage.
        fresh: ask anew, and replace what is found.

    Returns:
        The folder with `record.json`, `rows.parquet` and `rows.csv` (`COLUMNS`, a row a run, text and condition).

    Raises:
        Mistake: if a folder holds no finished run with weights, runs do not belong together, their data is not to be
            had as it was, or something that is asked for does not exist.
    """
    progress = progress or Progress()
    conditions = conditions_of(corruptions, levels, protect, mitigations, limit)
    runs = runs_of(folders)
    task = data_of(runs, data, test_data)
    texts = texts_of(task, limit, seed)
    ways = _count(len(conditions) - 1, "way")
    progress.say(
        f"{_count(len(runs), 'run')} of {task.task}: corrupting {_count(len(texts), 'text')} in {ways}"
    )
    mitigations = [one for one in MITIGATIONS if one == "none" or {one, ALL} & set(mitigations)]
    request = {
        "eval": "adapter",
        "task": task.task,
        "runs": sorted([one.record.key, one.record.when.get("ended", "")] for one in runs),
        "corruptions": list(dict.fromkeys(one.condition for one in conditions[1:])),
        "levels": list(dict.fromkeys(one.level for one in conditions[1:])),
        "protect": protect,
        "mitigations": mitigations,
        "limit": limit,
        "seed": seed,
    }
    asked = damaged_texts(texts, conditions, mitigations, seed)
    return _found_or_asked(Store(out), runs, task, asked, request, progress, fresh)


def answer(classifier: Classifier, texts: Sequence[str], tell: Callable[[int], None]) -> np.ndarray:
    """Labels (n,) of texts. Batches hold texts of like length, for little is padded then.

    They come in a random order, so that the time of the first ones is a fair sample; `tell` hears how many are done.
    """
    ids = classifier.tokenizer(list(texts), truncation=True, max_length=classifier.max_length)["input_ids"]
    order = np.argsort([len(one) for one in ids], kind="stable")
    batches = np.array_split(order, math.ceil(len(order) / BATCH))
    labels = np.empty(len(texts), dtype=object)
    done = 0
    for number in stream(0, "stress", "batches").permutation(len(batches)):
        rows = batches[number]
        answers = classifier.predict([texts[row] for row in rows], batch_size=BATCH)
        labels[rows] = answers["label"].to_numpy()
        tell(done := done + len(rows))
    return labels


def answered(run: Run, asked: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """The rows of one run, in `COLUMNS`."""
    predicted = asked["prompt"].map(answers.set_index("prompt")["predicted"])
    right = predicted == asked["label"]
    return asked.assign(
        eval="adapter",
        model=run.record.method,
        seed=run.record.seed,
        epoch=1,
        gold=asked["label"],
        reply=predicted,
        predicted=predicted,
        status="scored",
        score=right.astype(float),
        near=False,
        category=right.map({True: "right", False: "wrong"}),
        language="",
        kept=pd.array([None] * len(asked), dtype="boolean"),
    )[list(COLUMNS)]


def clean_differs(run: Run, rows: pd.DataFrame) -> float:
    """Share of the clean texts that a run answers otherwise than its predictions have it: 0 for runs of float32."""
    tested = read_predictions(run.folder).set_index(["split", "example"])["predicted"]
    clean = rows[(rows["condition"] == CLEAN) & (rows["mitigation"] == "none")]
    known = tested.reindex(pd.MultiIndex.from_frame(clean[["split", "item"]])).to_numpy()
    return float((known != clean["predicted"].to_numpy()).mean())


def _found_or_asked(
    store: Store,
    runs: Sequence[Run],
    task: TextData,
    asked: pd.DataFrame,
    request: dict[str, Any],
    progress: Progress,
    fresh: bool,
) -> Path:
    made = {"lowland": lowland.__version__, "record": STRESS_RECORD_VERSION}
    key = key_of({"asked": request, "texts": fingerprint(asked), **made})
    name = f"adapter-{task.task}-{key[:10]}"
    place, beside = store.root / name, store.root / ".unfinished" / name
    with store.claim(name):
        if fresh:
            shutil.rmtree(beside, ignore_errors=True)
        elif (found := store.find(name, StressRecord)) is not None:
            progress.say(f"found, {found.counts['scored']:,} answers in {place}")
            return place
        started = _now()
        answers = _ask_all(runs, list(dict.fromkeys(asked["prompt"])), beside, progress)
        rows = [answered(run, asked, one) for run, one in zip(runs, answers, strict=True)]
        for run, one in zip(runs, rows, strict=True):
            progress.say(_told(run, one))
        with store.writing(name) as folder:
            write_rows(folder, pd.concat(rows, ignore_index=True))
            write_stress_record(folder, _record(key, request, runs, task, rows, answers, started))
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _ask_all(runs: Sequence[Run], prompts: list[str], beside: Path, progress: Progress) -> list[pd.DataFrame]:
    """Each run's answers: a row a different text, with the columns prompt, predicted and seconds (of the whole run)."""
    beside.mkdir(parents=True, exist_ok=True)
    parts = [beside / f"{run.record.key}.parquet" for run in runs]
    found = [_kept(part, prompts) for part in parts]
    left = sum(one is None for one in found)
    progress.say(f"{_count(len(prompts), 'different text')} a run; {_count(left, 'run')} left to ask")
    progress.begin(left * len(prompts))
    for place, run in enumerate(runs):
        if found[place] is None:
            answers = _ask(run, prompts, left, progress)
            answers.to_parquet(parts[place].with_suffix(".partial"), index=False)
            parts[place].with_suffix(".partial").replace(parts[place])
            found[place], left = answers, left - 1
    progress.end()
    return [one for one in found if one is not None]


def _ask(run: Run, prompts: list[str], left: int, progress: Progress) -> pd.DataFrame:
    """One run's answers; after the first batches it is told how long this run and those after it will take."""
    classifier = load_classifier_of(run.folder)
    started, enough = time.perf_counter(), min(SAMPLE, len(prompts))
    done_before = 0

    def tell(done: int) -> None:
        nonlocal done_before
        if done_before < enough <= done:
            seconds = (time.perf_counter() - started) / done * len(prompts)
            progress.say(
                f"{run}: about {_duration(seconds)}, {_duration(seconds * left)} for all that are left"
            )
        for _ in range(done - done_before):
            progress.step()
        done_before = done

    labels = answer(classifier, prompts, tell)
    seconds = time.perf_counter() - started
    return pd.DataFrame({"prompt": prompts, "predicted": labels, "seconds": seconds})


def _kept(part: Path, prompts: list[str]) -> pd.DataFrame | None:
    """A run's answers from before; None where there are none, or what was left is damaged."""
    try:
        answers = pd.read_parquet(part, columns=["prompt", "predicted", "seconds"])
    except (OSError, ValueError):
        return None
    return answers if list(answers["prompt"]) == prompts else None


def _told(run: Run, rows: pd.DataFrame) -> str:
    """How a run did, in a line."""
    clean, share = rows["condition"] == CLEAN, clean_differs(run, rows)
    beware = f"; BEWARE: {share:.1%} of its clean answers are not those of its record" if share else ""
    scores = f"accuracy {rows[clean]['score'].mean():.3f} clean, {rows[~clean]['score'].mean():.3f} corrupted"
    return f"{run}: {scores}{beware}"


def _record(
    key: str,
    request: dict[str, Any],
    runs: Sequence[Run],
    task: TextData,
    rows: Sequence[pd.DataFrame],
    answers: Sequence[pd.DataFrame],
    started: str,
) -> StressRecord:
    told = [
        {
            "folder": run.folder.name,
            "key": run.record.key,
            "method": run.record.method,
            "seed": run.record.seed,
            "trained_in": run.record.environment.get("dtype"),
            "clean_differs": clean_differs(run, one),
        }
        for run, one in zip(runs, rows, strict=True)
    ]
    count = sum(map(len, rows))
    return StressRecord(
        key=key,
        asked=request,
        status="finished",
        items={"source": task.source, "sha256": task.sha256, "count": rows[0]["item"].nunique()},
        model={"name": runs[0].record.model["name"], "sha256": runs[0].record.model["sha256"], "runs": told},
        counts={"expected": count, "scored": count, "failed": 0},
        code=code(),
        environment=environment("fp32"),
        cost={
            "requests": sum(map(len, answers)),
            "seconds": sum(float(one["seconds"].iloc[0]) for one in answers),
        },
        when={"started": started, "ended": _now()},
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
