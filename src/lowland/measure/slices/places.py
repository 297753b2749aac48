"""Places in the space of all weights: trained runs with their adapters merged and their heads, and the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.deploy.find import base_of_run
from lowland.deploy.load import load_base
from lowland.deploy.runs import finished_record
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord, title_of
from lowland.measure.space import FULL, Point, Space
from lowland.measure.subject import Subject

BASE = "base"
"""Name of the base model among the places."""


@dataclass(frozen=True)
class Place:
    """Weights of a whole model.

    Attributes:
        name: name in reports.
        weights: all its parameters, by name.
    """

    name: str
    weights: Point


def whole_space(subject: Subject) -> Space:
    """Return the space of all parameters of a run: merged weights, head, embeddings, norms and biases.

    The head is trained by every method and has the same shape in all runs of a task, so it is a part of the place: at
    the end of a line the loss is then that of the run, and half-way there is half of each head.
    """
    full = subject.space(FULL)
    own = {name: parameter.detach() for name, parameter in subject.model.named_parameters()}
    return Space("all", subject.model, {**own, **full.center}, full.transposed, {}, full.shifted)


def base_place(subject: Subject) -> Place:
    """Return the base model as the run began: with a head of the run's seed, where the checkpoint has none.

    Raises:
        Mistake: if the base model cannot be found.
    """
    base = base_of_run(subject.folder, subject.record)
    model = load_base(base, seed=subject.record.seed).model
    return Place(BASE, {name: parameter.detach() for name, parameter in model.named_parameters()})


def check_same_shapes(places: Sequence[Place]) -> None:
    """Check that all places have weights of the same names and shapes; raise `Mistake` otherwise."""
    first, *others = ({name: tuple(weight.shape) for name, weight in each.weights.items()} for each in places)
    for place, shapes in zip(places[1:], others, strict=True):
        different = sorted(
            name for name in first.keys() | shapes.keys() if first.get(name) != shapes.get(name)
        )
        if different:
            raise Mistake(
                f"{places[0].name} and {place.name} have weights of different shapes ({', '.join(different[:3])}), so"
                " no line goes from one to the other; give runs with the same model and head"
            )


def check_one_plane(folders: Sequence[Path]) -> None:
    """Check that runs differ, and have the same base model, task and data; raise `Mistake` otherwise."""
    if repeated := [folder for folder in dict.fromkeys(folders) if folders.count(folder) > 1]:
        raise Mistake(f"{repeated[0]} is given more than once; name each run once")
    records = [finished_record(folder) for folder in folders]
    for folder, record in zip(folders[1:], records[1:], strict=True):
        for trait, values in _traits(records[0], record).items():
            if values[0] != values[1]:
                raise Mistake(
                    f"the runs in {folders[0]} and {folder} differ in their {trait} ({values[0]} and {values[1]}); a"
                    " line or plane goes through runs with the same base model and data"
                )


def _traits(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    def of_both(value: object, other: object) -> tuple[str, str]:
        return str(value), str(other)

    return {
        "task": of_both(first.task, second.task),
        "base model": of_both(
            *(f"{title_of(each.model)}, {each.model['sha256'][:12]}" for each in (first, second))
        ),
        "data": of_both(*(str(each.data["sha256"])[:12] for each in (first, second))),
    }
