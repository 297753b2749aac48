"""Several processes that train a run together: torchrun on two gloo processes against one process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as distributed
from safetensors.torch import load_file

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_record
from lowland.study.engines.processes import _check_shared_fate
from lowland.study.recipe import Recipe
from lowland.train import processes
from tests.study.test_run import comparable, recipe

__all__ = ["recipe"]

needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo",
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "lowland")


@pytest.fixture
def no_dropout(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model without dropout: masks depend on the number of processes."""
    folder = tmp_path / "no-dropout"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def words_of(texts: Path, model: Path, out: Path, *further: str) -> list[str]:
    """Words of a study with as many examples as fill the batches of two processes."""
    asked = "--task classification --methods lora flat-lora --seeds 1 --only seed=1 --rank 2 --lr 0.01 --dtype fp32"
    sizes = ["--max-train", "140", "--batch-size", "2", "--accumulation", "2", "--epochs", "3"]
    paths = ["--data", str(texts), "--model", str(model), "--out", str(out)]
    return ["compare", *asked.split(), *sizes, *paths, *further]


def launched(launcher: Sequence[str], words: Sequence[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, *launcher, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("adapter/*.safetensors")))


@needs_gloo
@pytest.mark.timeout(240)
def test_two_processes_train_the_run_of_one_process(texts: Path, no_dropout: Path, tmp_path: Path) -> None:
    from lowland.cli.main import main

    together = launched(TORCHRUN, words_of(texts, no_dropout, tmp_path / "two"))
    assert main(words_of(texts, no_dropout, tmp_path / "one")) == 0
    output, _ = together.communicate()
    assert together.returncode == 0, output
    assert output.count("2 processes train each run together") == 1
    assert output.count("data: 140 train") == 1
    assert output.count("--only selects 2 of the study's 2 runs") == 1
    assert output.count("with the run of the highest") == 1, "the processes print the report once"
    ones = sorted((tmp_path / "one").glob("classification-*"))
    assert [path.name for path in ones] == sorted(
        path.name for path in (tmp_path / "two").glob("classification-*")
    )
    for one in ones:
        two = tmp_path / "two" / one.name
        for name, tensor in adapter_of(one).items():
            torch.testing.assert_close(adapter_of(two)[name], tensor, atol=2e-5, rtol=1e-4)
        tables = [pd.read_parquet(folder / "predictions.parquet") for folder in (one, two)]
        pd.testing.assert_frame_equal(*tables, atol=1e-4)
        records = [read_record(folder) for folder in (one, two)]
        # The last batch is filled up with examples that are there already: the mean loss counts them twice.
        assert records[0].validation == pytest.approx(records[1].validation, abs=0.02)
        assert records[0].validation["accuracy"] == records[1].validation["accuracy"]
        assert "processes" not in records[0].environment
        assert records[1].environment["processes"] == 2


@needs_gloo
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_processes_that_start_again_leave_the_same_run(
    texts: Path, tiny_model: Path, tmp_path: Path
) -> None:
    script = tmp_path / "study.py"
    script.write_text(
        "import sys\nfrom lowland.train import checkpoints\ncheckpoints.EVERY_SECONDS = 0.0\n"
        "from lowland.cli.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    launcher = (*TORCHRUN[:-2], str(script))
    epochs = ("--epochs", "60")
    whole = launched(launcher, words_of(texts, tiny_model, tmp_path / "whole", *epochs))
    output, _ = whole.communicate()
    assert whole.returncode == 0, output
    killed = launched(launcher, words_of(texts, tiny_model, tmp_path / "killed", *epochs))
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob(".*/checkpoint-[1-9]*0/trainer_state.json")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    again = launched(launcher, words_of(texts, tiny_model, tmp_path / "killed", *epochs))
    output, _ = again.communicate()
    assert again.returncode == 0, output
    for folder in (tmp_path / "whole").glob("classification-*"):
        assert comparable(folder) == comparable(tmp_path / "killed" / folder.name)


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("compare", "--workers", "2"), "--workers cannot be combined"),
        (("compare", "--engine", "ray"), "--engine ray cannot be combined"),
        (("compare", "--tune", "2"), "a search cannot be combined"),
        (("sweep", "--trials", "2"), "a search cannot be combined"),
    ],
    ids=lambda value: value[-2] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_combined_is_said_before_data_are_read(
    lowland: Callable[..., tuple[int, str, str]], two_processes: None, options: tuple[str, ...], named: str
) -> None:
    code, _, err = lowland(*options, "--task", "classification", "--data", "nowhere.csv", "--methods", "lora")
    assert code == 2
    assert f"2 processes were started to train each run together, and {named}" in err


@pytest.mark.parametrize(("size", "code"), [("5", 2), ("6", 0)])
def test_batches_are_shared_equally(
    lowland: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: str,
    code: int,
) -> None:
    monkeypatch.setattr("lowland.cli.study.process_count", lambda: 2)
    monkeypatch.setattr("lowland.study.engines.processes.from_first", lambda value: value)
    ended, _, err = lowland(
        "compare", "--methods", "lora", "--seeds", "1", "--batch-size", size, "--epochs", "1"
    )
    assert ended == code
    if code:
        assert (
            err == "lowland: batch_size is 5, which 2 processes cannot share equally; give a multiple of 2\n"
        )
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("local", "said"), [("0", "lowland (process 3): 4 processes"), ("1", "")])
def test_a_mistake_of_all_processes_is_said_once_on_each_machine(
    lowland: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, local: str, said: str
) -> None:
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", local)):
        monkeypatch.setenv(name, value)
    code, _, err = lowland("compare", "--workers", "2", "--methods", "lora")
    assert code == 2
    assert err.startswith(said)
    assert bool(err) == bool(said)


def test_an_interrupt_is_said_by_the_first_process(
    lowland: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lowland.cli.main._dispatch", interrupt)
    assert lowland("tasks")[0] == 130
    monkeypatch.setenv("RANK", "1")
    assert lowland("tasks") == (130, "", "")


@pytest.mark.parametrize(
    ("failure", "shared"), [("Diverged: loss is nan", True), ("RuntimeError: no memory", False)]
)
def test_a_failure_of_one_process_stops_the_study(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: str, shared: bool
) -> None:
    record = type("Record", (), {"failure": f"{failure}\n\ntraceback"})
    monkeypatch.setattr("lowland.study.engines.processes.read_record", lambda folder: record)
    if shared:
        _check_shared_fate(tmp_path)
    else:
        with pytest.raises(Mistake, match=r"a run failed \(RuntimeError: no memory; see .*start again"):
            _check_shared_fate(tmp_path)


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.process_count(), processes.process_rank(), processes.is_first()) == (1, 0, True)
    assert processes.from_first("mine") == "mine"
