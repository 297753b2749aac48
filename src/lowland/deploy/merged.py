"""Reader of what a merged model's folder says of the run that it comes from: `merge_report.json`, or its class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowland.deploy.find import IMAGE_CLS, QUESTION_ANS, SEQ_CLS, TASKS_OF_KINDS
from lowland.ground.mistakes import Mistake
from lowland.models.load import read_model_config
from lowland.tasks.base import Task
from lowland.tasks.examples import TaskFields
from lowland.tasks.table import TASKS, task_fields, task_named

MODEL_CLASSES = {
    "SequenceClassification": SEQ_CLS,
    "QuestionAnswering": QUESTION_ANS,
    "ImageClassification": IMAGE_CLS,
}
"""Task types by the ends of the names of transformers' classes."""


def merge_report(folder: Path) -> Mapping[str, Any]:
    """Return the content of `merge_report.json` in a merged model's folder; empty without one."""
    try:
        report = json.loads((folder / "merge_report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def merged_setup(folder: Path) -> Mapping[str, Any]:
    """Return what the report says of how a merged model's run reads and decodes; empty if it does not."""
    setup = merge_report(folder).get("setup")
    return setup if isinstance(setup, dict) else {}


def merged_fields(folder: Path) -> TaskFields:
    """Return the task fields of the run that a merged model comes from; the defaults if they are not known.

    Raises:
        Mistake: if no task is for a model of its class, or the report holds fields that the task does not have.
    """
    fields = merged_setup(folder).get("fields")
    values = fields if isinstance(fields, dict) else {}
    return task_fields(**{**values, "name": task_of_model(folder).name})


def task_of_model(folder: Path) -> Task:
    """Return the task that the report in a model's folder names; without one, that of its class.

    Raises:
        Mistake: if no task is for a model of its class.
    """
    name = merge_report(folder).get("task")
    if name in TASKS:
        return task_named(name)
    classes = read_model_config(folder).architectures or ()
    for ending, kind in MODEL_CLASSES.items():
        if any(ending in name for name in classes):
            return task_named(TASKS_OF_KINDS[kind])
    raise Mistake(
        f"the model in {folder} is neither a classifier of texts or images nor a model that marks answers; fine-tune it"
        " first"
    )
