"""What can be asked of the noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowland.flat.schedule import SCHEDULES
from lowland.ground.mistakes import Mistake, one_of

STEP, MICRO_BATCH = "step", "micro-batch"
WEIGHT, TOKEN = "weight", "token"


@dataclass(frozen=True)
class FlatConfig:
    """What is asked of Flat-LoRA's noise.

    Attributes:
        rho: the noise's strength where the schedule is 1: sigma relative to the weight's rows. 0.05 is what the
            authors' own commands use; 0 is LoRA to the bit.
        schedule: of sigma / rho over the training's progress, from 0 to 1: "cosine" (the paper's ramp, ½ (1 − cos)),
            "linear" (a ramp, too), "constant", or a function of the progress.
        every: only each so many optimizer steps have noise; those between are LoRA's.
        layers: the adapted layers that get noise: names, their last parts, or regular expressions for whole names;
            None for all.
        vectors: noise on the norms' weights and biases, and on the adapted layers' biases, too.
        redraw: "step", one draw for all the micro-batches of an optimizer step, as the paper has it; or
            "micro-batch".
        per_rank: under data parallelism, a draw of its own for each process.
        noise: "weight", the paper's; or "token", drawn for each token's output with the same variance (local
            reparameterisation: Kingma et al., 2015). For study: slower, and in memory with its outputs.
        seed: of the noise.

    Raises:
        Mistake: for a value out of its range; all of them in one.
    """

    rho: float = 0.05
    schedule: str | Callable[[float], float] = "cosine"
    every: int = 1
    layers: str | Sequence[str] | None = None
    vectors: bool = False
    redraw: str = STEP
    per_rank: bool = False
    noise: str = WEIGHT
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not _is_number(self.rho) or not (self.rho >= 0 and math.isfinite(self.rho)):
            problems.append(f"rho is {self.rho}; it must be a number of at least 0 (0.05 is usual)")
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            problems.append(one_of("schedule", self.schedule, [*SCHEDULES, "a function"]))
        if not isinstance(self.every, int) or self.every < 1:
            problems.append(f"every is {self.every}; it must be a whole number of optimizer steps, from 1")
        if self.redraw not in (STEP, MICRO_BATCH):
            problems.append(one_of("redraw", self.redraw, [STEP, MICRO_BATCH]))
        if self.noise not in (WEIGHT, TOKEN):
            problems.append(one_of("noise", self.noise, [WEIGHT, TOKEN]))
        if problems:
            raise Mistake(*problems)

    def strength(self, progress: float) -> float:
        """The schedule's value at a progress in [0, 1].

        Raises:
            Mistake: if a function of the user's gives no number of at least 0.
        """
        schedule = self.schedule if callable(self.schedule) else SCHEDULES[self.schedule]
        value = schedule(min(progress, 1.0))
        if not _is_number(value) or not (value >= 0 and math.isfinite(value)):
            raise Mistake(
                f"the schedule gives {value} at progress {progress:g}; it must give numbers of at least 0"
            )
        return float(value)


def warn_of_much_noise(rho: float, measured: str = "") -> None:
    """Warn of a rho above 1; `measured` says what it does to the loss."""
    if rho > 1:
        warnings.warn(
            f"rho is {rho:g}: the noise on each layer's output is larger than the output itself{measured}; usual are"
            " 0.01 to 0.2",
            stacklevel=3,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
