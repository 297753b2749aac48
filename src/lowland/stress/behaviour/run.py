"""Behavioural tests of fine-tuned runs: all runs answer the cases of one suite."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import lowland
from lowland.deploy.predict import Predictor, load
from lowland.deploy.study_runs import TrainedRun, read_runs
from lowland.ground.mistakes import Mistake, gathering, one_of, plural
from lowland.ground.progress import Bar, Progress
from lowland.ground.provenance import code, utc_now
from lowland.ground.record_files import write_rows, write_stress_record
from lowland.ground.records import ROW_COLUMNS, STRESS_RECORD_VERSION, StressRecord
from lowland.ground.remote_store import open_store
from lowland.ground.store import Store, key_of
from lowland.stress.behaviour.cases import cases_of
from lowland.stress.behaviour.scoring import answers_to_cases
from lowland.stress.behaviour.settings import BehaviourSettings
from lowland.stress.behaviour.suites import Suite, read_suite, source_of
from lowland.tasks.table import task_named
from lowland.train.environment import environment

COLUMNS = (
    *ROW_COLUMNS, "seed", "group", "kind", "original", "label", "must", "tolerance",
    "predicted_original", "predicted", "p_original", "p",
)  # fmt: skip
AT_ONCE = 256
"""Number of texts after which progress is reported."""


@dataclass(frozen=True)
class BehaviourCases:
    """Behavioural test of some runs, with the cases that every run gets.

    Attributes:
        runs: runs of one study.
        suite: the tests.
        cases: a row for each case, with the columns of `Case`.
        asked: the request, as plain values for the record.
        source: where the suite comes from.
    """

    runs: Sequence[TrainedRun]
    suite: Suite
    cases: pd.DataFrame
    asked: dict[str, Any]
    source: str

    @property
    def texts(self) -> pd.DataFrame:
        """The different texts, in the column `text`."""
        every = pd.concat([self.cases["original"], self.cases["text"]])
        return pd.DataFrame({"text": [text for text in every.drop_duplicates() if text]})

    @property
    def sha256(self) -> str:
        """Hash of all cases and expectations."""
        return hashlib.sha256(self.cases.to_csv(index=False, lineterminator="\n").encode()).hexdigest()

    @property
    def key(self) -> str:
        """Hash of the request, the cases and the version."""
        version = {"lowland": lowland.__version__, "record": STRESS_RECORD_VERSION}
        return key_of({"asked": self.asked, "cases": self.sha256, **version})


def behave(
    settings: BehaviourSettings, *, reference: str | None = None, progress: Progress | None = None
) -> Path:
    """Ask finished runs of one study the cases of a suite, and store every prediction.

    Models compute in the number format of their runs, as in `lowland predict`. A run's predictions are stored as soon
    as it is done, so an interrupted test continues from there.

    Args:
        settings: the runs and the suite.
        reference: method that a report will compare the others with; it is checked before any run is asked.
        progress: reports progress; None reports nothing.

    Returns:
        The folder with `record.json`, `rows.parquet` and `rows.csv` (`COLUMNS`, a row for each run and case); its name
        is `behaviour-<suite>-<key>`.

    Raises:
        Mistake: if a folder holds no finished run with weights, the runs do not belong together or do not predict the
            labels of the suite, or the suite cannot be read.
    """
    progress = progress or Progress()
    problems: list[str] = []
    with gathering(problems):
        suite = read_suite(settings.suite)
    with gathering(problems):
        runs = read_runs(settings.runs, "behave tests predictions for texts")
        methods = list(dict.fromkeys(run.record.method for run in runs))
        if reference is not None and reference not in methods:
            problems.append(one_of("method", reference, methods))
    problems = problems or _problems_with_labels(suite, runs)
    if problems:
        raise Mistake(*problems)
    cases = cases_of(suite, settings.limit, settings.seed)
    asked = {
        "eval": "behaviour",
        "suite": suite.name,
        "task": runs[0].record.task,
        "runs": sorted([run.record.key, run.record.when.get("ended", "")] for run in runs),
        "limit": settings.limit,
        "seed": settings.seed,
    }
    test = BehaviourCases(runs, suite, cases, asked, source_of(settings.suite))
    return _find_or_ask(test, open_store(settings.out), progress, settings.fresh)


def rows_of(run: TrainedRun, cases: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one run, in `COLUMNS`."""
    answered = answers_to_cases(cases, answers)
    return answered.assign(
        eval="behaviour",
        model=run.record.method,
        seed=run.record.seed,
        topic=answered["capability"],
        condition=answered["test"],
        level="",
        rate=0.0,
        protected=False,
        mitigation="none",
        epoch=1,
        prompt=answered["text"],
        gold=answered["expected"],
        reply=answered["predicted"],
        status="scored",
        score=answered["passed"].astype(float),
        near=False,
        category=answered["passed"].map({True: "right", False: "wrong"}),
        language="",
        kept=pd.array([None] * len(answered), dtype="boolean"),
    )[list(COLUMNS)]


def _problems_with_labels(suite: Suite, runs: Sequence[TrainedRun]) -> list[str]:
    """Return a sentence if the runs predict no labels, or for each label of the suite that they do not predict."""
    task, labels = task_named(runs[0].record.task), runs[0].record.data["labels"]
    if not task.has_classes or len(task.input_columns) != 1:
        return [
            f"behave tests labels of single texts, and the runs are of {task.name}, which reads"
            f" {', '.join(task.input_columns)}{'' if task.has_classes else ' and predicts no labels'};"
            " give runs of a classification of texts"
        ]
    problems = []
    for label in dict.fromkeys(label for test in suite.tests for label in test.labels if label not in labels):
        tests = ", ".join(f"'{test.name}'" for test in suite.tests if label in test.labels)
        problems.append(
            f"{one_of('label', label, labels)} (the runs predict these, and the suite {suite.name} expects '{label}'"
            f" in {tests}; give other runs, or a suite with their labels by --suite FILE.yaml)"
        )
    return problems


def _find_or_ask(test: BehaviourCases, store: Store, progress: Progress, fresh: bool) -> Path:
    """Return the folder of a finished test; ask first, if there is none."""
    name = f"behaviour-{test.suite.name}-{test.key[:10]}"
    place, beside = store.root / name, store.root / ".unfinished" / name
    store.prepare([name], fresh=fresh)
    with store.claim(name):
        if fresh:
            shutil.rmtree(beside, ignore_errors=True)
        elif (finished := store.find(name, StressRecord)) is not None:
            progress.say(f"found, {finished.counts['scored']:,} answers in {place}")
            return place
        started = utc_now()
        answers = _ask_all(test, beside, progress)
        rows = [rows_of(run, test.cases, table) for run, table in zip(test.runs, answers, strict=True)]
        with store.writing(name) as folder:
            write_rows(folder, pd.concat(rows, ignore_index=True))
            write_stress_record(folder, _record(test, rows, answers, started))
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _ask_all(test: BehaviourCases, beside: Path, progress: Progress) -> list[pd.DataFrame]:
    """Return each run's answers: `text`, `predicted`, `p_<label>`, and `seconds`, the time for all of them."""
    beside.mkdir(parents=True, exist_ok=True)
    texts, answers = test.texts, []
    parts = {run.record.key: beside / f"{run.record.key}.parquet" for run in test.runs}
    left = sum(_stored(part, texts) is None for part in parts.values())
    progress.say(
        f"{plural(len(test.cases), 'case')} of {plural(len(test.suite.tests), 'test')}:"
        f" {plural(len(texts), 'different text')} a run; {plural(left, 'run')} left to test"
    )
    with progress.bar(left * len(texts), unit="texts") as bar:
        for run in test.runs:
            part = parts[run.record.key]
            if (table := _stored(part, texts)) is None:
                table = _ask(run, texts, progress, bar)
                table.to_parquet(part.with_suffix(".partial"), index=False)
                part.with_suffix(".partial").replace(part)
            answers.append(table)
    return answers


def _ask(run: TrainedRun, texts: pd.DataFrame, progress: Progress, bar: Bar) -> pd.DataFrame:
    """Return one run's answers."""
    started = time.perf_counter()
    predictor: Predictor = load(run.folder)
    (column,) = predictor.task.input_columns
    encoded = predictor.encode({column: list(texts["text"])})
    if sentence := encoded.truncation.sentence(predictor.setup.max_length):
        progress.remark(sentence)
    tables = []
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts["text"][start : start + AT_ONCE])
        tables.append(predictor.answer({column: some}))
        bar.step(len(some))
    answers = pd.concat([texts, pd.concat(tables, ignore_index=True)], axis=1)
    return answers.assign(seconds=time.perf_counter() - started)


def _stored(part: Path, texts: pd.DataFrame) -> pd.DataFrame | None:
    """Return a run's stored answers; None if there are none, or they are damaged or for other texts."""
    try:
        answers = pd.read_parquet(part)
    except (OSError, ValueError):
        return None
    return answers if list(answers.get("text", [])) == list(texts["text"]) else None


def _record(
    test: BehaviourCases, rows: Sequence[pd.DataFrame], answers: Sequence[pd.DataFrame], started: str
) -> StressRecord:
    runs = [
        {
            "folder": run.folder.name,
            "key": run.record.key,
            "method": run.record.method,
            "seed": run.record.seed,
            "trained_in": run.record.environment.get("dtype"),
        }
        for run in test.runs
    ]
    model = test.runs[0].record.model
    named: dict[str, Any] = {key: model[key] for key in ("name", "title", "sha256") if key in model}
    count = sum(map(len, rows))
    return StressRecord(
        key=test.key,
        asked=test.asked,
        status="finished",
        items={
            "source": test.source,
            "about": test.suite.about,
            "sha256": test.sha256,
            "count": len(test.cases),
            "score": "pass rate",
        },
        model={**named, "runs": runs},
        counts={"expected": count, "scored": count, "failed": 0},
        code=code(),
        environment=environment(test.runs[0].record.environment.get("dtype", "fp32")),
        cost={
            "requests": sum(map(len, answers)),
            "seconds": sum(float(table["seconds"].iloc[0]) for table in answers),
        },
        when={"started": started, "ended": utc_now()},
    )
