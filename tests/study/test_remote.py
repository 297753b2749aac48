"""Studies whose runs are stored behind a URL: trained once for all machines, and continued on any of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from lowland.deploy.predict import load
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.remote import RemoteFolder
from lowland.study import run as study
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.train import checkpoints
from tests.ground.test_remote_store import Machine, machine
from tests.study.test_run import comparable, recipe
from tests.train.test_checkpoints import Stop

__all__ = ["machine", "recipe"]
MakeRecipe = Callable[..., Recipe]


def test_a_study_is_trained_once_for_all_machines(
    recipe: MakeRecipe, bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    asked = recipe(out=f"{bucket}/runs", seeds=[1])
    first = [comparable(folder) for folder in run_study(asked)]
    machine("b")
    monkeypatch.setattr(study, "fit", None)
    stream = io.StringIO()
    folders = run_study(asked, progress=Progress(stream))
    assert [comparable(folder) for folder in folders] == first
    assert f"2 finished runs fetched from {bucket}/runs\n" in stream.getvalue()
    assert stream.getvalue().count("found, accuracy") == 2


class Count(TrainerCallback):
    """Counts optimizer steps."""

    steps = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps += 1


def test_a_run_goes_on_on_another_machine_to_the_bit(
    recipe: MakeRecipe, bucket: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    asked = recipe(methods=["flat-lora"], seeds=[1], epochs=4, out=f"{bucket}/runs")
    (whole,) = run_study(asked.replace(out=str(tmp_path / "undisturbed")))
    machine("a")
    monkeypatch.setattr(study, "training_bar", lambda *rest: nullcontext([Stop(25)]))
    with pytest.raises(KeyboardInterrupt):
        run_study(asked)
    machine("b")
    count = Count()
    monkeypatch.setattr(study, "training_bar", lambda *rest: nullcontext([count]))
    (folder,) = run_study(asked)
    assert comparable(folder) == comparable(whole)
    assert count.steps == 40 - 20
    machine("a")  # it has checkpoints of its own still
    assert [comparable(folder) for folder in run_study(asked)] == [comparable(whole)]
    there = RemoteFolder(f"{bucket}/runs")
    assert there.files(f".{folder.name}.checkpoints") == {}


def test_a_training_outlives_a_checkpoint_that_cannot_be_copied(
    recipe: MakeRecipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    real = RemoteFolder.upload

    def upload(self: RemoteFolder, folder: Path, name: str) -> None:
        if name.startswith("."):
            raise Mistake("the line is cut")
        real(self, folder, name)

    monkeypatch.setattr(RemoteFolder, "upload", upload)
    stream = io.StringIO()
    out = f"file://{tmp_path}/remote"
    (folder,) = run_study(recipe(methods=["lora"], seeds=[1], out=out), progress=Progress(stream))
    assert "[1/1] lora, seed 1: its checkpoint was not copied: the line is cut\n" in stream.getvalue()
    assert comparable(folder)["record"]["status"] == "finished"


def test_what_cannot_be_stored_is_not_trained(
    recipe: MakeRecipe, bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("a")
    monkeypatch.setattr(study, "fit", None)
    with pytest.raises(Mistake, match="s3://no-such-bucket/runs does not exist"):
        run_study(recipe(out="s3://no-such-bucket/runs"))


Lowland = Callable[..., tuple[int, str, str]]


def test_the_command_line_takes_urls(lowland: Lowland, bucket: str, machine: Machine, tmp_path: Path) -> None:
    machine("a")
    code, out, err = lowland("train", "--seed", "1", "--out", f"{bucket}/runs")
    assert code == 0, err
    (name,) = RemoteFolder(f"{bucket}/runs").folders()
    assert f"The run is in {bucket}/runs/{name}\nNext: lowland predict {bucket}/runs/{name} --text …" in out
    machine("b")
    run = f"{bucket}/runs/{name}"
    code, out, err = lowland("predict", run, "--text", "the firm rises")
    assert (code, out.splitlines()[0]) == (0, "text,predicted,p_bad,p_good"), err
    code, out, err = lowland("predict", f"{bucket}/runs", "--text", "the firm rises")
    assert (code, err) == (2, f"lowland: {bucket}/runs is a folder of 1 run; name one of them: {name}\n")
    code, out, err = lowland("predict", f"{bucket}/none", "--text", "the firm rises")
    sentence = f"lowland: {bucket}/none holds no run; name the URL of a run, or of a folder of runs\n"
    assert (code, err) == (2, sentence)
    assert list(load(run).predict(["the firm rises"])["predicted"]) in (["good"], ["bad"])
    options = ("--limit", "3", "--corruptions", "casing", "--levels", "heavy", "--out", f"{bucket}/stress")
    code, out, err = lowland("stress", "adapter", f"{bucket}/runs", *options)
    assert code == 0, err
    (test,) = RemoteFolder(f"{bucket}/stress").folders()
    machine("c")
    code, out, err = lowland("stress", "adapter", run, *options)
    assert (code, "1 run of classification" in err, "found, " in err) == (0, True, True), err
    code, out, err = lowland("stress", "report", f"{bucket}/stress/{test}")
    assert (code, "casing" in out) == (0, True), err


def test_shares_of_two_machines_meet_behind_the_url(lowland: Lowland, bucket: str, machine: Machine) -> None:
    options = ("--methods", "lora", "--seeds", "1", "2", "--out", f"{bucket}/runs", "--dtype", "fp32")
    machine("a")
    code, out, err = lowland("compare", *options, "--only", "seed=1")
    assert (code, "with the same --out" in out) == (0, True), (out, err)
    machine("b")
    code, out, err = lowland("compare", *options, "--only", "seed=2")
    assert (code, f"2 runs are in {bucket}/runs" in out) == (0, True), err
    machine("c")
    code, out, err = lowland("study", "ls", f"{bucket}/runs")
    assert (code, "2 runs: 2 finished" in out.replace("Runs", "runs")) == (0, True), (out, err)
    code, out, err = lowland("study", "retry", f"{bucket}/runs")
    assert (code, "Traceback" in err) == (2, False)


def test_trackers_need_a_folder(recipe: MakeRecipe, bucket: str) -> None:
    with pytest.raises(
        Mistake, match=r"trackers write into a folder beside the runs, and out is s3://.*/runs;"
    ):
        plan(recipe(trackers=["tensorboard"], out=f"{bucket}/runs"))


def test_files_that_are_written_here_have_no_url(lowland: Lowland, machine: Machine, tmp_path: Path) -> None:
    machine("a")
    for verb in (("merge", str(tmp_path)), ("predict", str(tmp_path), "--text", "rises")):
        code, _, err = lowland(*verb, "--out", "ftp://me:s3cr3t@host/file.csv")
        sentence = "lowland: ftp://host/file.csv is a URL; name a file or folder of this machine\n"
        assert (code, err) == (2, sentence)


def test_no_secret_of_a_url_is_printed(lowland: Lowland, machine: Machine) -> None:
    machine("a")
    url = "ftp://me:s3cr3t@127.0.0.1:1/runs"
    for options in (("--out", url), ("--out", url, "--print-config"), ("--out", url, "--debug")):
        code, out, err = lowland("train", "--seed", "1", *options)
        assert code == (0 if "--print-config" in options else 2)
        assert "s3cr3t" not in out + err
        assert "ftp://127.0.0.1:1/runs" in out + err
