"""Stress tests of fine-tuned runs on clean and corrupted test examples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lowland
from lowland.deploy.predict import Predictor, load
from lowland.deploy.runs import data_of
from lowland.deploy.study_runs import TrainedRun, read_runs
from lowland.ground.mistakes import plural
from lowland.ground.progress import Bar, Progress, duration
from lowland.ground.provenance import utc_now
from lowland.ground.record_files import read_predictions
from lowland.ground.records import ROW_COLUMNS, STRESS_RECORD_VERSION, StressRecord
from lowland.ground.remote_store import open_store
from lowland.ground.rng import stream
from lowland.ground.store import key_of
from lowland.stress.adapters.settings import NONE, AdapterStressSettings
from lowland.stress.adapters.texts import Requests, conditions_of, damaged_requests, examples_of
from lowland.stress.run_answers import answers_of_runs, find_or_make, record_of_runs
from lowland.tasks.base import Task
from lowland.tasks.examples import TaskData
from lowland.tasks.table import task_named
from lowland.text.corruptions import CLEAN

COLUMNS = (*ROW_COLUMNS, "seed", "split", "group", "label", "predicted")
BATCH = 32
SAMPLE = 8 * BATCH
"""Number of texts after which the time for all of them is estimated."""


@dataclass(frozen=True)
class StressTest:
    """Stress test of some runs, with the inputs that every run gets.

    Attributes:
        runs: runs of one study.
        data: data that the runs were tested on.
        requests: inputs that every run gets.
        asked: the request, as plain values for the record.
    """

    runs: Sequence[TrainedRun]
    data: TaskData
    requests: Requests
    asked: dict[str, Any]

    @property
    def task(self) -> Task:
        """The task of the runs."""
        return task_named(self.data.task)

    @property
    def key(self) -> str:
        """Hash of the request, the inputs and the version."""
        version = {"lowland": lowland.__version__, "record": STRESS_RECORD_VERSION}
        return key_of({"asked": self.asked, "texts": self.requests.sha256(), **version})


def stress_adapters(settings: AdapterStressSettings, *, progress: Progress | None = None) -> Path:
    """Evaluate finished runs of one study on their test examples, clean and corrupted, and store every prediction.

    Examples come from the data of the runs, read again and compared with the record's SHA-256. Models compute in the
    number format of their runs, as in `lowland predict`. A run's predictions are stored as soon as it is done, so an
    interrupted test continues from there.

    Returns:
        The folder with `record.json`, `rows.parquet` and `rows.csv` (`COLUMNS`, a row for each run, example and
        condition); its name is `adapter-<task>-<key>`.

    Raises:
        Mistake: if a folder holds no finished run with weights, the runs do not belong together, or their data cannot
            be read as it was.
    """
    progress = progress or Progress()
    conditions = conditions_of(settings)
    runs = read_runs(settings.runs, "stress adapter damages texts")
    data = data_of(runs[0].folder, runs[0].record, settings.data, settings.test_data)
    examples = examples_of(data, task_named(data.task), settings.limit, settings.seed)
    ways = plural(len(conditions) - 1, "way")
    progress.say(
        f"{plural(len(runs), 'run')} of {data.task}: corrupting {plural(len(examples), 'text')} in {ways}"
    )
    requests = damaged_requests(examples, conditions, settings.mitigations, settings.seed)
    test = StressTest(runs, data, requests, _asked(settings, runs, data))
    return find_or_make(
        f"adapter-{data.task}-{test.key[:10]}",
        open_store(settings.out),
        progress,
        lambda beside: _make(test, beside, progress),
        fresh=settings.fresh,
    )


def answer(predictor: Predictor, inputs: pd.DataFrame, report: Callable[[int], None]) -> np.ndarray:
    """Return the predictions (n,) for inputs. Batches consist of inputs of similar length, which need little padding.

    Batches come in a random order, so that the time of the first ones is a fair sample.

    Args:
        predictor: the trained model.
        inputs: what the model reads, column by column, n rows.
        report: called with the number of answers so far.
    """
    columns = {str(name): list(inputs[name]) for name in inputs}
    encoded = predictor.encode(columns)
    order = np.argsort(np.bincount(encoded.examples, weights=encoded.lengths), kind="stable")
    batches = np.array_split(order, math.ceil(len(order) / BATCH))
    answers = np.empty(len(inputs), dtype=object)
    done = 0
    for number in stream(0, "stress", "batches").permutation(len(batches)):
        rows = batches[number]
        batch = {name: [texts[row] for row in rows] for name, texts in columns.items()}
        answers[rows] = predictor.answer(batch, batch_size=BATCH)["predicted"].to_numpy()
        report(done := done + len(rows))
    return answers


def rows_of(run: TrainedRun, test: StressTest, answers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one run, in `COLUMNS`."""
    requests, about = test.requests, test.requests.about
    predicted = requests.inputs.merge(answers, on=list(requests.inputs), how="left", validate="m:1")[
        "predicted"
    ]
    scores = test.task.score_examples(requests.as_split(), pd.DataFrame({"predicted": predicted}))
    right = pd.Series(scores == 1)
    return about.assign(
        eval="adapter",
        model=run.record.method,
        seed=run.record.seed,
        epoch=1,
        gold=about["label"],
        reply=predicted,
        predicted=predicted,
        status="scored",
        score=scores,
        near=False,
        category=right.map({True: "right", False: "wrong"}),
        language="",
        kept=pd.array([None] * len(about), dtype="boolean"),
    )[list(COLUMNS)]


def share_of_other_answers(run: TrainedRun, rows: pd.DataFrame) -> float:
    """Return the share of clean examples whose prediction differs from the recorded one; 0 on the same machine."""
    recorded = read_predictions(run.folder).set_index(["split", "example"])["predicted"]
    clean = rows[(rows["condition"] == CLEAN) & (rows["mitigation"] == NONE)]
    known = recorded.reindex(pd.MultiIndex.from_frame(clean[["split", "item"]])).to_numpy()
    return float((known != clean["predicted"].to_numpy()).mean())


def _asked(settings: AdapterStressSettings, runs: Sequence[TrainedRun], data: TaskData) -> dict[str, Any]:
    """Return the request as plain values for the record."""
    return {
        "eval": "adapter",
        "task": data.task,
        "runs": sorted([run.record.key, run.record.when.get("ended", "")] for run in runs),
        "corruptions": list(settings.corruptions),
        "levels": list(settings.levels),
        "protect": settings.protect,
        "mitigations": list(settings.mitigations),
        "limit": settings.limit,
        "seed": settings.seed,
    }


def _make(test: StressTest, beside: Path, progress: Progress) -> tuple[pd.DataFrame, StressRecord]:
    """Ask all runs, and return the rows and the record."""
    started = utc_now()
    inputs = test.requests.inputs.drop_duplicates(ignore_index=True)
    answers = answers_of_runs(
        test.runs, inputs, beside, lambda run, left, bar: _ask(run, inputs, left, progress, bar), progress
    )
    rows = [rows_of(run, test, table) for run, table in zip(test.runs, answers, strict=True)]
    for run, table in zip(test.runs, rows, strict=True):
        progress.say(_score_line(run, table))
    together = pd.concat(rows, ignore_index=True)
    record = record_of_runs(
        test.runs,
        together,
        answers,
        key=test.key,
        asked=test.asked,
        items={
            "source": test.data.source,
            "sha256": test.data.sha256,
            "count": rows[0]["item"].nunique(),
            "score": test.task.mean_score,
        },
        started=started,
        notes=[
            {"clean_differs": share_of_other_answers(run, table)}
            for run, table in zip(test.runs, rows, strict=True)
        ],
    )
    return together, record


def _ask(run: TrainedRun, inputs: pd.DataFrame, left: int, progress: Progress, bar: Bar) -> pd.DataFrame:
    """Return one run's predictions; after the first batches, report how long this run and the others will take."""
    predictor = load(run.folder)
    columns = {str(name): list(inputs[name]) for name in inputs}
    if sentence := predictor.encode(columns).truncation.sentence(predictor.setup.max_length):
        progress.remark(sentence)
    started, enough = time.perf_counter(), min(SAMPLE, len(inputs))
    done_before = 0

    def report(done: int) -> None:
        nonlocal done_before
        if done_before < enough <= done:
            seconds = (time.perf_counter() - started) / done * len(inputs)
            progress.say(
                f"{run}: about {duration(seconds)}, {duration(seconds * left)} in total for the rest"
            )
        bar.step(done - done_before)
        done_before = done

    predicted = answer(predictor, inputs, report)
    return inputs.assign(predicted=predicted, seconds=time.perf_counter() - started)


def _score_line(run: TrainedRun, rows: pd.DataFrame) -> str:
    """Return a line with a run's scores, and a warning if its clean predictions differ from its record."""
    clean, share = rows["condition"] == CLEAN, share_of_other_answers(run, rows)
    beware = f"; BEWARE: {share:.1%} of its clean answers are not those of its record" if share else ""
    undamaged, damaged = (part["score"].mean() for part in (rows[clean], rows[~clean]))
    name = task_named(run.record.task).mean_score
    return f"{run}: {name} {undamaged:.3f} clean, {damaged:.3f} corrupted{beware}"
