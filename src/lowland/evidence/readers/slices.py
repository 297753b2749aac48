"""Reader of the folder that `lowland measure slices` writes: the loss on lines and planes through runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.evidence.readers.measured_tables import COLUMNS, checked, read_measured
from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake, reason_of

PLACES, LOSSES = "slices.json", "losses.parquet"
"""Files of the folder."""
Coordinates = tuple[float, float]


@dataclass(frozen=True)
class MeasuredSlice:
    """Line or plane.

    Attributes:
        name: its name.
        title: what it shows, in words.
        places: coordinates of the runs and the base model, by name.
        losses: losses by `split`, `x`, `y`, `example` and `group`.
    """

    name: str
    title: str
    places: Mapping[str, Coordinates]
    losses: pd.DataFrame

    @property
    def is_line(self) -> bool:
        """Whether only x changes."""
        return self.losses["y"].nunique() == 1

    @property
    def is_between(self) -> bool:
        """Whether it is the line between two places, which may have a barrier."""
        return sorted(x for x, _ in self.places.values()) == [0.0, 1.0]


@dataclass(frozen=True)
class MeasuredSlices:
    """Slices of some runs.

    Attributes:
        folder: their folder.
        task: the runs' task.
        runs: folder's name of each run, by its name among the places.
        slices: lines and planes.
        sizes: number of examples of each split.
    """

    folder: Path
    task: str
    runs: Mapping[str, str]
    slices: tuple[MeasuredSlice, ...]
    sizes: Mapping[str, int]


def read_slices(folder: Path) -> MeasuredSlices:
    """Read the slices in a folder.

    Raises:
        Mistake: if a file is missing or damaged, or does not say of which runs the slices are.
    """
    for name in (PLACES, LOSSES):
        if not (folder / name).is_file():
            raise Mistake(f"{folder} lacks {name}, which lowland measure slices writes; measure again")
    table = read_measured(folder / LOSSES)
    if missing := [name for name in COLUMNS["slices"].needed if name not in table]:
        raise Mistake(f"{folder / LOSSES} lacks {', '.join(missing)}; measure again")
    losses = checked(folder / LOSSES, "slices", table)
    content = _content(folder / PLACES)
    try:
        sizes = {str(split): int(size) for split, size in content["examples"].items()}
        slices = tuple(_slice(each, losses, sizes) for each in content["slices"])
        task, runs = str(content["task"]), {str(name): str(run) for name, run in content["runs"].items()}
    except KeyError as error:
        raise Mistake(f"{folder / PLACES} has no entry {error}; measure again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise Mistake(f"{folder / PLACES} is damaged ({reason_of(error)}); measure again") from None
    return MeasuredSlices(folder, task, runs, slices, sizes)


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(path.read_text("utf-8"))
    except (NotJSON, OSError, UnicodeError) as error:
        raise Mistake(f"{path} is damaged ({reason_of(error)}); measure again") from None
    if not isinstance(content, dict):
        raise Mistake(f"{path} is damaged: an object is expected; measure again")
    return content


def _slice(entry: Mapping[str, Any], losses: pd.DataFrame, splits: Iterable[str]) -> MeasuredSlice:
    name = str(entry["name"])
    places: dict[str, Coordinates] = {}
    for place, (x, y) in entry["places"].items():
        places[str(place)] = float(x), float(y)
        if not all(map(math.isfinite, places[str(place)])):
            raise ValueError(f"{place} has no place")
    own = losses[losses["slice"] == name]
    for split in splits:
        rows = own[own["split"] == split]
        if rows.empty:
            raise ValueError(f"{LOSSES} has no rows of {name} on {split} data")
        points = rows[["x", "y"]].drop_duplicates()
        if len(points) < points["x"].nunique() * points["y"].nunique():
            raise ValueError(f"{name} lacks points on {split} data")
        if points["x"].nunique() < 2:
            raise ValueError(f"{name} is one point")
    return MeasuredSlice(name, str(entry["title"]), places, own)
