"""Time of the monitor's entries (docs/logging.md) as a share of the time of the steps between them, within trainings.

    python benchmarks/monitor.py --out docs/results/monitor.json

MiniLM is trained on the embedded data set, by each method in turn, round by round; there is an entry every ten steps,
which is the most that a long epoch has. "126 layers of 640x2048" stands for Gemma 3 270M: as many adapted layers, each
of the size of its largest; it takes no steps. An idle machine is asked for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from contest import ALPHA, R, write
from lowland.ground.runtime import keep_large_blocks
from lowland.lora import LoRALinear
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.train import fit as fitting
from lowland.train.monitor import Monitor

LAYERS, INS, OUTS = 126, 640, 2048


class Timed(Monitor):
    """The monitor, with the time of each step and each entry, and of what it does in all steps together."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.step_seconds: list[float] = []
        self.entry_seconds: list[float] = []
        self.hooks = 0.0
        latest.append(self)

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock of a step."""
        self.began, self.before = time.perf_counter(), self.hooks

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop it, and leave out what the monitor took."""
        self.step_seconds.append(time.perf_counter() - self.began - (self.hooks - self.before))

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Time the look at gradients and noise."""
        started = time.perf_counter()
        super().on_pre_optimizer_step(*args, **kwargs)
        self.hooks += time.perf_counter() - started

    def _enter(self, *args: Any) -> None:
        started, due = time.perf_counter(), self.logged != args[1].global_step
        super()._enter(*args)
        seconds = time.perf_counter() - started
        self.hooks += seconds
        if due:
            self.entry_seconds.append(seconds)


latest: list[Timed] = []
"""The monitors of the trainings so far."""


def in_trainings(recipe: Recipe, rounds: int) -> list[dict[str, Any]]:
    """Rows for the methods of a recipe, after a round that is not counted."""
    fitting.Monitor = Timed  # type: ignore[misc]
    watched: dict[str, list[Timed]] = {}
    for number in range(rounds + 1):
        for job in plan(recipe):
            fitting.fit(job)
            if number:
                watched.setdefault(job.method.label, []).append(latest[-1])
    return [
        {
            "model": "MiniLM",
            "method": label,
            "layers": len(monitors[0].factors),
            "steps": len(monitors[0].step_seconds),
            "entries": len(monitors[0].entry_seconds),
            "share_of_the_steps": round(
                median(monitor.hooks / sum(monitor.step_seconds) for monitor in monitors), 4
            ),
            "shares": [round(monitor.hooks / sum(monitor.step_seconds), 4) for monitor in monitors],
            "median_step_seconds": round(median(s for monitor in monitors for s in monitor.step_seconds), 4),
            "median_entry_seconds": round(
                median(s for monitor in monitors for s in monitor.entry_seconds), 5
            ),
        }
        for label, monitors in watched.items()
    ]


def alone(rounds: int) -> dict[str, Any]:
    """Row for an entry of a model with many layers; they share one frozen weight, to spare memory."""
    base = nn.Linear(INS, OUTS, bias=False)
    model = nn.ModuleList([LoRALinear(base, R, ALPHA) for _ in range(LAYERS)])
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.grad = torch.randn_like(value)
        if "lora_B" in name:
            nn.init.normal_(value, std=1e-3)
    arguments = SimpleNamespace(
        logging_steps=10, num_train_epochs=1, train_batch_size=4, gradient_accumulation_steps=1, world_size=1
    )
    state = SimpleNamespace(global_step=0, max_steps=10 * (rounds + 1), log_history=[{}])
    monitor = Timed(lambda values: None, 10**6)
    monitor.on_train_begin(arguments, state, None, model=model)
    monitor.on_epoch_begin(arguments, state, None)
    seconds = []
    for _ in range(rounds + 1):
        state.global_step += 9
        before = monitor.hooks
        monitor.on_pre_optimizer_step(arguments, state, None)
        state.global_step += 1
        monitor.on_epoch_end(arguments, state, None)
        seconds.append(monitor.hooks - before)
    return {
        "model": f"{LAYERS} layers of {INS}x{OUTS}, r = {R}",
        "median_entry_seconds": round(median(seconds[1:]), 5),
        "seconds": [round(s, 5) for s in seconds[1:]],
    }


def main() -> None:
    """Measure, print the rows, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["lora", "flat-lora"])
    parser.add_argument("--model", default=None, help="default: MiniLM")
    parser.add_argument("--max-train", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    arguments = parser.parse_args()
    keep_large_blocks()
    model = {} if arguments.model is None else {"model": arguments.model}
    recipe = Recipe(
        task="financial-demo",
        methods=arguments.methods,
        seeds=[1],
        epochs=2,
        dtype="fp32",
        max_train=arguments.max_train,
        **model,
    )
    rows = [*in_trainings(recipe, arguments.rounds), alone(4 * arguments.rounds)]
    for row in rows:
        print(row)
    write(arguments.out, "monitor", rows)


if __name__ == "__main__":
    main()
