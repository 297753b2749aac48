"""`lowland study …` and `--only` as a user meets them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.ground.listing import list_folder
from lowland.ground.record_files import read_record
from lowland.ground.store import Store
from tests.folders_of_runs import put_failure, put_run, put_stress_test, put_unfinished, tree

Run = Callable[..., tuple[int, str, str]]
STUDY = ("--methods", "lora", "flat-lora", "--seeds", "1", "2", "--epochs", "1", "--dtype", "fp32")


def without_costs(report: str) -> list[str]:
    """The lines of a report, without seconds and memory, and without the folder in its last lines."""
    costs = ("Next", "- one page", "- which examples", "- with the run", "Pareto front")
    lines = [line for line in report.splitlines() if " are in " not in line and not line.startswith(costs)]
    return [" | ".join(line.split("|")[:5]) if "MiB" in line or "---" in line else line for line in lines]


def test_shares_of_two_machines_are_brought_together(lowland: Run, tmp_path: Path) -> None:
    code, whole, err = lowland("compare", *STUDY, "--out", str(tmp_path / "whole"))
    assert code == 0, err
    shares = []
    for seed, places in (("1", (1, 2)), ("2", (3, 4))):
        shares.append(tmp_path / f"share-{seed}")
        code, out, err = lowland("compare", *STUDY, "--out", str(shares[-1]), "--only", f"seed={seed}")
        assert code == 0, err
        assert "--only selects 2 of the study's 4 runs" in err
        for place, method in zip(places, ("lora", "flat-lora"), strict=True):
            assert f"[{place}/4] {method}, seed {seed}: accuracy" in err
        assert "A part of the study: 2 of its 4 runs are finished" in out
        assert "interval" not in out
    merged = tmp_path / "merged"
    code, out, err = lowland("study", "merge", *map(str, shares), "--out", str(merged))
    assert code == 0, err
    assert sorted(path.name for path in merged.iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").glob("classification-*")
    )
    assert without_costs(out) == without_costs(whole)
    code, again, err = lowland("compare", *STUDY, "--out", str(merged))
    assert (code, err.count("found, accuracy")) == (0, 4)  # the same runs as those of the whole study
    assert without_costs(again) == without_costs(whole)


def test_the_last_share_in_one_folder_ends_with_the_report(lowland: Run, tmp_path: Path) -> None:
    _, out, _ = lowland("compare", *STUDY, "--only", "method=lora")
    assert "these are missing: flat-lora, seeds 1, 2." in out
    code, out, err = lowland("compare", *STUDY, "--only", "method=flat-lora")
    assert code == 0, err
    assert "A part of the study" not in out
    assert "4 runs are in " in out


def test_a_share_of_a_study_with_dtype_auto_says_what_other_machines_need(lowland: Run) -> None:
    study = [word for word in STUDY if word not in ("--dtype", "fp32")]
    _, _, err = lowland("compare", *study, "--only", "method=lora", "seed=1")
    (line,) = [line for line in err.splitlines() if line.startswith("--dtype auto is ")]
    assert line.endswith(" for all shares")
    assert "for all shares" not in lowland("compare", *STUDY, "--only", "method=lora", "seed=1")[2]


def test_an_ablation_has_shares_as_well(lowland: Run, tmp_path: Path, texts: Path, tiny_model: Path) -> None:
    options = ["--task", "classification", "--data", str(texts), "--model", str(tiny_model), "--epochs", "1"]
    options += [
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "runs"),
        "--axis",
        "rank=2,3",
        "--only",
        "method=lora-rank3",
    ]
    code, out, err = lowland("ablate", *options)
    assert code == 0, err
    assert "[3/3] lora-rank3, seed 1: accuracy" in err
    assert "1 of its 3 runs is finished, and these are missing: lora, seed 1; lora-rank2, seed 1." in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["compare", "--only", "seed=7"],
            "--only seed=7 selects nothing: no run has seed 7; the seeds are 42, 1337, 2024",
        ),
        (["compare", "--only", "sed=7"], "--only sed=7: unknown key 'sed'; did you mean 'seed'?"),
        (["compare", "--only"], "--only has no value; give one, as --only KEY=VALUE"),
        (
            ["compare", "--only", "seed=42", "--tune", "3"],
            "--only is given with --tune: each share would search",
        ),
        (["train", "--only", "seed=42"], "unknown option '--only'"),
        (["sweep", "--only", "seed=42"], "unknown option '--only'"),
    ],
)
def test_a_share_that_cannot_be_is_a_sentence(lowland: Run, arguments: list[str], sentence: str) -> None:
    code, out, err = lowland(*arguments, small=False)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_size_of_a_share_counts_and_not_that_of_the_study(lowland: Run, tmp_path: Path) -> None:
    seeds = [str(seed) for seed in range(300)]
    code, _, err = lowland(
        "compare", "--methods", "lora", "--seeds", *seeds, "--only", f"seed={','.join(seeds)}"
    )
    assert (code, "the study has 300 runs" in err) == (2, True)
    code, out, err = lowland(
        "compare", "--methods", "lora", "--seeds", *seeds, "--only", "seed=7", "--epochs", "1"
    )
    assert (code, "[8/300] lora, seed 7: accuracy" in err) == (0, True)
    assert "1 of its 300 runs is finished" in out


def test_ls_and_show_change_nothing(lowland: Run, tmp_path: Path) -> None:
    folders = [put_run(tmp_path), put_failure(tmp_path), put_unfinished(tmp_path), put_stress_test(tmp_path)]
    before = tree(tmp_path)
    code, out, err = lowland("study", "ls", str(tmp_path))
    assert (code, err) == (0, "")
    assert all(folder.name in out for folder in folders)
    code, out, _ = lowland("study", "ls", str(tmp_path), "--json")
    statuses = {entry["name"]: entry["status"] for entry in json.loads(out)}
    assert statuses == dict(
        zip(
            [folder.name for folder in folders], ["finished", "failed", "unfinished", "finished"], strict=True
        )
    )
    for folder in folders:
        code, out, err = lowland("study", "show", str(folder))
        assert (code, err) == (0, "")
        assert out.startswith(folder.name)
    assert tree(tmp_path) == before


def test_ls_lists_the_folder_runs_by_default(
    lowland: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lowland("study", "ls")[2] == (
        "lowland: runs does not exist; name the folder of a run, or a folder of runs\n"
    )
    folder = put_run(Path("runs"))
    assert folder.name in lowland("study", "ls")[1]


def test_rm_asks_for_yes(lowland: Run, tmp_path: Path) -> None:
    finished, failed = put_run(tmp_path), put_failure(tmp_path)
    code, out, err = lowland("study", "rm", str(tmp_path))
    assert (code, out) == (2, "")
    assert f"1 run that did not fail (1 finished): {finished.name}; add --yes to do it" in err
    code, out, _ = lowland("study", "rm", str(tmp_path), "--failed")
    assert (code, out) == (0, f"removed {failed} (failed)\n")
    assert lowland("study", "rm", str(tmp_path), "--failed")[:2] == (
        0,
        "nothing was removed: no run failed\n",
    )
    code, out, _ = lowland("study", "rm", str(tmp_path), "--yes")
    assert (code, out) == (0, f"removed {finished} (finished)\n")
    assert list_folder(tmp_path) == []


def test_retry_runs_what_failed_and_says_what_it_leaves(
    lowland: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    root = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr("lowland.study.run.fit", fail)
        assert lowland("train", "--seed", "1", "--epochs", "1")[0] == 1
        assert lowland("train", "--seed", "2", "--epochs", "1")[0] == 1
        assert lowland("study", "retry", str(root))[0] == 1  # they fail again
    damaged, failed = sorted(root.glob("classification-*"))
    (damaged / "record.json").write_text("{")
    code, out, err = lowland("study", "retry", str(root))
    assert code == 0, err
    assert f"lowland: not run again: {damaged / 'record.json'} is damaged" in err
    assert f"; remove it with lowland study rm --yes {damaged}, and repeat the study's command" in err
    assert "1 run again: 1 finished, 0 failed" in out
    assert read_record(failed).status == "finished"
    assert lowland("study", "retry", str(root))[:2] == (1, "No run can be run again.\n")
    assert lowland("study", "rm", str(damaged), "--yes")[0] == 0
    assert lowland("study", "retry", str(root))[:2] == (0, "There is nothing to run again.\n")


@pytest.mark.parametrize("verb", ["show", "rm", "retry"])
def test_a_mistyped_run_has_its_nearest_name(lowland: Run, tmp_path: Path, verb: str) -> None:
    folder = put_run(tmp_path)
    code, out, err = lowland("study", verb, str(folder.with_name(folder.name[:-1] + "x")))
    assert (code, out) == (2, "")
    assert err == (
        f"lowland: {tmp_path} has no run {folder.name[:-1]}x; did you mean {folder.name}?"
        f" lowland study ls {tmp_path} lists its runs\n"
    )


def test_a_record_that_is_no_object_is_damaged(lowland: Run, tmp_path: Path) -> None:
    folder = put_run(tmp_path)
    (folder / "record.json").write_text("[]")
    out = lowland("study", "ls", str(tmp_path))[1]
    assert "damaged" in out
    assert "it holds no JSON object" in out


def test_export_writes_one_table(lowland: Run, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    put_run(root, validation={"loss": 0.5})
    put_run(root, "full")
    stopped, out = put_unfinished(root), tmp_path / "scores.csv"
    put_stress_test(root)
    code, said, err = lowland("study", "export", str(root), "--out", str(out))
    assert (code, said) == (0, f"13 rows of 2 runs are in {out}\n")
    assert f"left out, since not finished: {stopped} (unfinished)" in err
    assert "left out: 1 stress test; only training runs are exported" in err
    table = pd.read_csv(out)
    assert list(table.columns[:6]) == ["task", "method", "seed", "split", "metric", "value"]
    assert (len(table), set(table["split"])) == (13, {"test", "shifted", "validation"})
    code, _, err = lowland("study", "export", str(root), "--out", str(out), "--predictions")
    assert (code, err) == (
        2,
        f"lowland: {out} exists; name another file with --out, or add --replace to replace it\n",
    )
    assert lowland("study", "export", str(root), "--out", str(out), "--predictions", "--replace")[0] == 0
    assert len(pd.read_csv(out)) == 120


@pytest.mark.parametrize("verb", ["show", "rm", "retry", "export"])
def test_what_holds_no_run_is_a_sentence(lowland: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    more = ["--out", str(tmp_path / "a.csv")] if verb == "export" else []
    for name, sentence in (
        ("nowhere", "does not exist; name the folder of a run, or a folder of runs"),
        ("file", "is a file; name the folder of a run, or a folder of runs"),
        ("empty", "holds no "),
    ):
        code, out, err = lowland("study", verb, str(tmp_path / name), *more)
        assert (code, out) == (2, "")
        assert sentence in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "a.csv").exists()


def test_there_must_be_a_finished_run_to_export(lowland: Run, tmp_path: Path) -> None:
    put_failure(tmp_path)
    code, _, err = lowland("study", "export", str(tmp_path), "--out", str(tmp_path / "a.csv"))
    assert (code, err) == (2, f"lowland: there is no finished training run to export in {tmp_path}\n")


def test_merge_says_what_it_leaves_out_and_what_is_missing(lowland: Run, tmp_path: Path) -> None:
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    put_run(first, "lora", 1)
    put_run(first, "full", 1)
    put_run(second, "lora", 2)
    failed = put_failure(second, "full", 2, "RuntimeError: no luck")
    merge = ("study", "merge", str(first), str(second), "--out", str(out))
    code, _, err = lowland(*merge)
    assert (code, out.exists()) == (2, False)
    assert "of toy, 1 run missing: full, seed 2; run them, or add --partial" in err
    code, said, err = lowland(*merge, "--partial")
    assert code == 0, err
    assert f"{failed} failed (RuntimeError: no luck), and is left out" in err
    assert "A part of the study: 3 of its 4 runs are finished, and these are missing: full, seed 2." in said
    assert said.endswith(f"3 runs of 2 shares are in {out}\n")


def test_merge_refuses_a_record_that_the_report_cannot_show(lowland: Run, tmp_path: Path) -> None:
    first, second = put_run(tmp_path / "first"), put_run(tmp_path / "second", seed=2, parameters={})
    shares = [str(folder.parent) for folder in (first, second)]
    code, out, err = lowland("study", "merge", *shares, "--out", str(tmp_path / "out"))
    assert (code, out, (tmp_path / "out").exists()) == (2, "", False)
    assert f"{second / 'record.json'} is damaged: it lacks parameters.trainable" in err


def test_two_processes_on_one_folder(lowland: Run, tmp_path: Path) -> None:
    failed = put_failure(tmp_path)
    with Store(tmp_path).claim(failed.name):
        assert "a process works on it" in lowland("study", "ls", str(tmp_path))[1]
        assert lowland("study", "rm", str(tmp_path))[0] == 2
        code, out, err = lowland("study", "retry", str(tmp_path))
        assert (code, out) == (1, "No run can be run again.\n")
        assert f"not run again: {failed}: a process works on it" in err
    assert failed.is_dir()


def test_the_commands_of_the_docs_run_as_written(
    lowland: Run, tmp_path: Path, texts: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(
        f"task: {{name: classification, data: {texts}}}\nmodel: {tiny_model}\nmethods: [lora]\nepochs: 1\n"
    )
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    shares, folder = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL))
    for line in shares:
        code, out, err = lowland(*shlex.split(line, comments=True)[1:], small=False)
        assert code == 0, err
    assert "lora" in out
    Path("whole").rename("runs")
    (run,) = Path("runs").glob("classification-lora-s42-*")
    for line in folder:
        words = shlex.split(line.replace("runs/classification-lora-s42-…", str(run)), comments=True)
        code, out, err = lowland(*words[1:], small=False)
        assert (code, err) == (0, "")
        assert out
    names: dict[str, Any] = {}
    (program,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(program, names)
    runs = [entry.record for entry in list_folder(Path("runs"))]
    table = pd.read_parquet("predictions.parquet")
    assert len(runs) == 3
    assert sum(record.data["sizes"]["test"] for record in runs) == len(table)
