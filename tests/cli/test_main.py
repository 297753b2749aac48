"""The command line as a user meets it: its output, and its messages about mistakes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from lowland.cli.main import main
from lowland.cli.verbs import VERBS
from lowland.ground.record_files import read_record
from lowland.tasks.table import TASKS
from lowland.train.prefixes import PREFIXES
from lowland.train.table import METHODS
from tests.conftest import table_of

Run = Callable[..., tuple[int, str, str]]


def test_compare_ends_with_a_table_and_a_sentence(lowland: Run, tmp_path: Path) -> None:
    code, out, err = lowland("compare", "--seeds", "1", "2", "3")
    assert code == 0, err
    rows = [line for line in out.split("F1 of each label")[0].splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["full", "lora", "flat-lora", "majority"]
    assert "accuracy" in rows[0]
    assert " ± " in rows[2]
    assert "flat-lora" in out.split(rows[-1])[1]
    assert "95 % interval" in out or "identical" in out
    assert "Permutation test over seeds" in out
    assert err.count("[9/9] flat-lora, seed 3: accuracy") == 1
    code, second, err = lowland("compare", "--seeds", "1", "2", "3")
    assert code == 0
    assert err.count("found, accuracy") == 9
    assert second == out


def test_train_makes_one_run_and_predict_uses_it(lowland: Run, tmp_path: Path, texts: Path) -> None:
    code, out, err = lowland(
        "train", "--method", "flat-lora", "--seed", "7", "--epochs", "6", "--dtype", "fp32"
    )
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-flat-lora-s7-*")
    assert str(folder) in out
    code, out, _ = lowland("predict", str(folder), "--text", "the firm gains", "a bank, it falls")
    assert code == 0
    answers = pd.read_csv(StringIO(out))
    assert list(answers.columns) == ["text", "predicted", "p_bad", "p_good"]
    assert list(answers["text"]) == ["the firm gains", "a bank, it falls"]
    assert (answers[["p_bad", "p_good"]].sum(axis=1) - 1).abs().max() < 1e-3
    code, merged, _ = lowland(
        "predict", str(folder), "--merge", "--text", "the firm gains", "a bank, it falls"
    )
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(merged)), answers, atol=2e-4)
    code, out, _ = lowland(
        "predict", str(folder), "--data", str(texts), "--out", str(tmp_path / "answers.csv")
    )
    assert (code, out) == (0, "")
    written = pd.read_csv(tmp_path / "answers.csv")
    assert list(written["text"]) == list(pd.read_csv(texts)["text"])
    assert (written["predicted"] == pd.read_csv(texts)["label"]).mean() > 0.7


def test_lists(lowland: Run) -> None:
    _, tasks, _ = lowland("tasks")
    assert [line.split()[0] for line in tasks.splitlines()] == list(TASKS)
    assert {"financial-demo", "financial-phrasebank", "sms-spam", "classification"} <= set(TASKS)
    _, methods, _ = lowland("methods")
    rows, front = methods.split("\n\nIn front of a method")
    assert [line.split()[0] for line in rows.splitlines()] == list(METHODS)
    assert {"full", "lora", "flat-lora"} < set(METHODS)
    assert [line.split()[0] for line in front.splitlines()[2:]] == [f"{name}+" for name in PREFIXES]


def test_print_config_is_a_recipe_that_can_be_given_back(lowland: Run, tmp_path: Path) -> None:
    code, out, _ = lowland("compare", "--print-config", "--rank", "4", small=False)
    assert code == 0
    recipe = yaml.safe_load(out)
    assert recipe["rank"] == 4
    assert recipe["methods"] == ["full", "lora", "flat-lora"]
    path = tmp_path / "recipe.yaml"
    path.write_text(out)
    _, printed, _ = lowland("compare", "--config", str(path), "--print-config", small=False)
    assert printed == out
    _, other, _ = lowland("compare", "--config", str(path), "--rank", "2", "--print_config", small=False)
    assert yaml.safe_load(other) == {**recipe, "rank": 2}


RECIPE = """
task: {name: classification, data: DATA, text_column: text, label_column: label}
methods:
  - full: {lr: 2e-4, epochs: 1}
  - lora: {rank: 3}
  - lora: {rank: 2, alpha: 64, label: lora-r2}
  - flat+dora: {rho: 0.1}
seeds: 5
lr: 1e-3
"""


def test_a_recipe_file_is_obeyed(lowland: Run, tmp_path: Path, texts: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("DATA", str(texts)))
    code, out, err = lowland("compare", "--config", str(path))
    # options override the recipe, but not its settings of a single method
    assert code == 0, err
    records = {run.method: run for run in map(read_record, (tmp_path / "runs").glob("classification-*"))}
    assert set(records) == {"full", "lora", "lora-r2", "flat+dora"}
    assert {run.seed for run in records.values()} == {5}
    method = {label: run.asked["method"] for label, run in records.items()}
    assert (method["full"]["lr"], method["full"]["epochs"]) == (2e-4, 1)
    assert (method["lora"]["lr"], method["lora"]["epochs"], method["lora"]["rank"]) == (0.01, 2, 3)
    assert (method["lora-r2"]["name"], method["lora-r2"]["rank"], method["lora-r2"]["alpha"]) == (
        "lora",
        2,
        64,
    )
    assert (method["flat+dora"]["rho"], method["flat+dora"]["rank"]) == (0.1, 4)
    scores = out.split("F1 of each label")[0].splitlines()
    assert [row.split("|")[1].strip() for row in scores if row.startswith("|")][2:-1] == [
        "full",
        "lora",
        "lora-r2",
        "flat+dora",
    ]
    code, _, err = lowland(
        "train", "--config", str(path), "--method", "lora-r2", "--seed", "5", "--rank", "2"
    )
    assert code == 0, err
    assert "found, accuracy" in err  # `train` is `compare` with one of each


def test_the_older_form_of_settings_for_a_method_is_read_with_a_warning(lowland: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "methods: [full, lora]\nseeds: 5\nlr: 1e-3\noverrides:\n  full: {lr: 2e-4, epochs: 1}\n  lora: {rank: 3}\n"
    )
    code, _, err = lowland("compare", "--config", str(path))
    assert code == 0, err
    form = "methods: [{full: {epochs: 1, lr: 0.0002}}, {lora: {rank: 3}}]"
    assert err.startswith(
        f"lowland: overrides is an older form; write settings beside the method's name: {form}\n"
    )
    assert "FutureWarning" not in err
    records = {run.method: run for run in map(read_record, (tmp_path / "runs").glob("classification-*"))}
    assert {run.seed for run in records.values()} == {5}
    assert records["full"].asked["method"]["lr"] == 2e-4
    assert records["full"].asked["method"]["epochs"] == 1
    assert records["lora"].asked["method"]["epochs"] == 2
    assert records["lora"].asked["method"]["rank"] == 3


def test_settings_given_to_train_hold_for_its_method(lowland: Run) -> None:
    """Full fine-tuning has its own learning rate, unless one is given for this run."""
    _, out, _ = lowland("train", "--method", "full", "--lr", "1e-4", "--print-config", small=False)
    assert yaml.safe_load(out)["methods"] == [{"full": {"lr": 1e-4}}]


def test_the_fields_of_another_task_are_a_mistake(lowland: Run, tmp_path: Path, texts: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("DATA", str(texts)))
    code, out, _ = lowland(
        "compare", "--config", str(path), "--task", "sms-spam", "--print-config", small=False
    )
    assert code == 0  # another task than the file's: the fields of the file's task are left out
    assert "text_column" not in yaml.safe_load(out)["task"]
    code, _, err = lowland(
        "compare", "--task", "sms-spam", "--text-column", "a", "--print-config", small=False
    )
    assert code == 2
    assert err == "lowland: task: sms-spam has no field text_column; it belongs to classification\n"


def test_help_has_a_text_and_a_default_for_every_option(lowland: Run) -> None:
    _, out, _ = lowland("compare", "--help", small=False)
    for option in ("--rho", "--seeds", "--config", "--print-config", "--fresh", "--lr"):
        assert option in out
    assert "Any" not in out
    assert out.count("default:") > 20
    lines = [line for line in out.split("options:")[1].splitlines() if line.startswith("  -")]
    assert all(len(line.split("  ")) > 2 or line.strip().startswith("--") for line in lines)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name} " in out
        assert verb.summary in out


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: lowland {name}")
    assert "--debug" in out
    assert len(out.partition("\n\n")[0].splitlines()) == 1


def test_help_shows_what_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    main(["merge", "--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: lowland merge RUN --out OUT [options]\n")
    assert " ".join(out.split()).count("(required)") == 2
    main(["stress", "merge-back", "--help"])
    assert "usage: lowland stress merge-back RATINGS --runs RUN … [options]" in capsys.readouterr().out


def test_the_verbs_of_a_group_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: lowland stress VERB [options]\n")
    assert "stress messy" in out
    assert "compare" not in out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lowland 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["comapre"], "unknown verb 'comapre'; did you mean 'compare'?"),
        (["stress", "mesy"], "unknown verb of stress 'mesy'; did you mean 'messy'?"),
        (["compare", "--rnk", "3"], "unknown option '--rnk'; did you mean '--rank'?"),
        (["compare", "runs"], "unexpected argument 'runs'"),
        (["compare", "--rank"], "--rank has no value; give one, as --rank RANK"),
        (["--versin"], "unknown option '--versin'; did you mean '--version'?"),
        (["--rank", "3", "train"], "other options come after a verb"),
        (["merge", "run"], "lowland: --out is missing"),
        (["merge"], "lowland: run is missing"),
    ],
)
def test_a_wrong_word_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["predict", "merge", "check"])
def test_help_describes_each_option_of_the_other_verbs(lowland: Run, verb: str) -> None:
    code, out, _ = lowland(verb, "--help")
    assert code == 0
    options = {"predict": ["--merge", "--out"], "merge": ["--dtype", "--tolerance"], "check": ["--adapter"]}[
        verb
    ]
    for option in ("--help", *options):
        assert option in out
    assert "Any" not in out


def test_from_training_to_a_merged_model_that_answers(lowland: Run, tmp_path: Path, tiny_model: Path) -> None:
    code, _, err = lowland("train", "--method", "lora")
    assert code == 0, err
    (run,) = (tmp_path / "runs").glob("classification-lora-*")
    code, out, err = lowland("check", "--adapter", str(run))
    assert code == 0, out + err
    answers = []
    code, out, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    for folder in (run, run / "adapter", tmp_path / "merged"):
        code, out, err = lowland("predict", str(folder), "--text", "the firm gains", "a bank fails again")
        assert code == 0, err
        answers.append(pd.read_csv(StringIO(out)).iloc[:, 2:].to_numpy())
    assert abs(answers[0] - answers[1]).max() <= 1e-4
    assert abs(answers[0] - answers[2]).max() <= 1e-4
    code, _, err = lowland("merge", str(tmp_path / "merged"), "--out", str(tmp_path / "twice"))
    assert code == 2
    assert "neither a run (record.json) nor an adapter" in err
    code, _, err = lowland("merge", str(run))
    assert code == 2
    assert "out is missing" in err


def wrong(columns: dict[str, object], tmp_path: Path) -> list[str]:
    """Options for a file of the given columns."""
    path = tmp_path / "given.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return ["--data", str(path)]


MISTAKES: dict[str, tuple[list[str], str]] = {
    "method": (["--methods", "lora", "flatlora"], "unknown method 'flatlora'; did you mean 'flat-lora'?"),
    "task": (["--task", "classify"], "unknown task 'classify'; did you mean 'classification'?"),
    "target": (["--targets", "querry"], "unknown target module 'querry'; did you mean 'query'?"),
    "rank 0": (["--rank", "0"], "rank is 0; it must be at least 1"),
    "rank too large": (["--rank", "17"], "rank 17 is larger than layer"),
    "no adapter": (
        ["--methods", "flat+head"],
        "'flat+head' cannot be used: flat changes an adapter's merged weight, or weights that are all trained",
    ),
    "neftune": (["--neftune-alpha", "0"], "neftune_alpha is 0; it must be above 0"),
    "rho": (["--rho", "-0.1"], "rho is -0.1; it must be at least 0"),
    "no file": (["--data", "nowhere.csv"], "the data file nowhere.csv does not exist"),
    "column": (["--text-column", "texts"], "unknown text column 'texts'; did you mean 'text'?"),
    "model": (["--model", "some/model"], "model some/model cannot be loaded from the hub"),
    "embedded": (["--task", "financial-demo"], "brings its own data"),
    "config": (["--config", "nowhere.yaml"], "the recipe file nowhere.yaml does not exist"),
    "option": (["--rnk", "3"], "rnk"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_sentence_and_exit_code_2(lowland: Run, tmp_path: Path, name: str) -> None:
    options, message = MISTAKES[name]
    code, out, err = lowland("compare", *options)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("runs/classification*"))
    assert not list(tmp_path.glob("runs/.*.partial"))


DATA_MISTAKES: dict[str, tuple[object, str]] = {
    "one class": ({"text": ["a", "b", "c"], "label": ["x"] * 3}, "has one label only, 'x'"),
    "no rows": ({"text": [], "label": []}, "holds no rows"),
    "blank": ({"text": ["a", "", "c"], "label": ["x", "y", "x"]}, "1 row without a text"),
    "empty": (b"", "is empty"),
    "undecodable": ("text,label\ngrün,x\n".encode("latin-1"), "is not UTF-8"),
    "unseen label": (
        {
            "text": [f"t{i}" for i in range(30)],
            "label": ["x", "y"] * 14 + ["z", "z"],
            "split": ["train"] * 28 + ["test"] * 2,
        },
        "label 'z' is in the split 'test', but not in 'train'",
    ),
}


@pytest.mark.parametrize("name", DATA_MISTAKES)
def test_bad_data_is_a_sentence_and_exit_code_2(lowland: Run, tmp_path: Path, name: str) -> None:
    content, message = DATA_MISTAKES[name]
    path = tmp_path / "given.csv"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pd.DataFrame(content).to_csv(path, index=False)
    more = ["--split-column", "split"] if name == "unseen label" else []
    code, _, err = lowland("compare", "--data", str(path), *more)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_all_mistakes_of_a_recipe_are_reported_at_once(lowland: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("tsak: x\nrank: 0\nlr: fast\nmethods: [lora, flat, {full: {rho: 1}}]\n")
    code, _, err = lowland(
        "compare", "--config", str(path), "--epochs", "0", "--seeds", "1", "1", small=False
    )
    assert code == 2
    for message in (
        "'tsak'",
        "rank is 0",
        "lr is 'fast'",
        "'flat'",
        "rho is given",
        "epochs is 0",
        "seeds names 1",
    ):
        assert message in err
    assert len(err.splitlines()) == 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", "holds a list; a recipe has lines such as"),
        ("", "is empty; a recipe has lines such as"),
        ("a: [1\n", "cannot be read as YAML"),
        ("just words\n", "holds 'just words'; a recipe has lines such as"),
        ("lr: 1\nrank: 2\nlr: 2\n", "line 3: the key 'lr' occurs twice"),
    ],
)
def test_a_recipe_that_is_none_is_refused_beside_wrong_options(
    lowland: Run, tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    for verb in ("compare", "train"):
        code, _, err = lowland(verb, "--config", str(path), "--epochs", "0", "--rnk", "3", small=False)
        assert code == 2
        lines = err.splitlines()
        assert len(lines) == 3
        assert f"the recipe file {path}" in err
        assert problem in err
        assert "unknown option '--rnk'; did you mean '--rank'?" in lines[0]
        assert lines[2] == "lowland: epochs is 0; it must be at least 1"


def test_a_folder_is_no_recipe(lowland: Run, tmp_path: Path) -> None:
    code, _, err = lowland("compare", "--config", str(tmp_path), small=False)
    assert (code, err) == (2, f"lowland: the recipe file {tmp_path} is a folder; name a file\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["train", "--method", "full", "--rank", "4"],
            "--rank is given, but full does not use it; leave it out",
        ),
        (
            ["train", "--method", "lora", "--rho", "0.3"],
            "--rho is given, but lora does not use it; leave it out",
        ),
        (["compare", "--methods", "full", "lora", "--rho", "1"], "but none of full, lora uses it"),
        (["compare", "--lr-ratio", "4"], "but none of full, lora, flat-lora uses it"),
    ],
)
def test_a_setting_that_no_method_uses_is_a_mistake(
    lowland: Run, arguments: list[str], sentence: str
) -> None:
    code, _, err = lowland(*arguments, small=False)
    assert code == 2
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_setting_that_one_of_the_methods_uses_is_none(lowland: Run, tmp_path: Path) -> None:
    assert lowland("compare", "--rho", "0.1", "--rank", "2", "--print-config", small=False)[0] == 0
    path = tmp_path / "recipe.yaml"
    path.write_text("methods: [lora, flat-lora]\nrho: 0.2\n")  # of the file, for all methods that use it
    code, out, _ = lowland("train", "--config", str(path), "--method", "lora", "--print-config", small=False)
    assert (code, yaml.safe_load(out)["rho"]) == (0, 0.2)


@pytest.mark.parametrize(
    "arguments",
    [("--methods", "full", "--lr", "0.3"), ("--methods", "full", "vera", "--rank", "4")],
)
def test_a_setting_of_which_all_methods_have_values_of_their_own_is_refused(
    arguments: tuple[str, ...], lowland: Run
) -> None:
    code, _, err = lowland("compare", *arguments, "--print-config", small=False)
    assert code == 2
    assert f"{arguments[-2]} is given, but {arguments[-3]} has a value of its own" in err
    some = ("compare", "--methods", "full", "lora", *arguments[-2:], "--print-config")
    assert lowland(*some, small=False)[0] == 0  # lora takes it
    assert lowland("train", "--method", "full", "--lr", "0.3", "--print-config", small=False)[0] == 0


def test_older_settings_hold_for_the_methods_that_are_run(lowland: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("methods: [full, lora]\noverrides: {full: {lr: 1e-4}, dora: {rank: 3}}\n")
    code, _, err = lowland("compare", "--config", str(path), "--print-config", small=False)
    assert code == 2
    assert "overrides names dora, which is not among the methods (full, lora)" in err
    path.write_text("methods: [full, lora]\noverrides: {full: {lr: 1e-4}}\n")
    for verb, option, method, entry in (
        ("train", "--method", "lora", "lora"),
        ("train", "--method", "full", {"full": {"lr": 1e-4}}),
        ("compare", "--methods", "lora", "lora"),
    ):
        code, out, err = lowland(verb, "--config", str(path), option, method, "--print-config", small=False)
        assert code == 0, err
        assert yaml.safe_load(out)["methods"] == [entry]


def test_methods_on_the_command_line_keep_their_settings_from_the_recipe_file(
    lowland: Run, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("methods: [full: {lr: 1e-4}, lora: {rank: 2}, lora: {rank: 32, label: r32}]\n")
    options = ("--config", str(path), "--print-config", "--methods")
    code, out, err = lowland("compare", *options, "r32", "full", "pissa", small=False)
    assert code == 0, err
    assert yaml.safe_load(out)["methods"] == [
        {"lora": {"rank": 32, "label": "r32"}},
        {"full": {"lr": 1e-4}},
        "pissa",
    ]
    path.write_text("methods: [full, lora: {rank: 32, label: r32}]\n")
    code, _, err = lowland("compare", *options, "lora", small=False)
    assert (code, err) == (2, "lowland: the recipe file labels lora r32; give the label with --methods\n")


def test_all_missing_files_of_data_are_named_at_once(lowland: Run) -> None:
    code, _, err = lowland("compare", "--data", "nope1", "--test-data", "nope2.csv")
    assert code == 2
    assert err.splitlines() == [
        f"lowland: the data file {name} does not exist; name a file" for name in ("nope1", "nope2.csv")
    ]


def test_mistakes_in_method_seed_and_settings_of_train_are_reported_at_once(lowland: Run) -> None:
    code, _, err = lowland("train", "--method", "lroa", "--seed", "-1", "--rank", "x", small=False)
    assert code == 2
    seed, method, rank = err.splitlines()
    assert seed == "lowland: seed is -1; it must be at least 0"
    assert "did you mean 'lora'?" in method
    assert rank == "lowland: rank is 'x'; it must be a whole number"


def test_a_forgotten_column_is_answered_with_the_option(lowland: Run, tmp_path: Path) -> None:
    options = wrong({"review": ["a"], "stars": ["b"]}, tmp_path)
    code, _, err = lowland("compare", *options)
    assert code == 2
    assert "unknown text column 'text'; Allowed: review, stars; name it with --text-column" in err
    assert "name it with --label-column" in err


def test_a_record_in_the_runs_place_that_cannot_be_read_is_replaced_by_fresh(
    lowland: Run, tmp_path: Path
) -> None:
    assert lowland("train")[0] == 0
    (run,) = (tmp_path / "runs").glob("classification-*")
    content = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps({**content, "version": 1}))
    code, _, err = lowland("train")
    assert code == 2
    assert (
        "is a record of version 1, and this lowland reads version 2; remove it with lowland study rm" in err
    )
    assert lowland("train", "--fresh")[0] == 0
    assert read_record(run).status == "finished"


def test_predict_never_costs_a_file(lowland: Run, tmp_path: Path, texts: Path) -> None:
    assert lowland("train")[0] == 0
    (run,) = (tmp_path / "runs").glob("classification-*")
    before, link = texts.read_bytes(), tmp_path / "link.csv"
    link.symlink_to(texts)
    for out in (texts, link):
        for more in ([], ["--replace"]):
            code, _, err = lowland("predict", str(run), "--data", str(texts), "--out", str(out), *more)
            assert code == 2
            assert "which is the file of --data; name another file with --out" in err
    answers = tmp_path / "answers.csv"
    answers.write_text("precious")
    text = ["predict", str(run), "--text", "the firm gains", "--out"]
    code, _, err = lowland(*text, str(run / "record.json"), "--replace", small=False)
    assert (code, "written as CSV or JSON lines; name it record.csv or record.jsonl" in err) == (2, True)
    (run / "notes.csv").write_text("mine")
    code, _, err = lowland(*text, str(run / "notes.csv"), "--replace", small=False)
    assert (code, (run / "notes.csv").read_text()) == (2, "mine")
    assert "a file of the run itself; name another file with --out" in err
    command = ["predict", str(run), "--text", "the firm gains", "--out", str(answers)]
    code, _, err = lowland(*command)
    assert (code, answers.read_text()) == (2, "precious")
    assert err == f"lowland: {answers} exists; name another file with --out, or add --replace to replace it\n"
    assert lowland(*command, "--replace")[0] == 0
    assert answers.read_text().startswith("text,predicted")
    assert texts.read_bytes() == before


def test_compare_and_train_end_with_where_the_runs_are_and_what_to_do_next(
    lowland: Run, tmp_path: Path
) -> None:
    code, out, err = lowland("compare", "--methods", "lora", "flat-lora", "--seeds", "1")
    assert code == 0, err
    where, *_, following = out.splitlines()[-5:]
    assert where.startswith(f"2 runs are in {tmp_path / 'runs'}; the highest mean accuracy is ")
    assert f": lowland predict {tmp_path / 'runs'}/classification-" in following
    runs = sorted((tmp_path / "runs").glob("classification-*"))
    code, _, err = lowland("predict", str(tmp_path / "runs"), "--text", "a")
    assert code == 2
    assert f"is a folder of 2 runs; name one of them: {runs[0].name}, {runs[1].name}" in err
    _, out, _ = lowland("train", "--method", "lora", "--seed", "1", "--no-keep-weights")
    assert out.splitlines()[-2].startswith("The run is in ")


def test_a_failed_run_is_said_to_have_failed_and_where_its_record_is(
    lowland: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("lowland.study.run.fit", fail)
    code, out, _ = lowland("train")
    assert code == 1
    (run,) = (tmp_path / "runs").glob("classification-*")
    assert out.splitlines()[-1] == f"The run failed; {run / 'record.json'} says why"
    assert "The run is in" not in out


def test_predict_reports_its_mistakes(lowland: Run, tmp_path: Path, texts: Path) -> None:
    for options, message in (
        ([str(tmp_path), "--text", "a"], "neither a run"),
        ([str(tmp_path)], "give texts with --text"),
        ([str(tmp_path), "--text", "a", "--data", str(texts)], "one of these"),
        ([str(tmp_path), "--data", str(texts), "--text-column", "words"], "unknown text column 'words'"),
    ):
        code, out, err = lowland("predict", *options)
        assert (code, out) == (2, "")
        assert message in err
    (tmp_path / "blank.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    code, _, err = lowland("predict", str(tmp_path), "--data", str(tmp_path / "blank.jsonl"))
    assert code == 2
    assert "has 1 row without a text, the first is line 2" in err


def test_only_our_own_messages_are_printed(tmp_path: Path, tiny_model: Path) -> None:
    """Packages that quantise, where they are installed, warn at import; only a fresh process sees it."""
    arguments = [sys.executable, "-m", "lowland.cli.main", "predict", str(tiny_model), "--text", "a"]
    process = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (
        process.stderr
        == f"lowland: the model in {tiny_model} is neither a classifier of texts or images nor a model that marks"
        " answers; fine-tune it first\n"
    )


def command(tmp_path: Path, texts: Path, tiny_model: Path, *options: str) -> list[str]:
    return [
        *(
            sys.executable,
            "-m",
            "lowland.cli.main",
            "compare",
            "--task",
            "classification",
            "--data",
            str(texts),
        ),
        *(
            "--model",
            str(tiny_model),
            "--methods",
            "lora",
            "--rank",
            "2",
            "--out",
            str(tmp_path / "runs"),
            *options,
        ),
    ]


@pytest.mark.parametrize(
    "more",  # an adapter is written by lowland, a whole model by transformers
    [["2"], pytest.param(["--methods", "full"], marks=pytest.mark.slow)],
)
def test_a_full_disk_is_a_sentence_and_keeps_earlier_runs(
    more: list[str], tmp_path: Path, texts: Path, tiny_model: Path
) -> None:
    def limited() -> None:  # a file of the adapter does not fit, as on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    compare = command(tmp_path, texts, tiny_model, "--epochs", "1", "--seeds", "1")
    subprocess.run(compare, check=True, capture_output=True)
    done = subprocess.run([*compare, *more], preexec_fn=limited, capture_output=True, text=True)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "finished runs are kept" in done.stderr
    assert "Traceback" not in done.stderr
    left = [
        path.name for path in (tmp_path / "runs").iterdir() if not path.name.endswith((".locks", ".begun"))
    ]
    assert len(left) == 1
    assert left[0].startswith("classification-lora-s1-")


def restore_ctrl_c() -> None:
    """Restore the handler of Ctrl-C: processes that a shell starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_an_interruption_has_its_exit_code_and_keeps_earlier_runs(
    sent: signal.Signals, code: int, tmp_path: Path, texts: Path, tiny_model: Path
) -> None:
    arguments = command(tmp_path, texts, tiny_model, "--epochs", "30", "--seeds", "1", "2", "3")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(arguments, preexec_fn=restore_ctrl_c, **pipes)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "runs").glob("classification-*")):
        time.sleep(0.02)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted" in err
    assert "Traceback" not in err
    left = [folder for folder in (tmp_path / "runs").iterdir() if folder.name != ".locks"]
    left = [folder for folder in left if not folder.name.endswith(".partial")]  # the next run removes it
    states = [read_record(folder).status for folder in left]
    assert 1 <= states.count("finished") < 3
    notes = [folder.name for folder in left if read_record(folder).status == "unfinished"]
    assert len(notes) == len(states) - states.count("finished") <= 1
    assert all(name.startswith(".") and name.endswith(".begun") for name in notes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_an_interruption_while_workers_start_is_a_sentence(
    tmp_path: Path, texts: Path, tiny_model: Path
) -> None:
    arguments = command(tmp_path, texts, tiny_model, "--seeds", "1", "2", "--workers", "2")
    process = subprocess.Popen(
        arguments, preexec_fn=restore_ctrl_c, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # until the server that imports the libraries is there
        children = psutil.Process(process.pid).children()
        if any("forkserver" in " ".join(child.cmdline()) for child in children):
            break
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.count("interrupted") == 1


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", "lowland", "methods"], stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def test_evidence_and_the_lists_need_no_torch() -> None:
    code = (
        "import sys, lowland, lowland.evidence.study, lowland.report.study, "
        "lowland.ground.store, lowland.study.recipe\n"
        "from lowland.cli.main import main\n"
        "main(['methods'])\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, capture_output=True)


def test_json_lines_and_parquet_of_the_users_own(lowland: Run, tmp_path: Path) -> None:
    table = table_of().rename(columns={"text": "words", "label": "kind"})
    table.to_json(tmp_path / "texts.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "texts.parquet")
    scores = []
    for name in ("texts.jsonl", "texts.parquet"):
        options = [
            "--data",
            str(tmp_path / name),
            "--text-column",
            "words",
            "--label-column",
            "kind",
            "--epochs",
            "1",
        ]
        code, out, err = lowland("train", *options)
        assert code == 0, err
        scores.append(json.dumps(out.split("|")[12:15]))
    assert scores[0] == scores[1]


@pytest.mark.parametrize("field", ["lr: 9", "seeds: [1]", "text_col: review"])
def test_the_task_in_a_recipe_file_accepts_only_its_own_fields(
    lowland: Run, tmp_path: Path, field: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"task: {{name: classification, {field}}}\n")
    code, _, err = lowland("compare", "--config", str(path), small=False)
    assert code == 2
    assert f"task: unknown field '{field.partition(':')[0]}'" in err


@pytest.mark.parametrize(
    ("content", "options", "problems"),
    [
        ("methods: [full, lora]\nseeds: 3", [], ["several methods: full, lora; choose one with --method"]),
        ("methods: lora\nseeds: [3, 4]", [], ["several seeds: 3, 4; choose one with --seed"]),
        ("methods: [full, lora]\nseeds: [3, 4]", [], ["several methods", "several seeds"]),
        ("methods: lora\nepochs: 2\nepochs: 3", [], ["the key 'epochs' occurs twice"]),
        ("methods: [{lora: {label: wide, rank: 32}}]", ["--method", "lora"], ["labels lora wide"]),
    ],
)
def test_train_does_not_choose_silently(
    lowland: Run, tmp_path: Path, content: str, options: list[str], problems: list[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    code, _, err = lowland("train", "--config", str(path), *options, small=False)
    assert code == 2
    assert len(err.splitlines()) == len(problems)
    assert all(problem in line for problem, line in zip(problems, err.splitlines(), strict=True))


def test_train_takes_the_only_method_and_seed_of_a_recipe_file(lowland: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("methods: [{lora: {rank: 2, label: small}}]\nseeds: [3]\n")
    code, out, err = lowland("train", "--config", str(path), "--print-config", small=False)
    assert code == 0, err
    recipe = yaml.safe_load(out)
    assert (recipe["methods"], recipe["seeds"]) == ([{"lora": {"rank": 2, "label": "small"}}], [3])


def test_an_option_of_another_task_is_refused_by_name(lowland: Run) -> None:
    code, _, err = lowland("train", "--first-column", "a")
    assert code == 2
    assert err == "lowland: task: classification has no field first_column; it belongs to pairs\n"


def test_help_shows_defaults_that_are_0_or_1(lowland: Run) -> None:
    out = " ".join(lowland("train", "--help")[1].split())
    assert out.count("(default: 0)") >= 1
    assert out.count("(default: 1)") >= 1


def test_texts_of_options_that_stand_twice_are_all_read(lowland: Run, tmp_path: Path) -> None:
    assert lowland("train")[0] == 0
    (run,) = (tmp_path / "runs").glob("classification-*")
    code, out, err = lowland("predict", str(run), "--text", "the firm gains", "--text", "a bank loses")
    assert code == 0, err
    assert [line.split(",")[0] for line in out.splitlines()] == ["text", "the firm gains", "a bank loses"]
    code, _, err = lowland("predict", str(run), "--text", "a", "--text-column", "b")
    assert code == 2
    assert "give the file with --data instead of --text" in err
    code, _, err = lowland("predict", str(run), "--text", "a", "--out", str(tmp_path))
    assert code == 2
    assert f"{tmp_path} is a folder; name a file to write, such as {tmp_path / 'answers.csv'}" in err


def test_an_unexpected_error_has_an_exit_code_of_its_own(
    lowland: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("lowland.evidence.readers.any_results.read_results", fail)
    code, out, err = lowland("verdict", "a.csv", "b.csv", small=False)
    assert (code, out) == (70, "")
    assert err == "lowland: an unexpected error: RuntimeError: out of luck; --debug shows where\n"
