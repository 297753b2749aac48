"""Each example runs without a network, and its loss falls."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from peft import PeftModel

from lowland.flat import Noise

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("trl_sft", "trainer_dropin", "own_loop", "accelerate_loop", "lightning_module")
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"
    ),  # TRL 1.16 sets it
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),  # without a GPU
    pytest.mark.filterwarnings(
        "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"
    ),  # Lightning 2.6
    pytest.mark.filterwarnings("ignore:The .*_dataloader.* does not have many workers"),  # Lightning's advice
]
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run an example as a user would, but in this process, which has torch loaded; return its output."""

    def once(name: str, *options: str) -> str:
        AcceleratorState._reset_state(reset_partial_state=True)  # left by a Trainer of another test
        GradientState._reset_state()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.syspath_prepend(EXAMPLES)
    with torch.random.fork_rng():
        yield once


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_and_the_steps_have_noise(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[tuple[int, float]] = []

    def record_step(noise: Noise, step: int, *rest: int, **named: float) -> None:
        steps.append((step, noise.sigma(step)))
        begin(noise, step, *rest, **named)

    begin = Noise.begin_step
    monkeypatch.setattr(Noise, "begin_step", record_step)
    monkeypatch.chdir(tmp_path)
    out = run(name, "--rho", "0.05")
    numbers = re.search(r"loss ([\d.]+) -> ([\d.]+)", out)
    assert numbers, out
    first, last = map(float, numbers.groups())
    assert last < 0.8 * first
    assert sorted({step for step, _ in steps}) == list(range(30))
    assert steps[-1][1] == pytest.approx(0.05, rel=0.02)  # the ramp's end: the total is right
    assert not list(tmp_path.iterdir())  # no file is left behind


def test_peft_reads_the_checkpoint_of_the_drop_in(run: Run, tmp_path: Path) -> None:
    run("trainer_dropin", "--out", str(tmp_path))
    import tiny  # type: ignore[import-not-found]

    base, _ = tiny.classifier(None)
    assert PeftModel.from_pretrained(base, tmp_path).peft_config["default"].r == 8
