"""Runs what a study asks for, run by run, and keeps what is whole."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import lowland
from lowland.ground.mistakes import Mistake
from lowland.ground.provenance import code
from lowland.ground.recipe import Recipe
from lowland.ground.records import (
    RECORD_VERSION,
    RunRecord,
    write_history,
    write_predictions,
    write_record,
)
from lowland.ground.spec import RunSpec
from lowland.ground.store import Store, key_of
from lowland.models.find import ModelSource, find_model
from lowland.study.grid import grid
from lowland.study.progress import Progress
from lowland.tasks.classification import TextData
from lowland.tasks.table import load_task
from lowland.train.environment import environment
from lowland.train.fit import Trained, check, train


def run_study(recipe: Recipe, *, fresh: bool = False, progress: Progress | None = None) -> list[Path]:
    """Run all that a recipe asks for; a finished run that is found in the store is not run again.

    Args:
        recipe: of the study.
        fresh: run everything anew, and replace what is found.
        progress: told of every run.

    Returns:
        The folders of the runs, failed ones too, in the order of `grid`.

    Raises:
        Mistake: if the data or the model cannot be had, or a method does not fit the model.
    """
    progress = progress or Progress()
    progress.say(f"task {recipe.task}, model {recipe.model}")
    specs = grid(recipe)
    data = load_task(recipe.task, specs[0].data)
    source = find_model(recipe.model, recipe.revision)
    progress.say(f"data: {_sizes(data)}; model from: {source.origin} ({source.sha256[:12]})")
    check(specs, source)
    store = Store(recipe.out)
    return [
        _one(spec, data, source, store, fresh, progress.of(number, specs))
        for number, spec in enumerate(specs, start=1)
    ]


def run_key(spec: RunSpec, data: TextData, source: ModelSource) -> str:
    """The key of a run: what was asked, with the data and the model by their content and not by their place."""
    asked = spec.as_dict()
    asked["data"] = {
        name: value for name, value in asked["data"].items() if name not in ("data", "test_data")
    }
    del asked["model"], asked["revision"]
    for name in ("rank_pattern", "alpha_pattern"):  # their order counts
        if asked["options"].get(name):
            asked["options"][name] = list(asked["options"][name].items())
    return key_of(
        {
            "asked": asked,
            "data": data.sha256,
            "model": [source.sha256, source.files_sha256],
            "lowland": lowland.__version__,
            "record": RECORD_VERSION,
        }
    )


def run_name(spec: RunSpec, key: str) -> str:
    """The name of a run's folder: it tells a person what lies there."""
    return f"{spec.task}-{spec.method}-s{spec.seed}-{key[:10]}"


def _one(
    spec: RunSpec,
    data: TextData,
    source: ModelSource,
    store: Store,
    fresh: bool,
    progress: Progress,
) -> Path:
    key = run_key(spec, data, source)
    name = run_name(spec, key)
    with store.claim(name):
        found = _kept(store, name) if fresh else store.find(name)
        if found is not None and not fresh:
            progress.found(found)
            return store.root / name
        asked = RunRecord(
            key=key,
            asked=spec.as_dict(),
            status="finished",
            data=data.describe(),
            model=source.describe(),
            code=code(),
            environment=environment(spec.dtype),
            when={"started": _now()},
        )
        try:
            with store.writing(name) as folder:
                trained = train(spec, data, source, folder, progress.callbacks())
                record = _finished(asked, trained)
                write_predictions(folder, trained.predictions)
                write_history(folder, trained.history)
                write_record(folder, record)
        except (Mistake, OSError):
            raise
        except Exception as error:
            record = _failed(asked, error)
            if found is not None:
                name = f"{name}-failed"  # beside the earlier good run, which stays
            with store.writing(name) as folder:
                write_record(folder, record)
        progress.ended(record)
    return store.root / name


def _kept(store: Store, name: str) -> RunRecord | None:
    """A finished run that is about to be replaced; one that cannot be read is none."""
    try:
        return store.find(name)
    except Mistake:
        return None


def _finished(record: RunRecord, trained: Trained) -> RunRecord:
    return replace(
        record,
        model={**record.model, "class": trained.model_class},
        parameters=trained.parameters,
        scores=trained.scores,
        validation=trained.validation,
        cost=trained.cost,
        when={**record.when, "ended": _now()},
    )


def _failed(record: RunRecord, error: Exception) -> RunRecord:
    text = "".join(traceback.format_exception(error))
    first = f"{type(error).__name__}: {error}"
    return replace(
        record,
        status="failed",
        failure=f"{first}\n\n{text}",
        when={**record.when, "ended": _now()},
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sizes(data: TextData) -> str:
    order: Sequence[str] = ("train", "validation", *data.test_sets)
    return ", ".join(f"{len(data.splits[name])} {name}" for name in order)
