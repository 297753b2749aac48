"""Shares of a study: the runs that `--only` selects, so that several machines can each run some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.remote_store import open_store
from lowland.ground.store import InUse, Store
from lowland.study.overrides import canonical_name
from lowland.study.recipe import Recipe
from lowland.train.job import Job

Slot = tuple[str, int]
"""Label of a method, and a seed: what tells the runs of a study apart."""


@dataclass(frozen=True)
class Selection:
    """Tasks, methods and seeds whose runs are selected.

    Attributes:
        values: by key ("task", "method" or "seed"), the values that are selected; a key without values selects all.
    """

    values: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.values)

    def includes(self, job: Job) -> bool:
        """Return whether a job is selected."""
        own = {"task": job.fields.name, "method": job.method.label, "seed": str(job.seed)}
        return all(own[key] in values for key, values in self.values.items())

    def part_of(self, recipe: Recipe) -> Recipe:
        """Return the recipe of the selected runs alone; the recipe itself if nothing is selected."""
        if not self:
            return recipe
        methods = self.values.get("method", tuple(choice.label for choice in recipe.methods))
        seeds = self.values.get("seed", tuple(map(str, recipe.seeds)))
        return recipe.replace(
            methods=tuple(choice for choice in recipe.methods if choice.label in methods),
            seeds=tuple(seed for seed in recipe.seeds if str(seed) in seeds),
        )


def read_selection(words: Sequence[str], recipe: Recipe) -> Selection:
    """Return the selection that words such as "method=lora" and "seed=42,1337" make among a recipe's runs.

    Raises:
        Mistake: if a word has another form, or a key or a value is not one of the study's.
    """
    allowed = {
        "task": [recipe.task.name],
        "method": [choice.label for choice in recipe.methods],
        "seed": [str(seed) for seed in recipe.seeds],
    }
    selected: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for word in words:
        key, equals, listed = word.partition("=")
        values = [value.strip() for value in listed.split(",")]
        if key not in allowed:
            problems.append(f"--only {word}: {one_of('key', key, allowed)}; write it as seed=42,1337")
        elif not equals or not all(values):
            problems.append(
                f"--only {word} {'has an empty value' if any(values) else 'has no value'}; give one or several, as"
                f" {key}={','.join(allowed[key][:2])}"
            )
        elif key in selected:
            problems.append(f"--only names {key} twice; list all its values behind one equals sign")
        else:
            selected[key] = tuple(_known(key, value, allowed[key]) for value in values)
            problems += [
                f"--only {word} selects nothing: {_unknown(key, value, allowed[key])}"
                for value in selected[key]
                if value not in allowed[key]
            ]
    if problems:
        raise Mistake(*dict.fromkeys(problems))
    return Selection(selected)


def _unknown(key: str, value: str, allowed: Sequence[str]) -> str:
    """Return the sentence for a value that the study lacks; seeds have no near ones."""
    return (
        f"no run has seed {value}; the seeds are {', '.join(allowed)}"
        if key == "seed"
        else one_of(key, value, allowed)
    )


def share_of(jobs: Sequence[Job], selection: Selection) -> list[Job]:
    """Return the selected jobs of a study, which keep their places in it; all, unchanged, if nothing is selected."""
    if not selection:
        return list(jobs)
    return [
        replace(job, place=(number, len(jobs)))
        for number, job in enumerate(jobs, start=1)
        if selection.includes(job)
    ]


def places_of(jobs: Sequence[Job], ran: Mapping[Slot, Path]) -> dict[Slot, Path | None]:
    """Return the folder of each of a study's runs, in the study's order; None if it is not there.

    Args:
        jobs: all jobs of the study.
        ran: folders of those that ran here; the others are looked for where the study's runs are.
    """
    store = open_store(jobs[0].out)
    slots = {(job.method.label, job.seed): job.name for job in jobs}
    return {slot: ran.get(slot) or _place(store, name) for slot, name in slots.items()}


def _place(store: Store, name: str) -> Path | None:
    """Return the folder of a run; None if it is not there, or a process works on it."""
    try:
        with store.claim(name, wait=False):
            return store.root / name if store.fetch(name) else None
    except InUse:
        return None


def _known(key: str, value: str, allowed: Sequence[str]) -> str:
    """Return a value as the study has it: a method may be given by another of its names."""
    if key == "method" and value not in allowed:
        return canonical_name(value) or value
    return value
