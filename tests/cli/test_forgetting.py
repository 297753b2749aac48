"""`lowland retention` and `rewind` from the command line: what is printed and written, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.conftest import FILL, table_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with two runs of LoRA, and one of full fine-tuning."""
    root = tmp_path_factory.mktemp("study")
    table_of(6).to_csv(root / "texts.csv", index=False)
    fields = {"task": "classification", "data": str(root / "texts.csv"), "model": str(tiny_model)}
    settings = {"epochs": 2, "lr": 0.01, "dtype": "fp32", "out": str(root / "runs")}
    for method, seeds in (("lora", [1, 2]), ("full", [1])):
        run_study(Recipe(**fields, **settings, methods=[method], seeds=seeds))
    return root / "runs"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    table = table_of(3)
    table["label"] = [next(name for name in FILL if text.startswith(name)) for text in table["text"]]
    table.to_csv(tmp_path / "other.csv", index=False)
    return tmp_path / "other.csv"


def run_of(runs: Path, method: str) -> str:
    return str(min(runs.glob(f"classification-{method}-s1-*")))


def test_retention_prints_a_table_and_a_sentence_for_each_comparison(
    lowland: Command, runs: Path, other: Path, tmp_path: Path
) -> None:
    table = tmp_path / "scores.csv"
    options = ("retention", str(runs), "--data", str(other), "--out", str(table))
    code, out, err = lowland(*options, small=False)
    assert code == 0, err
    assert out.startswith(f"Retention on 54 texts of {other}, means over seeds:")
    for line in ("| base     | 1", "| full     | 1", "| lora     | 2", "| majority |         | 0.3333"):
        assert line in out
    against_base, against_lora = out.split("## Against base")[1].split("## Against lora")
    assert [line[:2] for line in against_base.split("|")[0].split("\n") if line] == ["- ", "- "]
    assert "full and lora" in against_lora or "full is" in against_lora
    assert f"lowland verdict {table} --reference base" in out
    assert list(pd.read_csv(table)) == ["example", "seed", "method", "score", "text"]
    code, verdict, err = lowland("verdict", str(table), "--reference", "base", "--partial", small=False)
    assert code == 0, err
    sentences = [line for line in against_base.splitlines() if line.startswith("- ") and " base" in line]
    assert verdict.splitlines()[:2] == [
        line.replace("probe accuracy", "mean score") for line in sentences[:2]
    ]
    code, _, err = lowland(*options, small=False)
    assert code == 2
    assert f"{table} exists; name another file with --out, or add --replace" in err


def test_retention_as_json_holds_what_is_printed(lowland: Command, runs: Path, other: Path) -> None:
    code, out, err = lowland("retention", str(runs), "--data", str(other), "--json", small=False)
    assert code == 0, err
    content = json.loads(out)
    assert (content["texts"], content["score"]) == (54, "probe_accuracy")
    assert list(content["methods"]) == ["base", "full", "lora"]
    assert [row["method"] for row in content["against"]["base"]] == ["full", "lora"]
    assert [row["method"] for row in content["against"]["lora"]] == ["full"]
    for row in content["against"]["base"]:
        means = [content["methods"][name]["accuracy"] for name in (row["method"], "base")]
        assert row["difference"] == pytest.approx(means[0] - means[1])


def test_a_single_method_is_compared_with_the_base_alone(lowland: Command, runs: Path, other: Path) -> None:
    run = run_of(runs, "lora")
    code, out, err = lowland("retention", run, "--data", str(other), small=False)
    assert code == 0, err
    assert out.count("## Against") == 1


def test_rewind_prints_every_scale_and_writes_the_chosen_one(
    lowland: Command, runs: Path, other: Path, tmp_path: Path
) -> None:
    run, out_folder = run_of(runs, "lora"), tmp_path / "rewound"
    options = ("rewind", run, "--scale", "0", "0.5", "1", "--retention", str(other), "--out", str(out_folder))
    code, out, err = lowland(*options, small=False)
    assert code == 0, err
    chosen = out.split("The chosen scale is ")[1].split(":")[0]
    lines = out.splitlines()
    assert "validation accuracy" in lines[0]
    assert "retention: probe accuracy" in lines[0]
    assert [line.split("|")[1].strip().split(" ")[0] for line in lines[2:6]] == ["base", "0", "0.5", "1"]
    assert f"| {chosen} (chosen)" in out
    assert "Test set 'test':" in out
    assert ("between scale" in out or "than scale 1" in out or "are the same" in out) == (chosen != "1")
    assert lines[-1].startswith(f"The run with scale {chosen} is in {out_folder}: lowland predict")
    code, predicted, err = lowland("predict", str(out_folder), "--text", "the firm gains", small=False)
    assert code == 0, err
    assert predicted.startswith("text,predicted,p_bad,p_good\nthe firm gains,")
    code, _, err = lowland("merge", str(out_folder), "--out", str(tmp_path / "merged"), small=False)
    assert code == 0 or chosen == "0", err
    code, listed, _ = lowland("study", "show", str(out_folder), small=False)
    assert (code, f"- rewind: scale {chosen}" in listed) == (0, True)
    code, _, err = lowland(*options, small=False)
    assert (code, f"the folder {out_folder} is not empty" in err) == (2, True)


def test_rewind_as_json_holds_what_is_printed(lowland: Command, runs: Path) -> None:
    code, out, err = lowland("rewind", run_of(runs, "lora"), "--scale", "0.5", "1", "--json", small=False)
    assert code == 0, err
    content = json.loads(out)
    assert [row["scale"] for row in content["scales"]] == [0.5, 1.0]
    best = max(content["scales"], key=lambda row: (row["validation"]["accuracy"], -row["scale"]))
    assert content["chosen"] == best["scale"]
    assert {row["scale"] for row in content["test"]} == {content["chosen"], 1.0}
    assert len(content["against_as_trained"]) == int(content["chosen"] != 1)


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (("retention", "RUNS"), ["--data is missing"]),
        (("retention", "RUNS", "--data", "nowhere.csv"), ["nowhere.csv"]),
        (("retention", "FULL", "--data", "TEXTS"), ["no labels", "--label-column"]),
        (("rewind", "LORA"), ["--scale is missing"]),
        (("rewind", "LORA", "--scale", "0.2,0.4"), ["separate its values with spaces"]),
        (("rewind", "LORA", "--scale", "much"), ["much"]),
        (("rewind", "FULL", "--scale", "0.5"), ["is a run of full, which has no adapter to scale"]),
        (("rewind", "RUNS", "--scale", "0.5"), ["is a folder of 3 runs; name one of them"]),
        (("rewind", "RUNS/nothing", "--scale", "0.5"), ["has no run nothing"]),
    ],
)
def test_mistakes_are_sentences_with_exit_code_2(
    lowland: Command, runs: Path, tmp_path: Path, words: tuple[str, ...], problems: list[str]
) -> None:
    texts = tmp_path / "other-texts.csv"
    texts.write_text("text\nhere\nthere\n")
    places = {"RUNS": str(runs), "FULL": run_of(runs, "full"), "LORA": run_of(runs, "lora")}
    arguments = [word.replace("RUNS/", f"{runs}/") for word in words]
    arguments = [{**places, "TEXTS": str(texts)}.get(word, word) for word in arguments]
    code, out, err = lowland(*arguments, small=False)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    for problem in problems:
        assert problem in err
