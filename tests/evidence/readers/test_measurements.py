"""Measurements are known by what is in them, come back as they were written, and are refused if they are damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland.evidence.readers.measured_tables import COLUMNS
from lowland.evidence.readers.measurements import (
    Measurements,
    check_measured_runs,
    is_measurement,
    read_measurements,
)
from lowland.ground.mistakes import Mistake
from lowland.ground.table_files import write_table
from lowland.measure.sharpness.measure import COLUMNS as SHARPNESS
from lowland.measure.slices.measure import COLUMNS as SLICES
from lowland.measure.spectrum.measure import COLUMNS as SPECTRUM
from tests.report.measured_files import (
    adapters_table,
    leave_measurements,
    leave_slices,
    runs_of,
    sharpness_table,
    spectrum_table,
)

RUNS = runs_of(seeds=2)
TABLES = {
    "sharpness": sharpness_table(RUNS, examples=4),
    "spectrum": spectrum_table(RUNS, points=5),
    "adapters": adapters_table(RUNS, layers=2),
}


def written(folder: Path, kind: str, table: pd.DataFrame, ending: str = ".csv") -> Path:
    """A file whose name does not say what it holds."""
    path = folder / f"file-{kind[-2:]}{ending}"
    write_table(path, table)
    return path


def mistake(*paths: Path) -> str:
    with pytest.raises(Mistake) as caught:
        read_measurements(paths)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("kind", list(TABLES))
def test_a_table_is_known_by_its_columns_and_comes_back(kind: str, ending: str, tmp_path: Path) -> None:
    measured = read_measurements([written(tmp_path, kind, TABLES[kind], ending)])
    tables = dict(zip(TABLES, measured.tables, strict=True))
    assert [name for name, table in tables.items() if table is not None] == [kind]
    read = tables[kind]
    assert read is not None
    for name in COLUMNS[kind].numbers + COLUMNS[kind].gaps:
        expected = TABLES[kind][name].astype(float)
        pd.testing.assert_series_equal(read[name].astype(float), expected, check_exact=True)
    assert set(measured.runs) == set(RUNS)  # without the folder that the adapters' table names
    assert measured.methods == ["lora", "flat-lora"]
    assert measured.tasks == ("toy",)


def test_columns_are_those_that_measures_write() -> None:
    for kind, columns in {"sharpness": SHARPNESS, "spectrum": SPECTRUM, "slices": SLICES}.items():
        assert set(COLUMNS[kind].needed) == set(columns)


def test_labels_that_look_like_gaps_or_numbers_stay(tmp_path: Path) -> None:
    table = TABLES["sharpness"].assign(
        method=TABLES["sharpness"]["method"].map({"lora": "NA", "flat-lora": "01"})
    )
    read = read_measurements([written(tmp_path, "sharpness", table)]).sharpness
    assert read is not None
    assert set(read["method"]) == {"NA", "01"}


def test_an_older_table_of_adapters_has_layers_alone(tmp_path: Path) -> None:
    table = TABLES["adapters"].query("part == 'layer'").dropna(axis=1, how="all").drop(columns=["part", "k"])
    read = read_measurements([written(tmp_path, "adapters", table)]).adapters
    assert read is not None
    assert set(read["part"]) == {"layer"}


def test_adapters_without_a_run_keep_their_paths(tmp_path: Path) -> None:
    table = TABLES["adapters"].query("part == 'layer'").assign(seed=None, task="")
    measured = read_measurements([written(tmp_path, "adapters", table)])
    assert set(measured.runs) == {f"/runs/{run}" for run in RUNS}
    assert measured.tasks == ()


def test_all_kinds_are_read_together(tmp_path: Path) -> None:
    measured = read_measurements(leave_measurements(tmp_path / "measured", RUNS))
    assert all(table is not None for table in measured.tables)
    (slices,) = measured.slices
    assert [(each.name, each.is_line, each.is_between) for each in slices.slices] == [
        ("line", True, True),
        ("plane", False, False),
    ]
    assert bool(measured)
    assert not Measurements()


def test_a_folder_of_runs_is_no_measurement(tmp_path: Path) -> None:
    slices = leave_slices(tmp_path / "slices", list(RUNS)[:2])
    assert is_measurement(slices)
    assert is_measurement(tmp_path / "gone.csv")
    assert not is_measurement(tmp_path)
    assert not is_measurement(tmp_path / "gone")


def test_runs_of_another_study_are_refused(tmp_path: Path) -> None:
    measured = read_measurements(leave_measurements(tmp_path / "measured", RUNS))
    check_measured_runs(measured, list(RUNS))
    check_measured_runs(measured, [*RUNS, "another"])
    with pytest.raises(Mistake) as caught:
        check_measured_runs(measured, list(RUNS)[1:])
    assert len(caught.value.problems) == 4
    assert all("toy-lora-s1, which is not among the runs" in problem for problem in caught.value.problems)


def hole(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(index=table.index[3])


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("sharpness", hole, "runs have different examples"),
        ("sharpness", lambda table: table[table["draw"] + (table["run"] == "toy-lora-s1") < 2], "draws are"),
        ("sharpness", lambda table: table.drop(columns="rise"), "measure sharpness, and lacks rise"),
        ("sharpness", lambda table: table.iloc[:0], "holds no rows"),
        ("sharpness", lambda table: table.assign(rise="much"), "rise is 'much', and a finite number"),
        ("sharpness", lambda table: table.assign(rise=float("nan")), "a finite number is expected"),
        ("sharpness", lambda table: table.assign(seed=1.5), "seed is '1.5', and a whole number"),
        (
            "sharpness",
            lambda table: table.assign(space="outer"),
            "space is 'outer', and one of full, adapter",
        ),
        ("sharpness", lambda table: table.assign(seed=1), "lora, seed 1 has two runs"),
        ("sharpness", lambda table: table.assign(run="one"), "a run has several methods or seeds"),
        ("sharpness", lambda table: table.assign(method=""), "a row has no method"),
        ("sharpness", lambda table: table.assign(strength=0), "strength is 0, and must be above 0"),
        ("spectrum", lambda table: hole(table[table["quantity"] != "density"]), "lacks"),
        ("spectrum", lambda table: table.assign(examples=range(len(table))), "different samples"),
        ("spectrum", lambda table: table[table["matrix"] == ""], "it holds no eigenvalues"),
        ("spectrum", lambda table: pd.concat([table, table]), "figures are given twice"),
        ("spectrum", lambda table: table[table["quantity"] != "loss"], "lacks its loss"),
        ("adapters", lambda table: table[table["part"] == "drift"], "it holds no layers"),
        ("adapters", lambda table: pd.concat([table, table]), "a layer of a run is given twice"),
        ("adapters", lambda table: table.assign(directions=None), "a row of overlap has no"),
        ("adapters", lambda table: table.assign(effective_rank=None), "a layer has no norm"),
    ],
)
def test_a_damaged_table_is_refused(
    kind: str, change: Callable[[pd.DataFrame], pd.DataFrame], sentence: str, tmp_path: Path
) -> None:
    path = written(tmp_path, kind, change(TABLES[kind]))
    said = mistake(path)
    assert str(path) in said
    assert sentence in said


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    said = mistake(
        *(tmp_path / name for name in ("notes.txt", "other.csv", "empty.csv", "cut.parquet", "gone.csv"))
    )
    lines = said.splitlines()
    assert len(lines) == 5
    for line, words in zip(
        lines,
        (
            "is no run and no measurement",
            "is no measurement; give",
            "cannot be read",
            "cannot be read",
            "does not exist",
        ),
        strict=True,
    ):
        assert words in line


def test_one_table_of_a_kind_and_one_task(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("a.csv", "b.csv"))
    for path in (first, second):
        write_table(path, TABLES["sharpness"])
    assert mistake(first, second) == f"{first} and {second} both hold sharpness; give one of them"
    assert read_measurements([first, first]).sharpness is not None
    write_table(second, TABLES["spectrum"].assign(task="other"))
    assert "of 2 tasks, toy (" in mistake(first, second)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("slices.json", None, "lacks slices.json"),
        ("losses.parquet", None, "lacks losses.parquet"),
        ("slices.json", lambda content: content[:40], "is damaged"),
        ("slices.json", lambda content: "[]", "an object is expected"),
        ("slices.json", lambda content: content.replace('"runs"', '"names"'), "has no entry 'runs'"),
        ("slices.json", lambda content: content.replace('"line"', '"curve"'), "has no rows of curve"),
        (
            "slices.json",
            lambda content: content.replace('"test"', '"tests"'),
            "has no rows of line on tests data",
        ),
        ("slices.json", lambda content: content.replace("[0.0, 0.0]", "[0.0]"), "is damaged"),
    ],
)
def test_damaged_slices_are_refused(
    name: str, change: Callable[[str], str] | None, sentence: str, tmp_path: Path
) -> None:
    folder = leave_slices(tmp_path / "slices", list(RUNS)[:2])
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(change((folder / name).read_text()))
    assert sentence in mistake(folder)


def test_slices_with_holes_are_refused(tmp_path: Path) -> None:
    folder = leave_slices(tmp_path / "slices", list(RUNS)[:2])
    losses = pd.read_parquet(folder / "losses.parquet")
    again = shutil.copytree(folder, tmp_path / "again")
    losses.drop(index=losses.index[0]).to_parquet(folder / "losses.parquet")
    assert "points are missing" in mistake(folder)
    first = losses[["slice", "x", "y"]].eq(["plane", -1.0, -1.0]).all(axis=1)
    losses[~first].to_parquet(again / "losses.parquet")
    assert "plane lacks points" in mistake(again)
    assert json.loads((again / "slices.json").read_text())["task"] == "toy"
    assert "is a part of slices; name its folder" in mistake(folder / "losses.parquet")
