"""Evidence of a whole study, computed once: scores, comparisons, errors, and training logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.errors import ErrorAnalysis, analyse
from lowland.evidence.readers.answers import read_answers
from lowland.evidence.readers.history import Entries, read_history
from lowland.evidence.study import (
    MethodScores,
    by_method,
    compare_with_reference,
    dominated,
    false_verdicts_of_study,
    reference_among,
)
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.records import RunRecord


@dataclass(frozen=True)
class StudyEvidence:
    """Evidence of the runs of one study.

    Attributes:
        runs: records of the finished runs, by folder.
        failed: records of the runs that failed.
        unfinished: number of runs that were begun and have not ended.
        reference: label of the method that the others are compared with.
        methods: scores and cost of each method on the test set `test`.
        dominated: methods that are not on the Pareto front, each with one that dominates it.
        compared: comparisons with the reference, by test set.
        false_verdicts: how often each comparison would give a verdict without a difference (A/A), by test set.
        analysis: errors on the test set `test`; None if its scores are not shares.
        histories: training logs, by folder.
    """

    runs: Mapping[Path, RunRecord]
    failed: Sequence[RunRecord]
    unfinished: int
    reference: str
    methods: Sequence[MethodScores]
    dominated: Mapping[str, str]
    compared: Mapping[str, Sequence[PairedComparison]]
    false_verdicts: Mapping[str, Mapping[str, float]]
    analysis: ErrorAnalysis | None
    histories: Mapping[Path, Entries]

    @property
    def records(self) -> list[RunRecord]:
        """Return the records of the finished runs."""
        return list(self.runs.values())

    @property
    def first(self) -> RunRecord:
        """Return the record of the first run, for what all runs have in common."""
        return next(iter(self.runs.values()))

    @property
    def names(self) -> list[str]:
        """Return the labels of the methods; a method's place gives its look in all plots."""
        return [method.method for method in self.methods]

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of all methods, in ascending order."""
        return sorted({record.seed for record in self.runs.values()})


def study_evidence(
    runs: Mapping[Path, RunRecord],
    *,
    failed: Sequence[RunRecord] = (),
    unfinished: int = 0,
    reference: str | None = None,
) -> StudyEvidence:
    """Compute the evidence of a study.

    Args:
        runs: records of its finished runs, by folder; one or more.
        failed: records of the runs that failed.
        unfinished: number of runs that were begun and have not ended.
        reference: label of the method that the others are compared with; None takes LoRA if it took part, in an
            ablation the method as it is, else the first.

    Raises:
        Mistake: if the runs are not of one study, a file of theirs cannot be read, or no run is of the reference.
    """
    _check_one_study(list(runs.values()))
    runs = dict(sorted(runs.items(), key=lambda run: run[1].when.get("started", "")))  # as the study went on
    records = list(runs.values())
    labels = list(dict.fromkeys(record.method for record in records))
    if reference is not None and reference not in labels:
        raise Mistake(one_of("method", reference, labels))
    chosen = reference or reference_among(records)
    methods = by_method(records)
    splits = list(records[0].scores)
    answers = read_answers(runs)
    are_shares = all(each.scores.min() >= 0 and each.scores.max() <= 1 for each in answers.methods.values())
    return StudyEvidence(
        runs=runs,
        failed=failed,
        unfinished=unfinished,
        reference=chosen,
        methods=methods,
        dominated=dominated(methods),
        compared={split: compare_with_reference(runs, chosen, split=split) for split in splits},
        false_verdicts={split: false_verdicts_of_study(runs, chosen, split=split) for split in splits},
        analysis=analyse(answers, method=chosen, reference=chosen) if are_shares else None,
        histories={folder: read_history(folder) for folder in runs},
    )


def _check_one_study(records: Sequence[RunRecord]) -> None:
    """Raise `Mistake` unless all runs are of one task."""
    tasks = list(dict.fromkeys(record.task for record in records))
    if len(tasks) > 1:
        raise Mistake(
            f"the runs are of {len(tasks)} tasks, {', '.join(tasks)}; name those of one study, such as"
            f" RUNS/{tasks[0]}-*"
        )
