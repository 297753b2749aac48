"""Reader of what `lowland measure` writes with `--out`: the content of a file says what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lowland.evidence.readers.measured_tables import COLUMNS, FORMS, checked, read_measured
from lowland.evidence.readers.slices import LOSSES, PLACES, MeasuredSlices, read_slices
from lowland.ground.mistakes import Mistake, gathering
from lowland.ground.visible import visible

KINDS = ("sharpness", "spectrum", "adapters")
"""Kinds of tables; each has a verb of `lowland measure`."""


@dataclass(frozen=True)
class Measurements:
    """Measurements of trained runs.

    Attributes:
        sharpness: table of `lowland measure sharpness`; None if there is none.
        spectrum: table of `lowland measure spectrum`.
        adapters: table of `lowland measure adapters`.
        slices: folders of `lowland measure slices`.
        files: names of the folders of the measured runs, by the file or folder that holds their measurements.
        tasks: names of the runs' tasks.
    """

    sharpness: pd.DataFrame | None = None
    spectrum: pd.DataFrame | None = None
    adapters: pd.DataFrame | None = None
    slices: tuple[MeasuredSlices, ...] = ()
    files: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.slices) or any(table is not None for table in self.tables)

    @property
    def tables(self) -> tuple[pd.DataFrame | None, ...]:
        """Tables of all kinds."""
        return self.sharpness, self.spectrum, self.adapters

    @property
    def runs(self) -> list[str]:
        """Names of the folders of all measured runs."""
        return list(dict.fromkeys(run for runs in self.files.values() for run in runs))

    @property
    def methods(self) -> list[str]:
        """Labels of the measured methods, in the order of the tables; slices say no methods."""
        tables = [table for table in self.tables if table is not None]
        return list(dict.fromkeys(str(method) for table in tables for method in table["method"]))


def is_measurement(path: Path) -> bool:
    """Return whether a path names a measurement: a file, also one that is missing, or a folder with slices."""
    if not path.is_dir():
        return path.is_file() or path.suffix.lower() in FORMS
    return any((path / name).is_file() for name in (PLACES, LOSSES))


def read_measurements(paths: Sequence[Path]) -> Measurements:
    """Read measurements; at most one table of each kind, and any number of slices.

    Args:
        paths: files of `lowland measure sharpness`, `spectrum` and `adapters`, and folders of `lowland measure slices`.

    Raises:
        Mistake: naming each file that is no measurement or is damaged, and kinds that are given twice.
    """
    problems: list[str] = []
    tables: dict[str, tuple[Path, pd.DataFrame]] = {}
    slices: list[MeasuredSlices] = []
    files: dict[Path, tuple[str, ...]] = {}
    tasks: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        with gathering(problems):
            if path.is_dir():
                measured = read_slices(path)
                slices.append(measured)
                files[path] = tuple(measured.runs.values())
                tasks.setdefault(measured.task, path)
                continue
            kind, table = _table(path)
            if kind in tables:
                raise Mistake(f"{tables[kind][0]} and {path} both hold {kind}; give one of them")
            tables[kind] = path, table
            files[path] = tuple(dict.fromkeys(table["run"]))
            for task in table["task"].unique():
                tasks.setdefault(str(task), path)
    tasks.pop("", None)  # of adapters that come without a run
    if len(tasks) > 1 and not problems:
        named = " and ".join(f"{task} ({path})" for task, path in tasks.items())
        problems.append(f"the measurements are of {len(tasks)} tasks, {named}; give those of one study")
    if problems:
        raise Mistake(*problems)
    by_kind = {kind: table for kind, (_, table) in tables.items()}
    sharpness, spectrum, adapters = (by_kind.get(kind) for kind in KINDS)
    return Measurements(sharpness, spectrum, adapters, tuple(slices), files, tuple(tasks))


def check_measured_runs(measurements: Measurements, names: Sequence[str]) -> None:
    """Check that only runs of a study were measured, by the names of their folders, which end in their keys.

    Args:
        measurements: the measurements.
        names: names of the folders of the study's runs.

    Raises:
        Mistake: naming each file, and a run of it that is not among those of the study.
    """
    if problems := [
        f"{path} measures {visible(strange[0])}, which is not among the runs of this page; name its folder, too, or"
        " measure the runs of this page"
        for path, runs in measurements.files.items()
        if (strange := [run for run in runs if run not in names])
    ]:
        raise Mistake(*problems)


def _table(path: Path) -> tuple[str, pd.DataFrame]:
    """Read a table, and tell by its columns what was measured."""
    table = read_measured(path)
    for kind in KINDS:
        if set(COLUMNS[kind].needed) <= set(table.columns):
            table = checked(path, kind, table)
            return kind, _with_names_of_runs(table) if kind == "adapters" else table
    if set(COLUMNS["slices"].needed) <= set(table.columns):
        raise Mistake(f"{path} is a part of slices; name its folder, {path.parent}")
    near = {kind: [name for name in COLUMNS[kind].needed if name not in table.columns] for kind in KINDS}
    kind, missing = min(near.items(), key=lambda each: len(each[1]))
    if len(missing) <= 3 and len(missing) < len(COLUMNS[kind].needed) / 2:
        raise Mistake(
            f"{path} looks like a table of lowland measure {kind}, and lacks {', '.join(missing)}; measure again"
        )
    raise Mistake(
        f"{path} is no measurement; give files that lowland measure sharpness, spectrum or adapters wrote with --out,"
        " and folders of lowland measure slices"
    )


def _with_names_of_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the names of the runs' folders in place of paths; adapters without a run keep theirs."""
    table = table if "part" in table else table.assign(part="layer")
    for run, seed in (("run", "seed"), ("run_b", "seed_b")):
        if run in table:
            names = table[run].map(lambda path: Path(path).name)
            table[run] = names.where(table[seed].notna(), table[run])
    return table
