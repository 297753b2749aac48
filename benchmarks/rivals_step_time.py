"""Step time of methods that seek flat minima, against plain LoRA, and against full fine-tuning if it takes part.

    python benchmarks/rivals_step_time.py --dtype fp32 bf16 --out docs/results/rivals-step-time.json

All in turns in one process. A step has two batches of half the size, which a row with an ascent step passes twice: its
callback's events, forward, backward, clipping, and the optimizer, on random tokens. A ratio is the median of the
rounds' own ratios. An idle machine is asked for; on a busy one, --clock cpu counts the processor's seconds.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from contest import ALPHA, SHAPES, R, Shape, backbone, in_turns, options, ratios, write
from lowland.ground.runtime import keep_large_blocks
from lowland.models.formats import hold_base_in
from lowland.models.load import LoadedModel
from lowland.train.method_callback import MethodCallback
from lowland.train.methods import callbacks_of, method_named
from lowland.train.settings import Settings

METHODS = (
    "lora", "flat-lora", "sam-lora", "sam-full", "ema+lora", "swa+lora", "neftune+lora",
    "bar", "bi-lora", "efm-lora", "mgpo", "ivon-lora", "full", "flat-full", "sam+full",
)  # fmt: skip
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
STEPS = 1_000
"""Length of the training, for schedules."""


class Step:
    """One row's optimizer step, with the events that `PairedTrainer` calls."""

    def __init__(self, name: str, shape: Shape, dtype: str) -> None:
        method = method_named(name)
        settings = Settings(rank=R, alpha=ALPHA).replace(**method.defaults)
        loaded = LoadedModel(backbone(shape))
        self.model: nn.Module = method.adapt(loaded, settings, 0).model
        if dtype == "bf16" and method.has_adapter:
            hold_base_in(self.model, torch.bfloat16)
        self.dtype = dtype
        self.clip = 1.0 if method.clips_gradient else 0.0
        self.tokens = torch.randint(
            0, 30_000, (2, shape.batch // 2, shape.tokens)
        )  # (batches, batch, tokens)
        groups = method.parameter_groups(self.model, settings) or [
            {"params": [value for value in self.model.parameters() if value.requires_grad]}
        ]
        self.optimizer: Any = (
            torch.optim.AdamW(groups, lr=settings.lr)
            if method.optimizer is None
            else method.optimizer(groups, settings)
        )
        self.callbacks = callbacks_of(method, settings, 0)
        self.state = SimpleNamespace(global_step=0, max_steps=STEPS, num_input_tokens_seen=0)
        self.arguments = SimpleNamespace(seed=0, include_num_input_tokens_seen="no")
        self.event("on_train_begin")

    def event(self, name: str) -> None:
        """Call an event of the Trainer."""
        known = {"model": self.model, "optimizer": self.optimizer}
        for callback in self.callbacks:
            getattr(callback, name)(self.arguments, self.state, None, **known)

    def batches(self) -> None:
        """Run the forward and backward passes of the step."""
        for tokens in self.tokens:
            with ExitStack() as stack:
                for callback in self.own:
                    stack.enter_context(callback.around_batch())
                with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bf16"):
                    hidden: Tensor = self.model(input_ids=tokens).last_hidden_state
                (hidden.float().square().mean() / 2).backward()

    @property
    def own(self) -> list[MethodCallback]:
        """The callbacks with further events."""
        return [callback for callback in self.callbacks if isinstance(callback, MethodCallback)]

    def first_pass(self) -> None:
        """Leave the gradient of the whole step in the parameters, for an ascent step."""
        self.model.zero_grad()
        self.batches()

    def __call__(self) -> None:
        """Take one step."""
        self.event("on_step_begin")
        for callback in self.own:
            callback.before_batches(self.first_pass)
        self.model.zero_grad()
        self.batches()
        for callback in self.own:
            callback.before_clipping()
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.event("on_pre_optimizer_step")
        self.optimizer.step()
        self.event("on_optimizer_step")
        self.model.zero_grad()
        self.state.global_step += 1
        self.event("on_step_end")


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = options(str(__doc__).splitlines()[0])
    parser.add_argument("--dtype", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="lora takes part in any case")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="seconds that pass, or of the processor"
    )
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    kept = keep_large_blocks()
    rows: list[dict[str, Any]] = []
    print(f"{'shape':16}{'dtype':6}{'method':14}{'median s':>9}{'/ LoRA':>8}")
    for shape in arguments.shapes:
        for dtype in arguments.dtype:
            torch.manual_seed(0)
            steps = {
                name: Step(name, SHAPES[shape], dtype) for name in dict.fromkeys(["lora", *arguments.methods])
            }
            seconds = in_turns(steps, arguments.rounds, CLOCKS[arguments.clock])
            by_reference = {name: ratios(seconds, name) for name in ("lora", "full") if name in seconds}
            for name, values in seconds.items():
                print(
                    f"{shape:16}{dtype:6}{name:14}{median(values):9.3f}{by_reference['lora'][name]:8.3f}",
                    flush=True,
                )
            row = {
                "shape": shape,
                "dtype": dtype,
                "clock": arguments.clock,
                "rounds": arguments.rounds,
                "blocks_kept": kept,
            }
            row |= {"ratio_to": by_reference}
            row["seconds"] = {name: [round(x, 4) for x in times] for name, times in seconds.items()}
            rows.append(row)
            write(arguments.out, "step time of rows", rows)


if __name__ == "__main__":
    main()
