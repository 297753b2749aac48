"""Losses on lines and planes through trained runs: a long table with the loss of each example at each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from lowland.ground.progress import Progress
from lowland.measure.passes import losses_at
from lowland.measure.slices.directions import PointAt, around, evenly, line_between, plane_through
from lowland.measure.slices.places import (
    Place,
    base_place,
    check_one_plane,
    check_same_shapes,
    whole_space,
)
from lowland.measure.slices.settings import SlicesSample, SlicesSettings
from lowland.measure.space import FULL, Space
from lowland.measure.subject import Sample, Subject, load_subject

COLUMNS = ("slice", "split", "x", "y", "example", "group", "loss")
"""Columns of the table."""
MARGIN = 0.2
"""Margin of a plane around its places, as a share of their extent."""
Coordinates = tuple[float, float]


@dataclass(frozen=True)
class Slice:
    """A line or a plane, and the points at which the loss is measured.

    Attributes:
        name: its name, which is also that of its picture.
        title: what it shows.
        space: space of the weights that change.
        point: function from coordinates to weights.
        points: the coordinates.
        places: coordinates of the runs and the base model, by name.
        is_line: whether y is 0 at all points.
        is_between: whether it is the line between two places, which may have a barrier.
    """

    name: str
    title: str
    space: Space
    point: PointAt
    points: tuple[Coordinates, ...]
    places: Mapping[str, Coordinates]
    is_line: bool
    is_between: bool = False


@dataclass(frozen=True)
class Slices:
    """Losses on the slices of some runs.

    Attributes:
        table: a row for each slice, split, point and example, with `COLUMNS`.
        slices: the slices, by name.
        sizes: number of examples of each split.
        task: name of the runs' task.
        runs: folder's name of each run, by its name among the places.
    """

    table: pd.DataFrame
    slices: Mapping[str, Slice]
    sizes: Mapping[str, int]
    task: str
    runs: Mapping[str, str]


def measure_slices(
    settings: SlicesSettings, sample: SlicesSample | None = None, *, progress: Progress | None = None
) -> Slices:
    """Measure the loss around one run, on the lines between two, and on the plane through three places.

    With one run, the surface around it in the full space: along one random direction, and along two. With several, the
    line between each two of them; with three places (runs, or runs and the base model) also the plane through them.

    Args:
        settings: the runs and the slices.
        sample: the examples.
        progress: reports the points that are done.

    Raises:
        Mistake: if the runs have different base models or data, or cannot be loaded, or lie on one line.
    """
    progress, sample = progress or Progress(), sample or SlicesSample()
    check_one_plane(settings.runs)
    subjects = [load_subject(folder, progress.remark) for folder in settings.runs]
    slices = _slices(subjects, settings, sample.seed)
    subject = subjects[0]
    tables = []
    total = len(settings.splits) * sum(len(each.points) for each in slices)
    with progress.bar(total, unit="points") as bar:
        for split in settings.splits:
            drawn = subject.sample(
                split,
                limit=sample.limit,
                batch_size=sample.batch_size,
                data=sample.data,
                test_data=sample.test_data,
            )
            tables += [_measured(each, split, drawn, bar.step) for each in slices]
    table = pd.concat(tables, ignore_index=True)
    sizes = {str(split): int(rows["example"].nunique()) for split, rows in table.groupby("split", sort=False)}
    runs = dict(zip(_names(subjects), (each.folder.name for each in subjects), strict=True))
    return Slices(table, {each.name: each for each in slices}, sizes, subject.record.task, runs)


def _names(subjects: Sequence[Subject]) -> list[str]:
    """Return the names of runs among the places; the folders' names, if a method and seed have several settings."""
    names = list(map(str, subjects))
    return names if len(set(names)) == len(names) else [subject.folder.name for subject in subjects]


def _slices(subjects: Sequence[Subject], settings: SlicesSettings, seed: int) -> list[Slice]:
    first = subjects[0]
    if len(subjects) == 1 and not settings.base:
        return _around(first, settings, seed)
    space = whole_space(first)
    runs = [
        Place(name, whole_space(each).center) for name, each in zip(_names(subjects), subjects, strict=True)
    ]
    places = [*([base_place(first)] if settings.base else []), *runs]
    check_same_shapes(places)
    ends = list(combinations(runs if len(runs) > 1 else places, 2))
    slices = [_between(space, *pair, settings.points) for pair in ends]
    if len(places) > 2:
        slices.append(_plane(space, places, settings.grid))
    return slices


def _around(subject: Subject, settings: SlicesSettings, seed: int) -> list[Slice]:
    space = subject.space(FULL)
    point = around(space, seed)
    line = evenly(-settings.reach, settings.reach, settings.points)
    side = evenly(-settings.reach, settings.reach, settings.grid)
    places = {str(subject): (0.0, 0.0)}
    title = f"around {subject}"
    return [
        Slice(
            "line-around", f"one direction {title}", space, point, tuple((x, 0.0) for x in line), places, True
        ),
        Slice(
            "plane-around",
            f"two directions {title}",
            space,
            point,
            tuple((x, y) for y in side for x in side),
            places,
            False,
        ),
    ]


def _between(space: Space, start: Place, end: Place, count: int) -> Slice:
    name = "-".join(("line", *(_as_name(place.name) for place in (start, end))))
    return Slice(
        name,
        f"from {start.name} to {end.name}",
        space,
        line_between(start.weights, end.weights),
        tuple((x, 0.0) for x in evenly(0.0, 1.0, count)),
        {start.name: (0.0, 0.0), end.name: (1.0, 0.0)},
        True,
        True,
    )


def _plane(space: Space, places: Sequence[Place], count: int) -> Slice:
    plane = plane_through(*(place.weights for place in places))
    sides = []
    for values in zip(*plane.places, strict=True):
        margin = MARGIN * (max(values) - min(values))
        sides.append(evenly(min(values) - margin, max(values) + margin, count))
    return Slice(
        "plane",
        f"the plane through {', '.join(place.name for place in places)}",
        space,
        plane.point,
        tuple((x, y) for y in sides[1] for x in sides[0]),
        dict(zip((place.name for place in places), plane.places, strict=True)),
        False,
    )


def _as_name(words: str) -> str:
    return words.replace(", seed ", "-s").replace(" ", "-").replace("/", "-")


def _measured(measured: Slice, split: str, sample: Sample, step: Callable[[int], None]) -> pd.DataFrame:
    parts = []
    for x, y in measured.points:
        losses = losses_at(measured.space, measured.point(x, y), sample.batches).numpy()
        step(1)
        parts.append(
            pd.DataFrame({"x": x, "y": y, "example": sample.examples, "group": sample.groups, "loss": losses})
        )
    return pd.concat(parts, ignore_index=True).assign(slice=measured.name, split=split)[list(COLUMNS)]
