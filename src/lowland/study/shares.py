"""Shares of a study in several folders: whether they belong together, what they have in common, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.listing import Entry, list_folder, training_runs
from lowland.ground.mistakes import Mistake, gathering, plural
from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord, title_of
from lowland.ground.visible import visible
from lowland.train.job import PATH_FIELDS

APART = ("task", "method", "seed", "model", "revision")
"""Parts of a request that are compared in another way, or may differ."""


@dataclass(frozen=True)
class ShareRun:
    """Finished run of a share."""

    share: Path
    folder: Path
    record: RunRecord

    def __str__(self) -> str:
        return f"{self.record.method}, seed {self.record.seed}"

    @property
    def place(self) -> str:
        """The share, for sentences."""
        return visible(str(self.share))


Slot = tuple[str, str, int]
"""Task, label of the method, and seed: what tells the runs of a study apart."""


@dataclass(frozen=True)
class Shares:
    """Runs of several shares.

    Attributes:
        runs: the finished runs, each once, in the order of the shares and of their start.
        missing: by task, label and seed of each run that is not there although the study has the method and the seed.
        said: sentences on what a person should know of them.
    """

    runs: list[ShareRun]
    missing: dict[str, list[tuple[str, int]]]
    said: list[str]


def read_shares(folders: Sequence[Path], *, partial: bool = False) -> Shares:
    """Read the shares of a study, and check that they belong together and are whole.

    Args:
        folders: of the shares.
        partial: whether runs may be missing or damaged.

    Raises:
        Mistake: with everything that keeps them from being one study.
    """
    listed = {folder: list_folder(folder) for folder in folders}
    problems = [
        f"{visible(str(folder))} holds no training run"
        for folder, entries in listed.items()
        if not training_runs(entries)[0]
    ]
    every = [run for folder, entries in listed.items() for run in _finished(folder, entries)]
    for run in every:
        with gathering(problems):
            read_predictions(run.folder)
    if problems:
        raise Mistake(*problems)
    runs, said = _without_copies(every, problems)
    problems += _same_names(runs)
    for task in dict.fromkeys(run.record.task for run in runs):
        problems += _differences([run for run in every if run.record.task == task])
    missing = _missing(runs)
    if not partial:
        problems += [_missing_sentence(task, slots) for task, slots in missing.items() if slots]
        whole = {run.folder.name for run in runs}
        problems += [
            _unreadable(entry)
            for entry in _others(listed)
            if entry.record is None and entry.reason and entry.folder.name not in whole
        ]
    if problems:
        raise Mistake(*dict.fromkeys(problems))
    said += [_of_no_use(entry) for entry in _others(listed)]
    return Shares(runs, missing, [*said, *_left_out(listed), *_other_origins(runs)])


def _finished(share: Path, entries: Sequence[Entry]) -> list[ShareRun]:
    runs = [
        ShareRun(share, entry.folder, entry.record)
        for entry in entries
        if entry.state == "finished" and isinstance(entry.record, RunRecord)
    ]
    return sorted(runs, key=_started)


def _started(run: ShareRun) -> tuple[str, int]:
    """Return when a run started; of those in one second, the record that was written first is the first."""
    return run.record.when.get("started", ""), (run.folder / "record.json").stat().st_mtime_ns


def _others(listed: Mapping[Path, Sequence[Entry]]) -> list[Entry]:
    """Return the training runs that are not finished."""
    return [
        entry
        for entries in listed.values()
        for entry in training_runs(entries)[0]
        if entry.state != "finished"
    ]


def _of_no_use(entry: Entry) -> str:
    """Return the sentence for a run that is not finished, and so is not taken."""
    failure = entry.record.failure if entry.record is not None else None
    reason = entry.reason or visible((failure or "").partition("\n")[0])
    state = "failed" if entry.state == "failed" else f"is {entry.state}"
    return f"{entry} {state}{f' ({reason})' if reason else ''}, and is left out"


def _unreadable(entry: Entry) -> str:
    """Return the sentence for a run whose record cannot be read, where the study must be whole."""
    return (
        f"{entry} is {entry.state} ({entry.reason}); remove it with lowland study rm --yes {entry} and run it again, or"
        " add --partial to merge the others"
    )


def _left_out(listed: Mapping[Path, Sequence[Entry]]) -> list[str]:
    count = sum(len(training_runs(entries)[1]) for entries in listed.values())
    return [f"{plural(count, 'stress test')} left out: only training runs are merged"] if count else []


def _without_copies(runs: Sequence[ShareRun], problems: list[str]) -> tuple[list[ShareRun], list[str]]:
    """Return each run once, and a sentence for each that is there twice; add copies that differ to the problems."""
    kept: dict[Slot, ShareRun] = {}
    said: list[str] = []
    for run in runs:
        first = kept.setdefault((run.record.task, run.record.method, run.record.seed), run)
        if first is run or first.record.key != run.record.key:  # other settings are reported for all runs
            continue
        if _same_content(first, run):
            said.append(
                f"{run} is in {first.place} and in {run.place}, with the same predictions; it is taken once"
            )
        else:
            problems.append(
                f"{run} is in {first.place} and in {run.place}, with different predictions"
                f"{_why_different(first.record, run.record)}; keep one of the two, and remove the other, as with"
                f" lowland study rm --yes {visible(str(run.folder))}"
            )
    return list(kept.values()), said


def _why_different(first: RunRecord, second: RunRecord) -> str:
    """Return in brackets where the environments of two runs differ; "" if they do not."""
    ours, theirs = first.environment, second.environment
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return f" (their environments differ in {', '.join(names)})" if names else ""


def _same_names(runs: Sequence[ShareRun]) -> list[str]:
    """Return a sentence for each name that the folders of several runs have."""
    names = [run.folder.name for run in runs]
    return [
        f"several runs have the folder name {visible(name)}; name each folder as lowland did"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _same_content(first: ShareRun, second: ShareRun) -> bool:
    """Return whether two runs of one request have the same scores and predictions."""
    ours, theirs = first.record, second.record
    if (ours.scores, ours.data.get("sha256")) != (theirs.scores, theirs.data.get("sha256")):
        return False
    return bool(read_predictions(first.folder).equals(read_predictions(second.folder)))


def _differences(runs: Sequence[ShareRun]) -> list[str]:
    """Return sentences on what keeps runs of one task from being runs of one study."""
    task, traits = runs[0].record.task, [_traits(run.record) for run in runs]
    sentences = _differing(f"runs of {task} differ in their", runs, traits)
    for label in dict.fromkeys(run.record.method for run in runs):
        own = [run for run in runs if run.record.method == label]
        settings = [run.record.asked["method"] for run in own]
        sentences += _differing(f"runs of {label} differ in their", own, settings)
    return [f"the {sentence}; give shares of one study" for sentence in sentences]


def _traits(record: RunRecord) -> dict[str, Any]:
    """Return what all runs of a study have in common: data, model, and the request but for method and seed."""
    task = {name: value for name, value in record.asked["task"].items() if name not in (*PATH_FIELDS, "name")}
    return {
        **task,  # first, since a setting explains why the data differ
        **{name: value for name, value in record.asked.items() if name not in APART},
        "data": str(record.data.get("sha256"))[:12],
        "base model": f"{title_of(record.model)} ({str(record.model.get('sha256'))[:12]})",
        "config or tokenizer": str(record.model.get("files_sha256"))[:12],
    }


def _other_origins(runs: Sequence[ShareRun]) -> list[str]:
    """Return sentences on the code and the environments of the runs, if they differ."""
    code = [
        {"code": f"{run.record.code.get('lowland')} ({str(run.record.code.get('source_sha256'))[:8]})"}
        for run in runs
    ]
    return [
        *_differing("the runs were made by different", runs, code),
        *_differing("the runs were made with different", runs, [run.record.environment for run in runs]),
    ]


def _differing(what: str, runs: Sequence[ShareRun], values_of_runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each name of which runs have different values, with a share that has each of them."""
    sentences = []
    for name in dict.fromkeys(name for values in values_of_runs for name in values):
        places: dict[str, str] = {}
        for run, values in zip(runs, values_of_runs, strict=True):
            places.setdefault(visible(str(values.get(name))), run.place)
        if len(places) > 1:
            listed = ", ".join(f"{value} in {place}" for value, place in places.items())
            sentences.append(f"{what} {name.replace('_', ' ')}: {listed}")
    return sentences


def _missing(runs: Sequence[ShareRun]) -> dict[str, list[tuple[str, int]]]:
    """Return, by task, the pairs of a method and a seed of which no run is there although others have both."""
    missing = {}
    for task in dict.fromkeys(run.record.task for run in runs):
        there = {(run.record.method, run.record.seed): None for run in runs if run.record.task == task}
        methods, seeds = (list(dict.fromkeys(values)) for values in zip(*there, strict=True))
        missing[task] = [
            (method, seed) for method in methods for seed in sorted(seeds) if (method, seed) not in there
        ]
    return missing


def _missing_sentence(task: str, slots: Sequence[tuple[str, int]]) -> str:
    names = "; ".join(f"{method}, seed {seed}" for method, seed in slots)
    return f"of {task}, {plural(len(slots), 'run')} missing: {names}; run them, or add --partial to merge what is there"
