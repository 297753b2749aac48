"""`lowland verdict` from the command line: files of each kind, what is printed, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Two tables of 300 examples; the second is better by about 10 points."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 300)
    paths = []
    for name, shift in (("old", 0.5), ("new", 0.9)):
        table = pd.DataFrame(
            {
                "example": [f"q{n}" for n in range(300)],
                "score": (hard + rng.normal(0, 0.5, 300) < shift).astype(int),
                "text": [f"Question | number {n}?\nPlease." for n in range(300)],
            }
        )
        paths.append(tmp_path / f"{name}.csv")
        table.to_csv(paths[-1], index=False)
    return paths[0], paths[1]


def test_two_tables_get_a_verdict(lowland: Command, tables: tuple[Path, Path]) -> None:
    code, out, err = lowland("verdict", *map(str, tables), "--flips", "2", small=False)
    assert (code, err) == (0, "")
    assert out.startswith("- new is better than old in mean score by ")
    assert "300 examples)." in out
    assert "## new against old" in out
    assert "What another run, with another seed, would score, results without seeds cannot say." in out
    assert "| q" in out
    assert r"Question \| number" in out  # markup of texts is escaped


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), 0),
        (("--fail-unless", "better"), 0),
        (("--fail-under", "0"), 0),
        (("--fail-under", "-0.5"), 0),
        (("--fail-under", "50"), 1),
        (("--margin", "3", "--fail-unless", "non-inferior"), 0),
        (("--reference", "new", "--fail-unless", "better"), 1),
        (("--reference", "new", "--fail-under", "-0.5"), 1),
        (("--reference", "new", "--margin", "3", "--fail-unless", "non-inferior"), 1),
    ],
)
def test_the_exit_code_says_whether_the_result_is_good_enough(
    lowland: Command, tables: tuple[Path, Path], options: tuple[str, ...], expected: int
) -> None:
    code, _, err = lowland("verdict", *map(str, tables), *options, small=False)
    assert (code, err) == (expected, "")


def test_json_has_everything(lowland: Command, tables: tuple[Path, Path]) -> None:
    code, out, err = lowland(
        "verdict", *map(str, tables), "--json", "--margin", "3", "--detect", "1", "--calibrate", small=False
    )
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert (row["method"], row["reference"], row["outcome"]) == ("new", "old", "better")
    assert row["low"] < row["difference"] < row["high"]
    assert row["margin_outcome"] == "non-inferior"
    assert row["needed"]["examples"] > 300
    assert 0.02 < row["false_verdicts"] < 0.08
    assert len(row["examples_better"]) == 5
    assert row["better"] - row["worse"] == pytest.approx(300 * row["difference"])


def test_forms_of_tables_agree(lowland: Command, tables: tuple[Path, Path], tmp_path: Path) -> None:
    both = pd.concat([pd.read_csv(path).assign(method=path.stem) for path in tables])
    both.to_json(tmp_path / "both.jsonl", orient="records", lines=True)
    both.to_json(tmp_path / "both.json", orient="records")
    both.to_parquet(tmp_path / "both.parquet")
    both.to_csv(tmp_path / "both.tsv", sep="\t", index=False)
    renamed = both.rename(columns={"method": "model", "score": "exact_match"})
    renamed.to_csv(tmp_path / "renamed.csv", index=False)
    expected = lowland("verdict", *map(str, tables), small=False)[1]
    for name in ("both.jsonl", "both.json", "both.parquet", "both.tsv"):
        code, out, err = lowland("verdict", str(tmp_path / name), small=False)
        assert (code, err, out) == (0, "", expected)
    options = ("--method-column", "model", "--metric", "exact_match")
    code, out, err = lowland("verdict", str(tmp_path / "renamed.csv"), *options, small=False)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == expected.splitlines()[0].replace("mean score", "exact match")


def test_runs_of_a_study_are_compared_by_their_methods(
    lowland: Command, texts: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    options = ("--task", "classification", "--data", texts, "--model", tiny_model, "--out", out)
    words = ("compare", "--methods", "lora", "flat-lora", "--seeds", "1", "2", "--epochs", "1")
    code, report, err = lowland(*words, *map(str, options), small=False)
    assert code == 0, err
    code, verdict, err = lowland("verdict", str(out), "--json", small=False)
    assert (code, err) == (0, "")
    (row,) = json.loads(verdict)
    assert (row["method"], row["reference"], row["metric"]) == ("flat-lora", "lora", "accuracy")
    assert row["seeds"] == ["1", "2"]
    if row["outcome"] != "identical":
        assert f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" in report
    runs = sorted(out.glob("classification-*"))
    code, verdict, err = lowland("verdict", *map(str, runs[::2]), "--json", small=False)
    assert (code, err) == (0, "")
    assert len(json.loads(verdict)[0]["seeds"]) == 1
    code, _, err = lowland("verdict", str(out), str(tmp_path / "runs"), small=False)
    assert code == 0, err  # the same runs twice, told apart by number


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nowhere.csv",), "nowhere.csv does not exist; name a file or a folder of results"),
        (("old.csv",), "there is only one result, old; name two or more"),
        (("old.csv", "notes.txt"), "notes.txt holds no results that lowland can read; it reads runs of lowland"),
        (("old.csv", "new.csv", "--reference", "x"), "no result is called 'x'; expected one of old, new"),
        (("old.csv", "new.csv", "--fail-unless", "non-inferior"), "no margin is given; add --margin"),
        (("old.csv", "new.csv", "--margin", "0"), "margin is 0"),
        (("old.csv", "new.csv", "--score-column", "scor"), "old.csv has no column scor; name the column with"),
        (("old.csv", "nokey.csv"), "has no column example, and none with a text; results are paired by it"),
        (("old.csv", "broken.parquet"), "broken.parquet cannot be read as a .parquet table"),
        (("old.csv", "empty"), "holds no results that lowland can read"),
        ((), "results is missing"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(
    lowland: Command,
    tables: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    problem: str,
) -> None:
    folder = tables[0].parent
    monkeypatch.chdir(folder)
    (folder / "notes.txt").write_text("nothing")
    (folder / "broken.parquet").write_text("nothing")
    (folder / "empty").mkdir()
    pd.DataFrame({"score": [1, 0]}).to_csv(folder / "nokey.csv", index=False)
    code, out, err = lowland("verdict", *words, small=False)
    assert (code, out) == (2, "")
    assert problem in err


def test_no_torch_is_loaded_and_many_rows_take_little_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        table = pd.DataFrame({"example": np.arange(100_000), "score": rng.integers(0, 2, 100_000)})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    program = (
        "import sys, time; from lowland.cli.main import main; start = time.perf_counter();"
        f" code = main(['verdict', {str(tmp_path / 'a.csv')!r}, {str(tmp_path / 'b.csv')!r}]);"
        " print(code, 'torch' in sys.modules, time.perf_counter() - start)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    code, torch, seconds = printed.splitlines()[-1].split()
    assert (code, torch) == ("0", "False")
    assert "100000 examples" in printed
    assert float(seconds) < 20  # 1 to 2 s on an idle machine
