"""Sections of measurements: the numbers of the evidence, and sentences that claim what the intervals show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.evidence.readers.measurements import Measurements, read_measurements
from lowland.evidence.sharpness import sharpness_of
from lowland.evidence.slices import barrier_on
from lowland.evidence.spectrum import ratios_of
from lowland.report.blocks import Block, Bullets, Figure, Link, Paragraph, Section
from lowland.report.page import measured_page
from lowland.report.sections.measured import measured_sections
from lowland.report.sharpness import sharpness_sentences
from lowland.report.slices import barrier_sentence
from lowland.report.spectrum import ratio_sentences
from lowland.report.values import page_tables
from tests.report.measured_files import (
    adapters_table,
    leave_measurements,
    leave_slices,
    runs_of,
    sharpness_table,
    spectrum_table,
)

NAMES = ("full", "lora", "flat-lora")
RUNS = runs_of(NAMES, seeds=3)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    """All kinds of measurements of three methods and three seeds."""
    return read_measurements(leave_measurements(tmp_path_factory.mktemp("measured"), RUNS))


def sections(
    measured: Measurements,
    names: Sequence[str] = NAMES,
    reference: str | None = None,
    surface: str | None = None,
) -> dict[str, Section]:
    return {each.title: each for each in measured_sections(measured, names, reference, surface)}


@pytest.fixture(scope="module")
def shown(measured: Measurements) -> dict[str, Section]:
    """Their sections."""
    return sections(measured)


@pytest.fixture(scope="module")
def written(measured: Measurements) -> Mapping[str, list[dict[str, Any]]]:
    """Their tables."""
    return tables(measured)


def flat(blocks: Sequence[Block]) -> list[Block]:
    """All blocks, those of inner sections in their places."""
    return [
        inner for block in blocks for inner in (flat(block.blocks) if isinstance(block, Section) else [block])
    ]


def bullets(section: Section) -> list[str]:
    return [item for block in flat(section.blocks) if isinstance(block, Bullets) for item in block.items]


def tables(measured: Measurements) -> Mapping[str, list[dict[str, Any]]]:
    return {
        name: [dict(zip(columns, row, strict=True)) for row in rows]
        for name, _, columns, rows in page_tables(measured_page(measured))
    }


def of_one_kind(**tables: pd.DataFrame) -> Measurements:
    return Measurements(**tables, files={Path("file"): tuple(RUNS)}, tasks=("toy",))


def test_each_kind_has_its_section(measured: Measurements, shown: dict[str, Section]) -> None:
    assert list(shown) == ["Flatness", "Curvature", "Slices", "Adapters"]
    assert list(sections(of_one_kind(spectrum=measured.spectrum))) == ["Curvature"]
    assert sections(Measurements()) == {}


def test_flatness_has_the_sentences_and_numbers_of_the_evidence(
    measured: Measurements, written: Mapping[str, list[dict[str, Any]]], shown: dict[str, Section]
) -> None:
    assert measured.sharpness is not None
    figures = sharpness_of(measured.sharpness, "lora")
    said = bullets(shown["Flatness"])
    for split in ("train", "test"):
        for space in ("full", "adapter"):
            own = [at for at in figures if (at.split, at.space) == (split, space)]
            sentences = [f"{split.capitalize()} data: {sentence}" for sentence in sharpness_sentences(own)]
            assert sentences
            assert set(sentences) <= set(said)
    for at in figures:
        (row,) = [
            row
            for row in written[f"sharpness_{at.space}_{at.split}"]
            if row["rise of the loss" if "rise of the loss" in row else "measure"]
            in ("expected sharpness", "SAM's step", "worst case", "adaptive m-sharpness")
            and row["strength"] == at.strength
            and row["measure"].startswith({"sam": "SAM"}.get(at.measure, at.measure))
        ]
        for rise in at.rises:
            assert row[rise.method] == pytest.approx(rise.mean, rel=1e-5)
            assert rise.interval is not None
            assert row[f"{rise.method}_low"] == pytest.approx(rise.interval.low, rel=1e-4, abs=1e-9)


def test_only_what_is_shown_is_said_to_be_flatter() -> None:
    table = sharpness_table(RUNS, splits=("test",), flatter={"flat-lora": 0.5})
    said = bullets(sections(of_one_kind(sharpness=table))["Flatness"])
    flatter = [sentence for sentence in said if "flat-lora is flatter than lora" in sentence]
    assert any(sentence.startswith("Expected sharpness: ") for sentence in flatter)
    assert not [sentence for sentence in said if "full is flatter" in sentence or "sharper" in sentence]


def test_plots_of_flatness_show_differences_only_if_methods_are_compared(measured: Measurements) -> None:
    assert measured.sharpness is not None
    alone = measured.sharpness.query("method == 'lora'")
    for table, names in (
        (measured.sharpness, ["flatness-full", "flatness-full-differences"]),
        (alone, ["flatness-full"]),
    ):
        blocks = flat(sections(of_one_kind(sharpness=table))["Flatness"].blocks)
        figures = [block for block in blocks if isinstance(block, Figure)]
        assert [each.name for each in figures if "-full" in each.name] == names
    assert bullets(sections(of_one_kind(sharpness=alone))["Flatness"]) == []


def test_plots_of_flatness_have_the_intervals(measured: Measurements, shown: dict[str, Section]) -> None:
    assert measured.sharpness is not None
    figures = {block.name: block for block in flat(shown["Flatness"].blocks) if isinstance(block, Figure)}
    tips = {
        name: "".join(text for plot in each.plots for text in plot.elements) for name, each in figures.items()
    }
    for at in sharpness_of(measured.sharpness, "lora"):
        if at.split == "test":
            name = f"flatness-{at.space}"
            for interval, figure in (
                *((rise.interval, name) for rise in at.rises),
                *((each.interval, f"{name}-differences") for each in at.differences),
            ):
                assert interval is not None
                assert f"({interval.low:.3g} to {interval.high:.3g})" in tips[figure]


def test_a_loss_that_is_not_finite_is_said(measured: Measurements) -> None:
    assert measured.sharpness is not None
    ended = measured.sharpness.query(
        "not (run == 'toy-lora-s1' and measure == 'expected' and strength == 0.2)"
    )
    said = bullets(sections(of_one_kind(sharpness=ended))["Flatness"])
    sentences = [sentence for sentence in said if "not finite" in sentence]
    assert len(sentences) == 4  # in two spaces, on two splits
    assert sentences[0].startswith("The loss of lora, seed 1 is not finite in the ")
    assert "(expected sharpness, 0.2)" in sentences[0]


def test_the_reference_is_the_pages_if_it_was_measured(measured: Measurements) -> None:
    assert measured.sharpness is not None
    table = of_one_kind(sharpness=measured.sharpness.query("split == 'test' and space == 'full'"))
    against_full = bullets(sections(table, reference="full")["Flatness"])
    assert any("between lora and full" in sentence for sentence in against_full)
    said = bullets(sections(table, reference="dora")["Flatness"])
    assert all("between lora and" not in sentence for sentence in said)


def test_curvature_has_the_sentences_and_numbers_of_the_evidence(
    measured: Measurements, written: Mapping[str, list[dict[str, Any]]], shown: dict[str, Section]
) -> None:
    assert measured.spectrum is not None
    ratios = ratios_of(measured.spectrum, "lora")
    said = bullets(shown["Curvature"])
    for matrix, name in (("hessian", "Hessian"), ("gauss-newton", "Gauss-Newton matrix")):
        for sentence in ratio_sentences(ratios, "full", matrix):
            assert f"{name}: t{sentence[1:]}" in said
    runs = measured.spectrum
    for row in written["curvature_full"]:
        own = runs[
            (runs["method"] == row["method"]) & (runs["seed"] == row["seed"]) & (runs["space"] == "full")
        ]
        for letter, matrix in (("h", "hessian"), ("g", "gauss-newton")):
            figures = own[own["matrix"] == matrix].set_index(["quantity", "index"])
            for name, key in {"eigenvalue_2": ("eigenvalue", 2), "trace": ("trace", 1)}.items():
                assert row[f"{letter}_{name}"] == pytest.approx(figures.loc[key, "value"], rel=1e-5)
                assert row[f"{letter}_{name}_error"] == pytest.approx(figures.loc[key, "error"], rel=1e-5)
    assert "g_smallest_eigenvalue" not in written["curvature_full"][0]
    (row,) = [
        row
        for row in written["curvature_ratios"]
        if (row["matrix"], row["space"], row["quantity"]) == ("Hessian", "adapter", "trace")
    ]
    (ratio,) = [
        each for each in ratios if (each.matrix, each.space, each.quantity) == ("hessian", "adapter", "trace")
    ]
    assert row["flat-lora"] == pytest.approx(ratio.ratio, rel=1e-5)
    assert row["flat-lora: seeds"] == 3
    assert row["full"] is None  # it has no A and B
    assert sum(row["lora"] for row in written["density"]) == pytest.approx(1, abs=1e-4)


def test_curvature_without_a_density_has_no_plot_of_it(measured: Measurements) -> None:
    assert measured.spectrum is not None
    table = measured.spectrum.query("quantity != 'density' and matrix != 'hessian'")
    blocks = flat(sections(of_one_kind(spectrum=table))["Curvature"].blocks)
    assert [block.name for block in blocks if isinstance(block, Figure)] == [
        "curvature-full",
        "curvature-adapter",
    ]
    assert not any(
        sentence.startswith("Hessian")
        for sentence in bullets(sections(of_one_kind(spectrum=table))["Curvature"])
    )


def test_slices_have_barriers_lines_and_grids(
    measured: Measurements, written: Mapping[str, list[dict[str, Any]]], shown: dict[str, Section]
) -> None:
    (slices,) = measured.slices
    line, plane = slices.slices
    barrier = barrier_on(line.losses[line.losses["split"] == "test"])
    assert barrier.height == pytest.approx(0.5)
    said = bullets(shown["Slices"])
    assert barrier_sentence(line.title, "test", barrier) in said
    (row,) = [row for row in written["barriers"] if row["split"] == "test"]
    assert (row["height"], row["x"]) == (pytest.approx(0.5), 0.5)
    assert barrier.interval is not None
    assert row["height_low"] == pytest.approx(barrier.interval.low, rel=1e-5)
    grid = {(row["split"], row["y"]): row for row in written["plane_1"]}
    means = plane.losses.groupby(["split", "x", "y"])["loss"].mean()
    assert grid["train", 1.5]["x=2"] == pytest.approx(means["train", 2.0, 1.5], rel=1e-5)
    assert len(grid) == 10


def test_a_line_without_a_barrier_is_said_to_have_none(tmp_path: Path) -> None:
    folder = leave_slices(tmp_path / "slices", list(RUNS)[:2], bump=-0.1)
    said = bullets(sections(read_measurements([folder]))["Slices"])
    assert len(said) == 2
    assert all("no barrier" in sentence for sentence in said)


def test_the_page_links_to_its_surfaces_if_there_is_a_file(measured: Measurements) -> None:
    def links(surface: str | None) -> list[str]:
        blocks = flat(sections(Measurements(slices=measured.slices), surface=surface)["Slices"].blocks)
        return [block.file for block in blocks if isinstance(block, Link)]

    assert links("report-surface.html") == ["report-surface.html"]
    assert links(None) == []


def test_adapters_are_summed_up_by_method_and_layer(
    measured: Measurements, written: Mapping[str, list[dict[str, Any]]]
) -> None:
    assert measured.adapters is not None
    layers = measured.adapters.query("part == 'layer'")
    assert [row["method"] for row in written["adapters"]] == ["full", "lora", "flat-lora"]
    by_run = layers.groupby(["method", "run"])["relative_update"].mean()
    for row in written["adapters"]:
        own = by_run[row["method"]]
        assert row["relative_update"] == pytest.approx(own.mean(), rel=1e-5)
        assert row["relative_update_sd"] == pytest.approx(own.std(), rel=1e-5)
        assert (row["rank_utilisation"] is None) is (row["method"] == "full")
    own = layers[(layers["method"] == "lora") & layers["layer"].str.contains(r"\.3\.")]
    runs = own.groupby("run")["effective_rank"].mean()
    (row,) = [row for row in written["adapters_by_layer"] if (row["method"], row["layer"]) == ("lora", "3")]
    expected = (runs.mean(), runs.min(), runs.max())
    assert tuple(row[f"effective_rank{end}"] for end in ("", "_low", "_high")) == pytest.approx(
        expected, rel=1e-5
    )
    assert row["intruders"] == 0
    assert {row["layer"] for row in written["adapters_by_layer"]} == {*map(str, range(6)), "pooler.dense"}
    assert [row["intruders"] for row in written["intruders"]] == [1] * 9
    (same,) = [
        row for row in written["overlaps"] if (row["methods"], row["seeds"]) == ("lora and flat-lora", "same")
    ]
    assert (same["left"], same["pairs"]) == (pytest.approx(0.9), 3)
    (state,) = [row for row in written["drift"] if (row["method"], row["layer"]) == ("lora", "6")]
    assert (state["cka"], state["cosine"]) == (pytest.approx(0.4), pytest.approx(0.7))


def test_layers_are_counted_from_first_to_last() -> None:
    table = adapters_table(runs_of(seeds=1), layers=12)
    blocks = flat(sections(of_one_kind(adapters=table))["Adapters"].blocks)
    (figure,) = [block for block in blocks if isinstance(block, Figure) and block.name == "adapters-by-layer"]
    own = [row[1] for row in figure.data.rows if row[0] == "lora"]
    assert own == [*map(str, range(12)), "pooler.dense"]
    assert len(figure.plots) == 3


def test_an_older_table_of_layers_alone_is_shown(measured: Measurements) -> None:
    assert measured.adapters is not None
    table = measured.adapters.query("part == 'layer'").drop(columns=["k", "epsilon"])
    section = sections(of_one_kind(adapters=table))["Adapters"]
    titles = [block.title for block in section.blocks if isinstance(block, Section)]
    assert titles == ["Intruder dimensions"]
    said = [block.text for block in flat(section.blocks) if isinstance(block, Paragraph)]
    assert any("one of the leading left singular vectors" in text for text in said)


def test_a_page_of_measurements_says_what_was_measured(measured: Measurements) -> None:
    page = measured_page(measured)
    assert page.headline == "Measured at the weights of 9 runs: flatness, curvature, slices and adapters."
    assert (page.title, page.subtitle) == ("toy: measurements", "9 runs of full, lora and flat-lora")


def test_spectra_are_those_of_the_runs_and_not_of_their_order(
    written: Mapping[str, list[dict[str, Any]]],
) -> None:
    shuffled = spectrum_table(RUNS).sample(frac=1, random_state=0)
    rows = tables(of_one_kind(spectrum=shuffled))["curvature_full"]
    assert sorted(rows, key=str) == sorted(written["curvature_full"], key=str)
