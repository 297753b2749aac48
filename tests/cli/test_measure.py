"""`lowland measure sharpness` and `slices` from the command line: what is printed and written, and exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from lowland.cli.verbs import GROUPS
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.conftest import table_of

Command = Callable[..., tuple[int, str, str]]
SMALL = ("--limit", "10", "--sigmas", "0.05", "0.2", "--draws", "2", "--steps", "1", "--m", "5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with two runs of LoRA, and one of full fine-tuning."""
    root = tmp_path_factory.mktemp("study")
    table_of(6).to_csv(root / "texts.csv", index=False)
    fields = {"task": "classification", "data": str(root / "texts.csv"), "model": str(tiny_model)}
    settings = {"epochs": 1, "lr": 0.01, "dtype": "fp32", "out": str(root / "runs")}
    for method, seeds in (("lora", [1, 2]), ("full", [1])):
        run_study(Recipe(**fields, **settings, methods=[method], seeds=seeds))
    return root / "runs"


def run_of(runs: Path, method: str, seed: int = 1) -> str:
    return str(min(runs.glob(f"classification-{method}-s{seed}-*")))


def test_group_is_described(lowland: Command) -> None:
    code, out, _ = lowland("measure", "--help", small=False)
    assert code == 0
    assert GROUPS["measure"] in out
    assert "measure sharpness" in out
    assert "measure slices" in out


def test_sharpness_prints_a_section_for_each_split_and_space(
    lowland: Command, runs: Path, tmp_path: Path
) -> None:
    table = tmp_path / "rises.csv"
    words = ("measure", "sharpness", str(runs), *SMALL, "--out", str(table))
    code, out, err = lowland(*words, small=False)
    assert code == 0, err
    assert out.startswith(
        "Rise of the loss (nats) on 10 examples of train, 10 examples of test; 2 draws of noise"
    )
    titles = [line for line in out.splitlines() if line.startswith("## ")]
    spaces = ("full space (merged weights)", "adapter's space (A and B)")
    assert titles == [f"## {split}, {space}" for split in ("train", "test") for space in spaces]
    first = out.split("## ")[1]
    assert first.count("| expected sharpness") == 4
    assert "| full - lora" in first
    assert "(1 seed, which says nothing of other seeds)" in first
    assert "- Worst case: " in first
    assert "full" not in out.split("## train, adapter's space (A and B)")[1].split("## ")[0]
    assert out.rstrip().endswith(f"The rises of all examples are in {table}.")
    rises = pd.read_csv(table)
    assert set(rises["run"]) == {path.name for path in runs.iterdir() if (path / "record.json").is_file()}
    mean = rises.query("split == 'train' and space == 'full' and measure == 'sam' and method == 'lora'")
    assert f"{mean['rise'].mean():.3g} (" in first
    page = tmp_path / "page.md"
    code, _, err = lowland("report", str(runs), str(table), "--out", str(page), small=False)
    assert code == 0, err
    sentences = [line for line in first.splitlines() if line.startswith("- ")]
    assert sentences
    assert all(f"- Train data: {line.removeprefix('- ')}" in page.read_text("utf-8") for line in sentences)
    code, _, err = lowland(*words, small=False)
    assert (code, f"{table} exists; name another file" in err) == (2, True)


def test_sharpness_as_json_holds_every_figure(lowland: Command, runs: Path) -> None:
    words = ("measure", "sharpness", str(runs), *SMALL, "--splits", "test", "--spaces", "full", "--json")
    code, out, err = lowland(*words, small=False)
    assert code == 0, err
    content = json.loads(out)
    assert (content["reference"], content["examples"], content["draws"]) == ("lora", {"test": 10}, 2)
    assert content["not_finite"] == []
    rows = content["sharpness"]
    assert [(row["measure"], row["strength"]) for row in rows] == [
        ("expected", 0.05),
        ("expected", 0.2),
        ("sam", 0.05),
        ("worst", 0.05),
        ("adaptive", 0.001),
    ]
    for row in rows:
        assert row["methods"].keys() == {"full", "lora"}
        assert row["methods"]["lora"]["seeds"] == [1, 2]
        (against,) = row["against"]
        assert against["method"] == "full"
        assert against["seeds"] == [1]
        assert against["low"] <= against["difference"] <= against["high"]


def test_slices_write_losses_and_pictures(lowland: Command, runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "slices"
    words = ("measure", "slices", run_of(runs, "lora"), run_of(runs, "full"), "--base")
    options = ("--limit", "8", "--points", "3", "--grid", "3", "--out", str(folder))
    code, out, err = lowland(*words, *options, small=False)
    assert code == 0, err
    assert out.count("- On the line from lora, seed 1 to full, seed 1, ") == 2
    pictures = ["line-lora-s1-full-s1.svg", "plane-train.svg", "plane-test.svg"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*pictures, "losses.parquet", "slices.json"]
    )
    for name in pictures:
        drawing = ElementTree.parse(folder / name).getroot()
        assert drawing.tag.endswith("svg")
        assert (folder / name).stat().st_size < 200_000
        text = (folder / name).read_text()
        assert all(place in text for place in ("lora, seed 1", "full, seed 1"))
    assert "base" in (folder / "plane-test.svg").read_text()
    content = json.loads((folder / "slices.json").read_text())
    assert [each["name"] for each in content["slices"]] == ["line-lora-s1-full-s1", "plane"]
    assert set(content["slices"][1]["places"]) == {"base", "lora, seed 1", "full, seed 1"}
    losses = pd.read_parquet(folder / "losses.parquet")
    assert losses.groupby(["slice", "split"]).size().to_dict() == {
        ("line-lora-s1-full-s1", "train"): 24,
        ("line-lora-s1-full-s1", "test"): 24,
        ("plane", "train"): 72,
        ("plane", "test"): 72,
    }
    page = tmp_path / "page.html"
    code, text, err = lowland("report", str(runs), str(folder), "--out", str(page), small=False)
    assert code == 0, err
    assert f"{tmp_path / 'page-surface.html'}: the planes" in text
    (sentence, _) = [line for line in out.splitlines() if line.startswith("- On the line")]
    assert sentence.removeprefix("- ")[:60] in page.read_text("utf-8")
    code, _, err = lowland(*words, *options, small=False)
    assert (code, f"the folder {folder} is not empty" in err) == (2, True)


def test_slices_of_one_run_as_json(lowland: Command, runs: Path, tmp_path: Path) -> None:
    words = ("measure", "slices", run_of(runs, "lora"), "--splits", "test", "--limit", "8", "--json")
    options = ("--points", "3", "--grid", "3", "--out", str(tmp_path / "around"))
    code, out, err = lowland(*words, *options, small=False)
    assert code == 0, err
    content = json.loads(out)
    assert [each["name"] for each in content["slices"]] == ["line-around", "plane-around"]
    assert content["barriers"] == []
    assert (tmp_path / "around" / "line-around.svg").is_file()
    assert (tmp_path / "around" / "plane-around-test.svg").is_file()


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (("sharpness",), ["runs"]),
        (("sharpness", "nowhere"), ["nowhere"]),
        (("sharpness", "LORA", "--sigmas", "0.1,0.2"), ["separate its values with spaces"]),
        (("sharpness", "LORA", "--sigmas", "0"), ["sigmas"]),
        (("sharpness", "LORA", "--spaces", "whole"), ["whole", "full", "adapter"]),
        (("sharpness", "FULL", "--spaces", "adapter"), ["no factors A and B"]),
        (("sharpness", "LORA", "--splits", "tests"), ["no split 'tests'; it has"]),
        (("sharpness", "LORA", "--out", "table.txt"), ["ends in none of .csv"]),
        (("sharpness", "GONE"), ["missing, or changed since the run saved it"]),
        (("slices", "LORA"), ["--out is missing"]),
        (("slices", "GONE", "LORA", "--out", "OUT"), ["missing, or changed since the run saved it"]),
        (("slices", "LORA", "LORA", "--out", "OUT"), ["more than once; name each run once"]),
        (("slices", "RUNS", "--base", "--out", "OUT"), ["3 runs and the base model are given"]),
        (("slices", "OTHER", "LORA", "--out", "OUT"), ["differ in their base model"]),
    ],
)
def test_mistakes_are_sentences_with_exit_code_2(
    lowland: Command, runs: Path, tmp_path: Path, words: tuple[str, ...], problems: list[str]
) -> None:
    gone = shutil.copytree(run_of(runs, "lora"), tmp_path / "gone")
    (gone / "adapter" / "adapter_model.safetensors").unlink()
    other = shutil.copytree(run_of(runs, "lora"), tmp_path / "other")
    record = json.loads((other / "record.json").read_text())
    record["model"]["sha256"] = "0" * 64
    (other / "record.json").write_text(json.dumps(record))
    places = {
        "RUNS": str(runs),
        "LORA": run_of(runs, "lora"),
        "FULL": run_of(runs, "full"),
        "GONE": str(gone),
        "OTHER": str(other),
        "OUT": str(tmp_path / "out"),
    }
    code, out, err = lowland("measure", *(places.get(word, word) for word in words), small=False)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    for problem in problems:
        assert problem in err
    assert not (tmp_path / "out").exists()
