"""Behavioural tests of fine-tuned runs: all runs answer the cases of one suite."""

from __future__ import annotations

import hashlib
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
from lowland.ground.provenance import utc_now
from lowland.ground.records import ROW_COLUMNS, STRESS_RECORD_VERSION, StressRecord
from lowland.ground.remote_store import open_store
from lowland.ground.store import key_of
from lowland.stress.behaviour.cases import cases_of
from lowland.stress.behaviour.scoring import answers_to_cases
from lowland.stress.behaviour.settings import BehaviourSettings
from lowland.stress.behaviour.suites import Suite, read_suite, source_of
from lowland.stress.run_answers import answers_of_runs, find_or_make, record_of_runs
from lowland.tasks.table import task_named

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
    return find_or_make(
        f"behaviour-{suite.name}-{test.key[:10]}",
        open_store(settings.out),
        progress,
        lambda beside: _make(test, beside, progress),
        fresh=settings.fresh,
    )


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


def _make(test: BehaviourCases, beside: Path, progress: Progress) -> tuple[pd.DataFrame, StressRecord]:
    """Ask all runs, and return the rows and the record."""
    started, texts = utc_now(), test.texts
    answers = answers_of_runs(
        test.runs,
        texts,
        beside,
        lambda run, left, bar: _ask(run, texts, progress, bar),
        progress,
        about=f"{plural(len(test.cases), 'case')} of {plural(len(test.suite.tests), 'test')}: ",
    )
    rows = [rows_of(run, test.cases, table) for run, table in zip(test.runs, answers, strict=True)]
    together = pd.concat(rows, ignore_index=True)
    record = record_of_runs(
        test.runs,
        together,
        answers,
        key=test.key,
        asked=test.asked,
        items={
            "source": test.source,
            "about": test.suite.about,
            "sha256": test.sha256,
            "count": len(test.cases),
            "score": "pass rate",
        },
        started=started,
    )
    return together, record


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
