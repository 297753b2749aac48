"""`lowland verdict` from the command line: files of each kind, what is printed, and exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lowland.evidence.readers.any_results import read_results

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
        (("--fail-under", "10"), 1),  # the difference is larger, and its interval begins below
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
    assert code == expected
    gate = next((option for option in options if option.startswith("--fail")), "")
    assert err == "" if expected == 0 else err.startswith(f"lowland: {gate}")


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
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(texts.read_text().splitlines()[:-1]) + "\n")
    others = [str(value) if value != texts else str(fewer) for value in options]
    code, _, err = lowland(*words[:3], *others, "--seeds", "3", "--epochs", "1", small=False)
    assert code == 0, err
    code, _, err = lowland("verdict", str(out), small=False)
    assert (code, "the runs of lora were tested on different data; compare runs of one study" in err) == (
        2,
        True,
    )
    for folder in out.glob("*-s3-*"):
        shutil.rmtree(folder)
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
        (("old.csv", "new.csv", "--score-column", "scor"), "old.csv has no column scor, which --score-column names"),
        (("old.csv", "nokey.csv"), "has no column example, and none with a text; results are paired by it"),
        (("old.csv", "broken.parquet"), "broken.parquet cannot be read as a .parquet table"),
        (("old.csv", "empty"), "holds no results that lowland can read"),
        (("old.csv", "new.csv", "--metric", "acc_nrm"), "old.csv has no column acc_nrm, which --metric names"),
        (("old.csv", "new.csv", "--seed-column", "run"), "old.csv has no column run, which --seed-column names"),
        (("old.csv", "new.csv", "--group-column", "x"), "old.csv has no column x, which --group-column names"),
        (("old.csv", "new.csv", "--metric", "score", "--score-column", "text"), "both name the column with the scores"),
        (("old.csv", "new.csv", "--level", "0.2"), "level is 0.2"),
        (("old.csv", "ragged.csv"), "ragged.csv cannot be read as a .csv table"),
        (("one.csv", "one.csv"), "have one example; a comparison needs two or more"),
        (("old.csv", "percent.csv"), "the score in row 1 is '50%', and 2 scores of 2 are no finite number"),
        (("old.csv", "comma.csv"), "write numbers such as 0.5 with a point, not a comma, or leave"),
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
    (folder / "ragged.csv").write_text("example,score\na,1,7\nb,0,8\n")
    (folder / "one.csv").write_text("example,score\na,1\n")
    (folder / "comma.csv").write_text("example;score\nq1;0,5\nq2;1,0\n")
    (folder / "percent.csv").write_text("example,score\nq1,50%\nq2,40%\n")
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


def test_a_rounding_error_beyond_one_does_not_change_the_unit_of_a_gate(
    lowland: Command, tables: tuple[Path, Path]
) -> None:
    table = pd.read_csv(tables[1])
    table["score"] = table["score"].astype(float)
    table.loc[table["score"] == 1, "score"] = 1 + 1e-9
    table.to_csv(tables[1], index=False)
    code, out, _ = lowland("verdict", *map(str, tables), "--fail-under", "50", small=False)
    assert (code, "points (95 % interval" in out) == (1, True)


def test_json_is_json_where_nothing_varies(lowland: Command, tmp_path: Path) -> None:
    for name, score in (("a", 1), ("b", 0)):
        table = pd.DataFrame({"example": range(20), "score": score})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    words = ("verdict", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--json", "--margin", "1")
    _, out, _ = lowland(*words, small=False)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (row,) = json.loads(out, parse_constant=refuse)
    assert (row["outcome"], row["p"], row["margin"]) == ("worse", 2 / 2**20, 0.01)


@pytest.mark.parametrize(
    ("content", "examples"),
    [
        ("example,score\n1e5,1\n100000,0\n2e5,1\n", ["1e5", "100000", "2e5"]),
        ("example,score\n01,1\n1,0\n001,1\n", ["01", "1", "001"]),
        ("example,score\n1.0,1\n2.0,0\n3.5,1\n", ["1", "2", "3.5"]),
        ("text,score\nNone,1\nNA,0\nnull,1\n", ["None", "NA", "null"]),
        ("example;score\na;1\nb;0\n", ["a", "b"]),
        ("example,score,text\na,1,\nb,0,NA\n", ["a", "b"]),
        ("\ufeffexample,score\na,1\nb,0\n", ["a", "b"]),
    ],
)
def test_names_of_examples_are_texts(tmp_path: Path, content: str, examples: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    (results,) = read_results([path])
    assert results.rows["example"].tolist() == examples
    assert set(results.rows["score"]) == {0.0, 1.0}


def test_a_damaged_run_is_named(lowland: Command, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "toy-lora-s1-0123456789"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{")
    code, _, err = lowland("verdict", str(tmp_path / "runs"), small=False)
    assert (code, "toy-lora-s1-0123456789: " in err, "move it away" in err) == (2, True, True)


def test_results_can_be_given_names(lowland: Command, tables: tuple[Path, Path]) -> None:
    code, out, _ = lowland("verdict", *map(str, tables), "--names", "my base", "tuned", small=False)
    assert code == 0
    assert out.startswith("- tuned is better than my base in mean score by ")
    code, _, err = lowland("verdict", *map(str, tables), "--names", "tuned", small=False)
    assert code == 2
    assert "names is tuned; expected 2 different names, one for each result: old, new" in err
    assert lowland("verdict", *map(str, tables), "--names", "a", "a", small=False)[0] == 2


def test_too_few_examples_are_said_to_show_nothing(lowland: Command, tmp_path: Path) -> None:
    for name, scores in (("old", "1 0 1"), ("new", "0 1 1")):
        rows = [f"q{n},{score}" for n, score in enumerate(scores.split())]
        (tmp_path / f"{name}.csv").write_text("\n".join(["example,score", *rows]) + "\n")
    paths = [str(tmp_path / f"{name}.csv") for name in ("old", "new")]
    code, out, _ = lowland("verdict", *paths, small=False)
    assert code == 0
    assert out.startswith(
        "- These results do not show a difference in mean score between new and old, and could show none:"
    )
    assert "would be seen" not in out


def test_equal_differences_of_few_examples_show_nothing(lowland: Command, tmp_path: Path) -> None:
    for name, score in (("old", 0), ("new", 1)):
        (tmp_path / f"{name}.csv").write_text(f"example,score\na,{score}\nb,{score}\nc,{score}\n")
    _, out, _ = lowland("verdict", str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), small=False)
    assert out.startswith(
        "- All differences in mean score between new and old are 100.0 points; 3 examples are too few"
    )


@pytest.fixture
def tasks(tmp_path: Path) -> list[Path]:
    """Two tables of different tasks, each with the methods lora and full."""
    rng = np.random.default_rng(1)
    paths = []
    for name, size in (("news", 200), ("mail", 60)):
        rows = [
            {"method": method, "example": n, "score": int(rng.random() < rate)}
            for method, rate in (("lora", 0.5), ("full", 0.8))
            for n in range(size)
        ]
        paths.append(tmp_path / f"{name}.csv")
        pd.DataFrame(rows).to_csv(paths[-1], index=False)
    return paths


def test_differences_are_pooled_over_tasks(lowland: Command, tasks: list[Path]) -> None:
    code, out, err = lowland("verdict", *map(str, tasks), "--pool", small=False)
    assert (code, err) == (0, "")
    assert out.startswith("- Over 2 tasks, full is better than lora in mean score by ")
    assert [line.split("|")[2].strip() for line in out.splitlines() if line.startswith("| full")] == [
        "news.csv",
        "mail.csv",
        "all",
    ]
    code, out, _ = lowland(
        "verdict", *map(str, tasks), "--pool", "--json", "--reference", "full", small=False
    )
    (pooled,) = json.loads(out)
    assert (code, pooled["method"], pooled["reference"]) == (0, "lora", "full")
    parts = [each["difference"] for each in pooled["tasks"].values()]
    assert pooled["difference"] == pytest.approx(np.mean(parts))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--margin", "1"), "--pool is given with --margin, which speak of one task"),
        (("--reference", "dora"), "no result is called 'dora'; expected one of lora, full"),
    ],
)
def test_options_that_do_not_fit_pooling_are_refused(
    lowland: Command, tasks: list[Path], options: tuple[str, ...], problem: str
) -> None:
    code, out, err = lowland("verdict", *map(str, tasks), "--pool", *options, small=False)
    assert (code, out) == (2, "")
    assert problem in err


def test_one_task_cannot_be_pooled(lowland: Command, tasks: list[Path]) -> None:
    code, out, err = lowland("verdict", str(tasks[0]), "--pool", small=False)
    assert (code, out) == (2, "")
    assert "there is one task only, news.csv" in err


def test_exported_predictions_get_the_verdict_of_their_test_set(lowland: Command, tmp_path: Path) -> None:
    rows = [
        {
            "method": method,
            "split": split,
            "example": n + 100 * (split == "shifted"),
            "score": int(n % 5 < right),
        }
        for method, right in (("a", 2), ("b", 4))
        for split in ("test", "shifted")
        for n in range(50)
    ]
    whole, test = tmp_path / "whole.parquet", tmp_path / "test.parquet"
    table = pd.DataFrame(rows)
    table.to_parquet(whole)
    table[table["split"] == "test"].drop(columns="split").to_parquet(test)
    answers = [lowland("verdict", str(path), "--json", small=False) for path in (whole, test)]
    assert answers[0][:2] == answers[1][:2]
    assert json.loads(answers[0][1])[0]["examples"] == 50


def test_a_task_that_is_given_twice_is_refused(lowland: Command, tasks: list[Path]) -> None:
    code, out, err = lowland("verdict", str(tasks[0]), str(tasks[0]), "--pool", small=False)
    assert (code, out) == (2, "")
    assert "give each task once, or rename one" in err
