"""Tests of slices through trained runs: the ends' losses are the runs' own, and what has no common plane is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import no_remark
from lowland.measure.passes import losses_at
from lowland.measure.slices.measure import COLUMNS, measure_slices
from lowland.measure.slices.places import Place, base_place, check_same_shapes, whole_space
from lowland.measure.slices.settings import SlicesSample, SlicesSettings
from lowland.measure.subject import load_subject
from lowland.models.find import find_model
from lowland.models.load import LoadedModel
from lowland.tasks.table import load_data, task_fields
from lowland.train.fit import fit
from tests.conftest import job_of

SAMPLE = SlicesSample(limit=12, batch_size=5)


def settings(tmp_path: Path, *runs: Path, **changes: object) -> SlicesSettings:
    return SlicesSettings(runs=runs, out=tmp_path / "slices", **{"points": 3, "grid": 3, **changes})


def own_losses(run: Path, split: str = "test") -> pd.Series:
    """The losses of a run at its weights, by example."""
    subject = load_subject(run, no_remark)
    sample = subject.sample(split, limit=12, batch_size=5)
    space = subject.space("full")
    return pd.Series(
        losses_at(space, space.center, sample.batches).numpy(), index=sample.examples
    ).sort_index()


def at(rows: pd.DataFrame, x: float, y: float = 0.0) -> pd.Series:
    """The losses at a point, by example."""
    here = rows[np.isclose(rows["x"], x) & np.isclose(rows["y"], y)]
    return here.set_index("example")["loss"].sort_index()


@pytest.mark.parametrize("methods", [("lora", "flat-lora"), ("full", "lora"), ("dora", "full")])
def test_ends_of_a_line_have_the_losses_of_the_runs(
    study: dict[str, list[Path]], tmp_path: Path, methods: tuple[str, str]
) -> None:
    runs = [study[method][0] for method in methods]
    measured = measure_slices(settings(tmp_path, *runs, splits="test"), SAMPLE)
    (name,) = measured.slices
    assert name == f"line-{methods[0]}-s1-{methods[1]}-s1"
    assert tuple(measured.table.columns) == COLUMNS
    for x, run in zip((0.0, 1.0), runs, strict=True):
        np.testing.assert_allclose(at(measured.table, x), own_losses(run), rtol=1e-5, atol=1e-7)
    assert not np.allclose(at(measured.table, 0.5), own_losses(runs[0]), rtol=1e-5)


def test_plane_holds_the_base_model_and_both_runs(study: dict[str, list[Path]], tmp_path: Path) -> None:
    runs = [study["lora"][0], study["flat-lora"][0]]
    measured = measure_slices(settings(tmp_path, *runs, base=True, splits="train"), SAMPLE)
    assert list(measured.slices) == ["line-lora-s1-flat-lora-s1", "plane"]
    plane = measured.slices["plane"]
    assert list(plane.places) == ["base", "lora, seed 1", "flat-lora, seed 1"]
    sample = load_subject(runs[0], no_remark).sample("train", limit=12, batch_size=5)
    for name, run in zip(list(plane.places)[1:], runs, strict=True):
        losses = losses_at(plane.space, plane.point(*plane.places[name]), sample.batches)
        here = pd.Series(losses.numpy(), index=sample.examples).sort_index()
        np.testing.assert_allclose(here, own_losses(run, "train"), rtol=1e-4, atol=1e-5)
    xs, ys = (sorted(measured.table.query("slice == 'plane'")[axis].unique()) for axis in "xy")
    assert len(xs) == len(ys) == 3
    for axis, values in ((0, xs), (1, ys)):
        own = [place[axis] for place in plane.places.values()]
        assert values[0] < min(own)
        assert values[-1] > max(own)


def test_base_is_the_model_that_the_run_began_with(
    study: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = load_subject(study["full"][1], no_remark)
    begun: list[LoadedModel] = []
    load = type(subject.task).load_model

    def watched(task: object, *rest: object) -> LoadedModel:
        loaded = load(task, *rest)
        begun.append(loaded)
        raise InterruptedError

    asked = subject.record.asked
    data = load_data(task_fields(**asked["task"]))
    job = job_of("full", data, find_model(asked["model"]), seed=2)
    monkeypatch.setattr(type(subject.task), "load_model", watched)
    with pytest.raises(InterruptedError):
        fit(job)
    monkeypatch.undo()
    weights = dict(begun[0].model.named_parameters())
    base = base_place(subject)
    assert base.weights.keys() == weights.keys() == whole_space(subject).center.keys()
    assert all(torch.equal(base.weights[name], weight) for name, weight in weights.items())


def test_single_run_is_measured_along_random_directions(study: dict[str, list[Path]], tmp_path: Path) -> None:
    run = study["lora"][0]
    measured = measure_slices(settings(tmp_path, run, splits="test", points=5), SAMPLE)
    assert list(measured.slices) == ["line-around", "plane-around"]
    for name, points in (("line-around", 5), ("plane-around", 9)):
        rows = measured.table[measured.table["slice"] == name]
        assert len(rows) == 12 * points
        np.testing.assert_allclose(at(rows, 0.0), own_losses(run), rtol=1e-6, atol=1e-7)
        assert (rows["x"].min(), rows["x"].max()) == (-0.5, 0.5)
    again = measure_slices(settings(tmp_path, run, splits="test", points=5), SAMPLE)
    pd.testing.assert_frame_equal(measured.table, again.table, check_exact=True)


def test_three_runs_give_three_lines_and_a_plane(study: dict[str, list[Path]], tmp_path: Path) -> None:
    runs = [study["lora"][0], study["lora"][1], study["full"][0]]
    measured = measure_slices(settings(tmp_path, *runs, splits="test"), SAMPLE)
    lines = ["line-lora-s1-lora-s2", "line-lora-s1-full-s1", "line-lora-s2-full-s1", "plane"]
    assert list(measured.slices) == lines
    assert measured.sizes == {"test": 12}


def changed_record(run: Path, to: Path, **changes: dict[str, str]) -> Path:
    """A copy of a run whose record says something else."""
    copy = shutil.copytree(run, to)
    record = json.loads((copy / "record.json").read_text())
    for part, values in changes.items():
        record[part].update(values)
    (copy / "record.json").write_text(json.dumps(record))
    return copy


def test_runs_of_different_base_models_or_data_are_refused(
    study: dict[str, list[Path]], tmp_path: Path
) -> None:
    run, other = study["lora"][0], study["lora"][1]
    for part, trait in (("model", "base model"), ("data", "data")):
        changed = changed_record(other, tmp_path / part, **{part: {"sha256": "0" * 64}})
        with pytest.raises(Mistake, match=f"differ in their {trait} .*000000000000"):
            measure_slices(settings(tmp_path, run, changed))


def test_run_whose_adapter_is_gone_is_refused_in_one_sentence(
    study: dict[str, list[Path]], tmp_path: Path
) -> None:
    gone = shutil.copytree(study["lora"][0], tmp_path / "gone")
    (gone / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(Mistake, match="missing, or changed") as caught:
        measure_slices(settings(tmp_path, gone, study["lora"][1]))
    assert len(caught.value.problems) == 1


def test_too_many_places_and_a_folder_in_use_are_refused(
    study: dict[str, list[Path]], tmp_path: Path
) -> None:
    runs = [*study["lora"], study["full"][0]]
    with pytest.raises(Mistake, match=r"3 runs and the base model are given; .* give at most 2 runs"):
        settings(tmp_path, *runs, base=True)
    with pytest.raises(Mistake, match="is not empty"):
        SlicesSettings(runs=runs, out=study["lora"][0])


def test_weights_of_different_shapes_have_no_line() -> None:
    first = Place("one", {"a": torch.zeros(2, 2), "b": torch.zeros(3)})
    second = Place("two", {"a": torch.zeros(2, 2), "b": torch.zeros(4)})
    with pytest.raises(Mistake, match=r"one and two have weights of different shapes \(b\)"):
        check_same_shapes([first, second])


def test_runs_of_one_method_and_seed_are_told_apart_by_their_folders(
    study: dict[str, list[Path]], tmp_path: Path
) -> None:
    copy = shutil.copytree(study["lora"][0], tmp_path / "lora-again")
    measured = measure_slices(settings(tmp_path, study["lora"][0], copy, splits="test"), SAMPLE)
    (line,) = measured.slices.values()
    assert list(line.places) == [study["lora"][0].name, "lora-again"]
    with pytest.raises(Mistake, match="is given more than once"):
        measure_slices(SlicesSettings(runs=[copy, copy], out=tmp_path / "out"))
