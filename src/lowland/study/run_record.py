"""Record of a run: when it is begun, when it has finished, and when it has failed."""

from __future__ import annotations

import traceback
from dataclasses import replace

from lowland.ground.provenance import code, utc_now
from lowland.ground.records import RunRecord
from lowland.train.environment import environment
from lowland.train.fitted import Fitted
from lowland.train.job import Job
from lowland.train.test import Evaluation


def begun_record(job: Job) -> RunRecord:
    """Return the record as far as it is known before training."""
    return RunRecord(
        key=job.key,
        asked=job.asked(),
        status="finished",
        data={**job.data.describe(), "reads": job.task.reads, "inputs": list(job.task.input_columns)},
        model=job.source.describe(),
        tuning=dict(job.tuning),
        code=code(),
        environment=environment(job.dtype),
        when={"started": utc_now()},
    )


def finished_record(begun: RunRecord, fitted: Fitted, evaluation: Evaluation) -> RunRecord:
    """Return the record of a run that was trained and tested."""
    truncated = {**fitted.truncated, **evaluation.truncated}
    return replace(
        begun,
        data={**begun.data, "truncated": {name: count.describe() for name, count in truncated.items()}},
        model={**begun.model, "class": fitted.model_class},
        parameters=fitted.parameters,
        scores=evaluation.scores,
        validation=fitted.validation,
        chosen=dict(fitted.setup.chosen),
        baseline=evaluation.baseline,
        class_scores=evaluation.class_scores,
        cost={
            "train_seconds": fitted.cost["train_seconds"],
            "test_seconds": evaluation.seconds,
            "peak_bytes": fitted.cost["peak_bytes"],
        },
        when={**begun.when, "ended": utc_now()},
    )


def failed_record(begun: RunRecord, error: Exception) -> RunRecord:
    """Return the record of a run that an error ended, with its traceback."""
    text = "".join(traceback.format_exception(error))
    return replace(
        begun,
        status="failed",
        failure=f"{type(error).__name__}: {error}\n\n{text}",
        when={**begun.when, "ended": utc_now()},
    )
