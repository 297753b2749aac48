"""Jobs for runs that failed or were not finished, made again from their records: they ask for exactly the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import lowland
from lowland.deploy.runs import check_same_model, data_of
from lowland.ground.asked import Asked, Seed, Text, Truth, Whole
from lowland.ground.listing import Entry, is_stress
from lowland.ground.mistakes import Mistake, gathering
from lowland.ground.records import RunRecord
from lowland.models.find import find_model
from lowland.models.formats import NumberFormat, number_format
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.tasks.table import task_fields
from lowland.train.choice import MethodChoice
from lowland.train.job import Job
from lowland.train.settings import Settings


class Requested(Asked):
    """Request of a run, as its record holds it."""

    task: dict[str, Any]
    method: dict[str, Any]
    seed: Seed
    model: Text
    revision: Text | None
    max_length: Annotated[Whole, Field(ge=1)]
    dtype: NumberFormat
    compile: Truth
    keep_weights: Truth


@dataclass(frozen=True)
class Moved:
    """Places of the data and the model, where they are no longer those of the records; None for one that is."""

    data: Path | None = None
    test_data: Path | None = None
    model: str | None = None


@dataclass(frozen=True)
class Retry:
    """Runs to run again.

    Attributes:
        jobs: their jobs, by seed.
        left: sentences on what is neither finished nor run again.
    """

    jobs: list[Job]
    left: list[str]


def plan_retry(entries: Sequence[Entry], moved: Moved | None = None) -> Retry:
    """Make the jobs of all runs that failed or were not finished.

    Raises:
        Mistake: if a record does not hold what was asked, or data, model or lowland are not those of the record.
    """
    left = [sentence for entry in entries if (sentence := _left(entry))]
    sources = _Sources(moved or Moved())
    jobs: dict[Path, Job] = {}
    problems: dict[str, None] = {}
    for entry in entries:
        if _left(entry) or entry.state == "finished":
            continue
        assert isinstance(entry.record, RunRecord)
        of_entry: list[str] = []
        with gathering(of_entry):
            job = _job_again(entry, entry.record, sources)
            if entry.store.find_to_replace(job.name) is not None:
                left.append(f"{entry}: a finished run of the same request is there")
            else:
                jobs[entry.folder.parent / job.name] = job
        problems |= dict.fromkeys(of_entry)
    if problems:
        raise Mistake(*problems)
    return Retry(sorted(jobs.values(), key=lambda job: (job.fields.name, job.seed)), left)


def _left(entry: Entry) -> str | None:
    """Return why an entry that is not finished is not run again; None if it is."""
    if entry.state == "finished":
        return None
    if entry.state in ("damaged", "other version"):
        return (
            f"{entry.reason}; remove it with lowland study rm --yes {entry}, and repeat the study's command"
        )
    if entry.state == "running":
        return f"{entry}: a process works on it"
    if is_stress(entry):
        return f"{entry}: a stress test; repeat its command, lowland stress …"
    if entry.record is None:
        return f"{entry}: it left no note of what was asked; repeat the study's command"
    return None


@dataclass
class _Sources:
    """Data and models of runs; each is loaded once."""

    moved: Moved
    data: dict[str, TaskData] = field(default_factory=dict)
    models: dict[tuple[str, str | None], ModelSource] = field(default_factory=dict)

    def data_of(self, entry: Entry, record: RunRecord) -> TaskData:
        """Return the data of a run, as they were."""
        key = json.dumps([record.asked["task"], record.data.get("sha256")])
        if key not in self.data:
            self.data[key] = data_of(entry.folder, record, self.moved.data, self.moved.test_data)
        return self.data[key]

    def model_of(self, entry: Entry, record: RunRecord, asked: Requested) -> ModelSource:
        """Return the base model of a run, which is the same."""
        name, revision = (self.moved.model, None) if self.moved.model else (asked.model, asked.revision)
        if (name, revision) not in self.models:
            self.models[name, revision] = find_model(name, revision)
        source = self.models[name, revision]
        check_same_model(entry.folder, record, source)
        return source


def _job_again(entry: Entry, record: RunRecord, sources: _Sources) -> Job:
    """Make the job of a record again.

    Raises:
        Mistake: if the record does not hold what was asked, or something is not as it was.
    """
    try:
        asked = Requested(**record.asked)
        own = dict(asked.method)
        choice = MethodChoice.choose(str(own.pop("name")), Settings(), own, str(own.pop("label")))
        fields = task_fields(**{**asked.task, **_paths(sources.moved)})
    except (Mistake, KeyError) as error:
        raise Mistake(f"the record in {entry} does not hold a request that can be run ({error})") from None
    source = sources.model_of(entry, record, asked)
    job = Job(
        fields=fields,
        method=choice,
        seed=asked.seed,
        model=source.name,
        revision=asked.revision,
        max_length=asked.max_length,
        dtype=number_format(asked.dtype),
        compile=asked.compile,
        keep_weights=asked.keep_weights,
        data=sources.data_of(entry, record),
        source=source,
        out=entry.folder.parent,
        tuning=record.tuning,
    )
    if job.key != record.key:
        raise Mistake(_other_key(entry, record))
    return job


def _paths(moved: Moved) -> dict[str, str]:
    places = {"data": moved.data, "test_data": moved.test_data}
    return {name: str(path) for name, path in places.items() if path is not None}


def _other_key(entry: Entry, record: RunRecord) -> str:
    """Return the sentence for a request that is no longer that of its record's key."""
    made_by = record.code.get("lowland", "an unknown version")
    if made_by != lowland.__version__:
        return (
            f"{entry} was made by lowland {made_by}, and this is {lowland.__version__}: its runs are others; repeat the"
            " study's command, and remove this run with lowland study rm"
        )
    return f"the request in the record of {entry} was changed: it does not have the key {record.key}"
