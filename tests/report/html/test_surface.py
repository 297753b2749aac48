"""The file of surfaces: whole, harmless, and with the losses that were measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lowland.evidence.readers.measurements import read_measurements
from lowland.report.html import GENERATOR, render_surface
from lowland.report.surface import Surface, surfaces_of
from tests.report.html.reading import Element, check_policy, read_html, script
from tests.report.html.test_render import NASTY
from tests.report.measured_files import leave_slices


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> list[Surface]:
    folder = leave_slices(tmp_path_factory.mktemp("measured") / "slices", ["a", "b"])
    return surfaces_of(read_measurements([folder]).slices)


@pytest.fixture(scope="module")
def text(surfaces: list[Surface]) -> str:
    return render_surface("toy: lora and full", surfaces, "my page.html")


@pytest.fixture(scope="module")
def root(text: str) -> Element:
    return read_html(text)


def test_it_is_known_as_lowlands_and_loads_nothing(text: str, root: Element) -> None:
    assert GENERATOR in text[:2000]
    addresses = [
        value
        for element in root.all()
        for name, value in element.attributes.items()
        if name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href")
    ]
    assert addresses == ["data:,", "my%20page.html"]
    assert "url(" not in text
    assert not any(name.startswith("on") for element in root.all() for name in element.attributes)


def test_the_policy_lets_only_its_own_script_run(root: Element) -> None:
    check_policy(root)


def test_the_script_gets_the_losses_that_were_measured(root: Element, surfaces: list[Surface]) -> None:
    values = json.loads(script(root, "application/json"))
    assert [each["title"].partition(",")[0] for each in values] == ["train data", "test data"]
    for each, surface in zip(values, surfaces, strict=True):
        assert (each["x"], each["y"]) == (surface.xs, surface.ys)
        for y, row in zip(each["y"], each["loss"], strict=True):
            for x, loss in zip(each["x"], row, strict=True):
                assert loss == pytest.approx(0.2 + 0.05 * ((x - 3) ** 2 + (y - 1) ** 2), rel=1e-4)
        assert {place["name"]: (place["x"], place["y"]) for place in each["places"]} == dict(surface.places)
        assert each["low"] == min(loss for row in each["loss"] for loss in row)


def test_without_scripts_it_shows_the_flat_pictures(root: Element) -> None:
    (turning,) = [each for each in root.all("section") if "hidden" in each.attributes]
    assert turning.all("canvas")
    pictures = root.all("svg")
    assert len(pictures) == 2
    assert not any(each.within("section") and turning in _parents(each) for each in pictures)


def _parents(element: Element) -> list[Element]:
    return [] if element.parent is None else [element.parent, *_parents(element.parent)]


def test_one_surface_needs_no_choice(surfaces: list[Surface]) -> None:
    assert not read_html(render_surface("title", surfaces[:1], "page.html")).all("select")
    assert len(read_html(render_surface("title", surfaces, "page.html")).all("option")) == 2


def test_texts_of_others_are_escaped() -> None:
    losses = {(x, y): x + y for x in (0.0, 1.0) for y in (0.0, 1.0)}
    surface = Surface(f"the plane {NASTY}", "test", losses, {NASTY: (0.0, 1.0)})
    text = render_surface(NASTY, [surface, surface], 'a"b.html')
    root = read_html(text)
    assert "<script>alert" not in text
    assert not root.all("img")
    assert len(root.all("script")) == 2
    assert json.loads(script(root, "application/json"))[0]["places"][0]["name"] == NASTY


def test_what_is_not_finite_is_null_and_cut() -> None:
    losses = {(x, y): math.inf if x == y == 1 else x for x in (0.0, 1.0) for y in (0.0, 1.0)}
    surface = Surface("the plane", "test", losses, {"base": (1.0, 1.0)})
    values = surface.values()
    assert values["loss"] == [[0.0, 1.0], [0.0, None]]
    assert values["cut"] is True
    assert surface.heights == {"base": None}
    assert "null" in render_surface("title", [surface], "page.html")


def test_a_plane_without_a_finite_loss_is_left_out(tmp_path: Path) -> None:
    import pandas as pd

    folder = leave_slices(tmp_path / "slices", ["a", "b"])
    losses = pd.read_parquet(folder / "losses.parquet")
    losses.loc[(losses["slice"] == "plane") & (losses["split"] == "train"), "loss"] = math.inf
    losses.to_parquet(folder / "losses.parquet")
    assert [each.split for each in surfaces_of(read_measurements([folder]).slices)] == ["test"]
