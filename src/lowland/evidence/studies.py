"""Several studies beside each other: what differs in their settings, and how their methods differ where they pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.pairs import PairedComparison, compare_scores
from lowland.evidence.core.unpaired import UnpairedComparison, compare_unpaired
from lowland.evidence.readers.answers import EXPECTED
from lowland.evidence.readers.runs import MEAN_SCORE, TEST
from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord

Comparison = PairedComparison | UnpairedComparison


@dataclass(frozen=True)
class NamedStudy:
    """A study beside others.

    Attributes:
        name: name of its folder, which no other of them has.
        folder: its folder.
        evidence: what its runs show.
    """

    name: str
    folder: Path
    evidence: StudyEvidence

    def of(self, method: str) -> dict[Path, RunRecord]:
        """Return the finished runs of a method, by folder."""
        return {folder: record for folder, record in self.evidence.runs.items() if record.method == method}


@dataclass(frozen=True)
class MethodTable:
    """Scores of one method's runs for the examples of the test set.

    Attributes:
        metric: name of the recorded score that is the mean of the examples' scores, or `MEAN_SCORE`.
        seeds: the S seeds.
        scores: (S, N) scores.
        about: N rows with what is known of the examples, by their numbers.
        data: SHA-256 of the data.
    """

    metric: str
    seeds: tuple[int, ...]
    scores: np.ndarray
    about: pd.DataFrame
    data: str


@dataclass(frozen=True)
class StudyDifferences:
    """Differences of the methods of a study from the same methods of another.

    Attributes:
        study: the one.
        reference: the other.
        compared: differences by method; those over seeds have p-values with Holm's correction in `p_holm`.
        p_holm: corrected p-values by method.
        left_out: seeds that only one of both has and that are left out, since the others are paired; by method.
        reasons: why a method that both have is not compared, by method.
    """

    study: NamedStudy
    reference: NamedStudy
    compared: Mapping[str, Comparison]
    p_holm: Mapping[str, float]
    left_out: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]

    def is_shown(self, method: str) -> bool:
        """Return whether the difference of a method is shown: over seeds, and after Holm's correction."""
        each = self.compared[method]
        return each.over_seeds and not each.low <= 0 <= each.high and self.p_holm[method] < 1 - each.level


def method_table(study: NamedStudy, method: str) -> MethodTable | str:
    """Read the scores of a method's runs, or return why they make no table: their examples differ."""
    runs = sorted(study.of(method).items(), key=lambda run: run[1].seed)
    tables = [_examples(folder) for folder, _ in runs]
    first = tables[0]
    if (
        any(not each.index.equals(first.index) for each in tables)
        or len({r.data.get("sha256") for _, r in runs}) > 1
    ):
        return f"the runs of {method} in {study.name} were tested on different examples"
    means = [float(table["score"].mean()) for table in tables]
    names = [
        name
        for name in runs[0][1].scores[TEST]
        if np.allclose(
            [record.scores[TEST].get(name, np.nan) for _, record in runs], means, rtol=1e-6, atol=1e-9
        )
    ]
    return MethodTable(
        metric=(names or [MEAN_SCORE])[0],
        seeds=tuple(record.seed for _, record in runs),
        scores=np.stack([table["score"].to_numpy(np.float64) for table in tables]),
        about=first,
        data=str(runs[0][1].data.get("sha256")),
    )


def _examples(folder: Path) -> pd.DataFrame:
    """Return the predictions for the test set, in the order of the examples' numbers."""
    table = read_predictions(folder)
    return table[table["split"] == TEST].set_index("example").sort_index()


def score_interval(table: MethodTable) -> PairedInterval | None:
    """Return the mean score with its interval over seeds and examples; None if all examples are in one group."""
    groups = table.about["group"]
    if groups.nunique() < 2:
        return None
    return paired_interval(table.scores, np.zeros_like(table.scores), groups=groups)


def differences(study: NamedStudy, reference: NamedStudy) -> StudyDifferences:
    """Compare each method that two studies have; of studies with one method each, these two.

    Methods are paired by example and, if at least half of the seeds are the same, by seed. Otherwise the seeds are
    unpaired. Nothing is compared unless both were tested on the same examples with the same score.
    """
    ours, theirs = study.evidence.names, reference.evidence.names
    shared = [(name, name) for name in theirs if name in ours]
    if not shared and len(ours) == len(theirs) == 1:
        shared = [(ours[0], theirs[0])]
    compared: dict[str, Comparison] = {}
    left_out: dict[str, tuple[int, ...]] = {}
    reasons: dict[str, str] = {}
    for own, other in shared:
        label = own if own == other else f"{own} and {other}"
        outcome = _compare(study, own, reference, other)
        if isinstance(outcome, str):
            reasons[label] = outcome
            continue
        compared[label] = outcome
        if isinstance(outcome, PairedComparison):
            seeds = {
                record.seed
                for each, name in ((study, own), (reference, other))
                for record in each.of(name).values()
            }
            left_out[label] = tuple(sorted(seeds - set(outcome.seeds)))
    over_seeds = {label: each for label, each in compared.items() if each.over_seeds}
    corrected = dict(zip(over_seeds, holm([each.p for each in over_seeds.values()]), strict=True))
    return StudyDifferences(study, reference, compared, corrected, left_out, reasons)


def _compare(study: NamedStudy, own: str, reference: NamedStudy, other: str) -> Comparison | str:
    """Compare a method of a study with one of another, or return why they cannot be compared."""
    ours, theirs = method_table(study, own), method_table(reference, other)
    if isinstance(ours, str) or isinstance(theirs, str):
        return ours if isinstance(ours, str) else str(theirs)
    if reason := _why_different(ours, theirs):
        return reason
    if ours.metric != theirs.metric:
        return f"their scores are different ones, {ours.metric} and {theirs.metric}"
    if ours.about["group"].nunique() < 2:
        return "all test examples are in one group, which says nothing of others"
    method, known = f"{own} in {study.name}", f"{other} in {reference.name}"
    groups, seeds = tuple(ours.about["group"]), [seed for seed in ours.seeds if seed in theirs.seeds]
    if 2 * len(seeds) < max(len(ours.seeds), len(theirs.seeds)):
        return compare_unpaired(
            ours.scores, theirs.scores, method=method, reference=known, metric=ours.metric, groups=groups
        )
    return compare_scores(
        ours.scores[[ours.seeds.index(seed) for seed in seeds]],
        theirs.scores[[theirs.seeds.index(seed) for seed in seeds]],
        metric=ours.metric,
        groups=groups,
        method=method,
        reference=known,
        seeds=seeds,
    )


def _why_different(ours: MethodTable, theirs: MethodTable) -> str:
    """Return why two tables are not of the same examples; "" if they are: of the same data, or equal in all."""
    different = "they were tested on different examples"
    if not ours.about.index.equals(theirs.about.index) or not ours.about["group"].equals(
        theirs.about["group"]
    ):
        return different
    if ours.data == theirs.data:
        return ""
    answers = [name for name in EXPECTED if name in ours.about and name in theirs.about]
    if not answers or (ours.about["text"] == "").any() or (theirs.about["text"] == "").any():
        return (
            "the files differ, and whether the test examples are the same cannot be checked, because these runs stored"
            " no texts"
        )
    is_same = all(ours.about[name].equals(theirs.about[name]) for name in ("text", *answers))
    return "" if is_same else different


def settings_beside(studies: Sequence[NamedStudy]) -> dict[str, list[Any]]:
    """Return the settings of studies by name, each with a value for each study; None where a study has none.

    They are those of the task, the data, the model, the code, the machine, and of the methods that several studies
    have. A setting that is equal in all these methods of each study has one entry; any other has one for each method,
    such as `lr of full`.
    """
    tables = [_settings(study) for study in studies]
    asked = _shared_methods(studies)
    names = dict.fromkeys(name for methods in asked for each in methods.values() for name in each)
    for name in names:
        values = [{label: each[name] for label, each in methods.items() if name in each} for methods in asked]
        if all(len(set(map(str, each.values()))) <= 1 for each in values):
            rows = {name: [next(iter(each.values()), None) for each in values]}
        else:
            labels = dict.fromkeys(label for each in values for label in each)
            rows = {f"{name} of {label}": [each.get(label) for each in values] for label in labels}
        for row, entries in rows.items():
            for table, entry in zip(tables, entries, strict=True):
                table[row] = entry
    every = dict.fromkeys(name for table in tables for name in table)
    return {name: [table.get(name) for table in tables] for name in every}


def _shared_methods(studies: Sequence[NamedStudy]) -> list[dict[str, dict[str, Any]]]:
    """Return for each study the settings of the methods that another study has, too, by label."""
    asked = [
        {record.method: record.asked["method"] for record in study.evidence.runs.values()}
        for study in studies
    ]
    everywhere = [label for methods in asked for label in methods]
    return [
        {
            label: {name: value for name, value in each.items() if name not in ("name", "label")}
            for label, each in methods.items()
            if everywhere.count(label) > 1
        }
        for methods in asked
    ]


def _settings(study: NamedStudy) -> dict[str, Any]:
    """Return what the runs of a study have in common, but for the settings of the methods."""
    first = study.evidence.first
    asked = {name: value for name, value in first.asked.items() if name not in ("task", "method", "seed")}
    task = {f"task, {name}": value for name, value in first.asked["task"].items() if name != "name"}
    return {
        "task": first.task,
        "methods": ", ".join(study.evidence.names),
        "seeds": ", ".join(map(str, study.evidence.seeds)),
        **asked,
        **task,
        "data": first.data.get("source"),
        "data, SHA-256": first.data.get("sha256"),
        **{f"{split} examples": size for split, size in first.data.get("sizes", {}).items()},
        "model, SHA-256": first.model.get("sha256"),
        "lowland": first.code.get("lowland"),
        "lowland, SHA-256": first.code.get("source_sha256"),
        **{f"environment, {name}": value for name, value in first.environment.items()},
    }


def are_settings_equal(runs: Sequence[RunRecord]) -> bool:
    """Return whether only methods and seeds vary in runs, as in one study; paths of data and models may differ."""
    methods: dict[str, Any] = {}
    requests = set()
    for record in runs:
        asked, task = record.asked, record.asked["task"]
        shared = {
            name: value for name, value in asked.items() if name not in ("method", "seed", "model", "task")
        }
        fields = {name: value for name, value in task.items() if name not in ("data", "test_data")}
        requests.add(str((shared, fields, record.data.get("sha256"), record.model.get("sha256"))))
        if methods.setdefault(record.method, asked["method"]) != asked["method"]:
            return False
    return len(requests) == 1
