"""Drift of the hidden states of runs, on a sample of their test inputs."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord
from lowland.measure.adapter_settings import AdapterMeasureSettings
from lowland.measure.drift import drift, layer_states
from lowland.measure.similarity import Array
from lowland.measure.subject import Sample, Subject
from lowland.measure.tuned import Tuned

TEST = "test"
"""Name of the split whose inputs are read."""
FEWEST = 4
"""Smallest number of inputs that CKA is defined for."""


def measure_drift(
    group: Sequence[Tuned],
    base: nn.Module,
    settings: AdapterMeasureSettings,
    rows: list[dict[str, Any]],
    note: Callable[[str], None],
    progress: Progress,
) -> None:
    """Measure the drift of each run of a base model; adapters without a run have no test inputs, and are left out.

    Args:
        group: runs and adapters of one base model.
        base: the base model.
        settings: sample, and where the data are.
        rows: rows are added here: `cka` and `cosine` of each layer's states.
        note: called with a sentence where the drift of a run cannot be measured.
        progress: reports the inputs that are done.
    """
    alike: dict[tuple[str, ...], list[Tuned]] = defaultdict(list)
    for tuned in group:
        if tuned.record is not None:
            record = tuned.record
            alike[record.task, str(record.data.get("sha256")), str(record.asked["max_length"])].append(tuned)
        else:
            note(f"{tuned.folder} comes without a run, so there are no test texts to measure its drift on")
    for runs in alike.values():
        try:
            rows += _rows_of(runs, base, settings, progress)
        except Mistake as mistake:
            names = ", ".join(run.folder.name for run in runs)
            note(f"the drift of {names} is not measured: {'; '.join(mistake.problems)}")


def _rows_of(
    runs: Sequence[Tuned], base: nn.Module, settings: AdapterMeasureSettings, progress: Progress
) -> list[dict[str, Any]]:
    """Return the rows of runs that read the same inputs."""
    rows: list[dict[str, Any]] = []
    of_base: Array | None = None
    with progress.bar(settings.limit * (len(runs) + 1), unit="inputs", label="hidden states") as bar:
        for run in runs:
            predictor = load(run.folder)
            assert isinstance(run.record, RunRecord)
            subject = Subject(run.folder, run.record, predictor.task, predictor.setup, predictor.model, {})
            sample = _sample(subject, settings)
            if of_base is None:
                of_base = layer_states(base, sample.batches, bar.step)
            tuned = layer_states(predictor.model, sample.batches, bar.step)
            who = {"task": run.task, "method": run.method, "seed": run.seed, "run": str(run.folder)}
            rows += [
                {**who, "layer": number, "cka": cka, "cosine": cosine}
                for number, (cka, cosine) in enumerate(drift(of_base, tuned))
            ]
            del predictor, subject
            gc.collect()  # the next model is loaded into the memory of this one
    return rows


def _sample(subject: Subject, settings: AdapterMeasureSettings) -> Sample:
    """Return a sample of a run's test inputs, the same for each run; raise `Mistake` if there are too few."""
    sample = subject.sample(
        TEST,
        limit=settings.limit,
        batch_size=settings.batch_size,
        data=settings.data,
        test_data=settings.test_data,
    )
    if len(sample.examples) < FEWEST:
        raise Mistake(f"its test set has fewer than {FEWEST} inputs")
    return sample
