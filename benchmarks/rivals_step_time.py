"""Step time of methods that seek flat minima, against plain LoRA (full fine-tuning for those that train all weights).

    python benchmarks/rivals_step_time.py --dtype fp32 bf16 --out docs/results/rivals-step-time.json

A contestant is a method by its name, as in `lowland compare --methods`: its model, callbacks and optimizer, in the
order of `PairedTrainer`. All in turns in one process. A ratio is the median of the rounds' own ratios. An idle machine
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from contest import ALPHA, SHAPES, R, Shape, backbone, in_turns, options, ratios, write
from lowland.models.formats import hold_base_in
from lowland.models.load import LoadedModel
from lowland.train.method_callback import MethodCallback
from lowland.train.methods import method_named, prefix_callbacks
from lowland.train.settings import Settings

METHODS = (
    "lora",
    "flat-lora",
    "sam-lora",
    "sam-full",
    "ema+lora",
    "swa+lora",
    "full",
    "flat-full",
    "sam+full",
)
SETTINGS = Settings(rank=R, alpha=ALPHA, lr=1e-4, swa_share=1.0)
"""Settings of all methods; SWA averages at every step."""
STEPS = 1000
"""Optimizer steps of the training that the callbacks are told of."""


class Step:
    """One contestant's optimizer step on random tokens: callbacks, forward and backward passes, the optimizer."""

    def __init__(self, name: str, shape: Shape, dtype: str) -> None:
        method, self.dtype = method_named(name), dtype
        self.model = method.adapt(LoadedModel(backbone(shape)), SETTINGS, 0).model.train()
        if dtype == "bf16" and method.has_adapter:
            hold_base_in(self.model, torch.bfloat16)
        self.tokens = torch.randint(0, 30_000, (shape.batch, shape.tokens))  # (batch, tokens)
        trained = [value for value in self.model.parameters() if value.requires_grad]
        groups = method.parameter_groups(self.model, SETTINGS) or [
            {"params": trained, "weight_decay": SETTINGS.weight_decay}
        ]
        make = method.optimizer or (lambda groups, settings: torch.optim.AdamW(groups, lr=settings.lr))
        self.optimizer = make(groups, SETTINGS)
        self.callbacks = prefix_callbacks(method, SETTINGS, 0)
        self.ours = [callback for callback in self.callbacks if isinstance(callback, MethodCallback)]
        self.state = SimpleNamespace(global_step=0, max_steps=STEPS)
        self.tell(TrainerCallback.on_train_begin)

    def tell(self, event: Callable[..., Any]) -> None:
        """Tell all callbacks of an event."""
        arguments = SimpleNamespace(seed=0)
        for callback in self.callbacks:
            handler = getattr(callback, event.__name__)
            handler(arguments, self.state, None, model=self.model, optimizer=self.optimizer)

    def run_batch(self) -> None:
        """Run the forward and backward pass."""
        with ExitStack() as stack:
            for callback in self.ours:
                stack.enter_context(callback.around_batch())
            with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bf16"):
                hidden: Tensor = self.model(input_ids=self.tokens).last_hidden_state
            hidden.float().square().mean().backward()

    def __call__(self) -> None:
        """Take one step."""
        self.tell(TrainerCallback.on_step_begin)
        for callback in self.ours:
            callback.before_batches(self.run_batch)
        self.optimizer.zero_grad()
        self.run_batch()
        self.tell(TrainerCallback.on_pre_optimizer_step)
        self.optimizer.step()
        self.tell(TrainerCallback.on_optimizer_step)
        self.optimizer.zero_grad()
        self.state.global_step += 1
        self.tell(TrainerCallback.on_step_end)


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--dtype", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="lora and full are added")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    names = dict.fromkeys(["lora", "full", *arguments.methods])
    rows: list[dict[str, Any]] = []
    print(f"{'shape':16}{'dtype':6}{'method':14}{'median s':>9}{'/ LoRA':>8}{'/ full':>8}")
    for shape in arguments.shapes:
        for dtype in arguments.dtype:
            torch.manual_seed(0)
            steps = {name: Step(name, SHAPES[shape], dtype) for name in names}
            seconds = in_turns(steps, arguments.rounds)
            to = {reference: ratios(seconds, reference) for reference in ("lora", "full")}
            for name, values in seconds.items():
                columns = "".join(f"{ratio[name]:8.3f}" for ratio in to.values())
                print(f"{shape:16}{dtype:6}{name:14}{median(values):9.3f}{columns}", flush=True)
            row = {"shape": shape, "dtype": dtype, "rounds": arguments.rounds, "ratio_to": to}
            row["seconds"] = {name: [round(x, 4) for x in values] for name, values in seconds.items()}
            rows.append(row)
            write(arguments.out, "step time of rivals", rows)


if __name__ == "__main__":
    main()
