"""Sharpness of runs: a long table with the rise of the loss of each example, for each measure, strength and draw."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.deploy.study_runs import TrainedRun, read_runs
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.progress import Progress
from lowland.measure.passes import losses_at
from lowland.measure.sharpness.ascent import Ball, ascend
from lowland.measure.sharpness.noise import mirrored, noisy_point
from lowland.measure.sharpness.settings import SharpnessSample, SharpnessSettings
from lowland.measure.space import ADAPTER, Space
from lowland.measure.subject import Sample, Subject, load_subject, missing_splits
from lowland.train.methods import method_named

EXPECTED, SAM, WORST, ADAPTIVE = "expected", "sam", "worst", "adaptive"
"""Names of the measures: E[L(theta + eps)] - L(theta); the rise by SAM's step; the largest rise in the ball; adaptive
m-sharpness."""
COLUMNS = (
    "task", "run", "method", "seed", "split", "space", "measure", "strength", "draw", "example", "group", "loss",
    "rise",
)  # fmt: skip
"""Columns of the table. `strength` is sigma, or the radius; `loss` is that at the trained weights."""

Rises = npt.NDArray[np.float64]
Step = Callable[[int], None]


@dataclass(frozen=True)
class Sharpness:
    """Sharpness of the runs of one study.

    Attributes:
        table: a row for each run, split, space, measure, strength, draw and example, with `COLUMNS`.
        ended: sentences on losses that were not finite, where a ladder ends.
        sizes: number of examples of each split.
    """

    table: pd.DataFrame
    ended: tuple[str, ...]
    sizes: dict[str, int]

    @property
    def methods(self) -> list[str]:
        """Labels of the methods."""
        return list(dict.fromkeys(self.table["method"]))


def measure_sharpness(
    settings: SharpnessSettings, sample: SharpnessSample | None = None, *, progress: Progress | None = None
) -> Sharpness:
    """Measure the sharpness of runs, one at a time, in float32.

    Args:
        settings: the runs and the measures.
        sample: the examples.
        progress: reports the passes over the examples that are done.

    Raises:
        Mistake: if the runs are not of one study or cannot be loaded, or one has no such space or split.
    """
    progress, sample = progress or Progress(), sample or SharpnessSample()
    runs = read_runs(settings.runs)
    if problems := _unfit(runs, settings):
        raise Mistake(*problems)
    tables: list[pd.DataFrame] = []
    ended: list[str] = []
    for number, run in enumerate(runs, start=1):
        meter = Meter(load_subject(run.folder, progress.remark), settings, sample)
        label = f"{run}, run {number} of {len(runs)}"
        progress.say(label)
        with progress.bar(meter.passes, unit="passes", label=label) as bar:
            tables += meter.measure(bar.step)
        ended += meter.ended
        del meter
        gc.collect()  # models hold themselves in cycles
    table = pd.concat(tables, ignore_index=True)
    sizes = {str(split): int(rows["example"].nunique()) for split, rows in table.groupby("split", sort=False)}
    return Sharpness(table, tuple(ended), sizes)


def _unfit(runs: Sequence[TrainedRun], settings: SharpnessSettings) -> list[str]:
    """Return sentences on runs that cannot be measured, and on an unknown reference."""
    methods = list(dict.fromkeys(run.record.method for run in runs))
    reference = settings.reference
    problems = [] if reference in (None, *methods) else [one_of("reference", reference, methods)]
    problems += missing_splits(runs, settings.splits)
    return problems + [
        f"{run.folder} is a run of {run.record.method}, which trains no network; leave it out"
        for run in runs
        if method_named(run.record.asked["method"]["name"]).counts_words
    ]


class Meter:
    """Measures one run in its spaces, on its splits.

    Args:
        subject: the run.
        settings: the measures.
        sample: the examples.

    Attributes:
        ended: sentences on losses that were not finite.
    """

    def __init__(self, subject: Subject, settings: SharpnessSettings, sample: SharpnessSample) -> None:
        self.subject, self.settings, self.asked = subject, settings, sample
        self.ended: list[str] = []
        names = [name for name in settings.spaces if name != ADAPTER or name in subject.spaces]
        self.spaces = [subject.space(name) for name in names or settings.spaces]

    @property
    def passes(self) -> int:
        """Number of passes over the examples of one split, forward or with a gradient."""
        noise = 2 * self.settings.draws * len(self.settings.sigmas)
        return len(self.settings.splits) * len(self.spaces) * (1 + noise + 2 * (1 + self.settings.steps))

    def measure(self, step: Step) -> list[pd.DataFrame]:
        """Return a table for each split and space, and report the passes."""
        tables = []
        for split in self.settings.splits:
            by_length = self._sample(split, self.asked.batch_size, by_length=True)
            at_random = self._sample(split, self.settings.m, by_length=False)
            tables += [self._in_space(space, split, by_length, at_random, step) for space in self.spaces]
        return tables

    def _sample(self, split: str, batch_size: int, *, by_length: bool) -> Sample:
        return self.subject.sample(
            split,
            limit=self.asked.limit,
            batch_size=batch_size,
            data=self.asked.data,
            test_data=self.asked.test_data,
            by_length=by_length,
        )

    def _in_space(
        self, space: Space, split: str, sample: Sample, at_random: Sample, step: Step
    ) -> pd.DataFrame:
        settings = self.settings
        loss = losses_at(space, space.center, sample.batches).numpy()
        step(1)
        if not np.isfinite(loss).all():
            raise Mistake(
                f"the loss of the run in {self.subject.folder} is not finite at its trained weights; leave it out"
            )
        parts = []
        rises = self._expected(space, sample, loss, step)
        for sigma, of_sigma in zip(settings.sigmas, rises, strict=False):
            parts += [_rows(EXPECTED, sigma, draw, sample, loss, each) for draw, each in enumerate(of_sigma)]
        if len(rises) < len(settings.sigmas):
            self._end(f"with noise of sigma {settings.sigmas[len(rises)]:g}", space, split)
        climbed = ascend(space, sample.batches, Ball(settings.radius, False), settings.steps)
        step(1 + settings.steps)
        for name, losses in ((SAM, climbed.first), (WORST, climbed.best)):
            parts += self._climbed(name, settings.radius, sample, loss, losses.numpy(), space, split)
        ball = Ball(settings.adaptive_radius, True)
        climbs = [ascend(space, [batch], ball, settings.steps) for batch in at_random.batches]
        step(1 + settings.steps)
        start, best = (
            np.concatenate([getattr(climb, place).numpy() for climb in climbs]) for place in ("start", "best")
        )
        of_batches = Sample(at_random.batches, at_random.examples, _batch_names(at_random))
        parts += self._climbed(ADAPTIVE, settings.adaptive_radius, of_batches, start, best, space, split)
        table = pd.concat(parts, ignore_index=True)
        record = self.subject.record
        return table.assign(
            task=record.task,
            run=self.subject.folder.name,
            method=record.method,
            seed=record.seed,
            split=split,
            space=space.name,
        )[list(COLUMNS)]

    def _expected(self, space: Space, sample: Sample, loss: Rises, step: Step) -> Rises:
        """Return rises (sigmas, draws, rows) by noise, each the mean of both signs, up to the first infinite one.

        With both signs, what is linear in the noise cancels: it has mean 0, and would be most of the spread.
        """
        sigmas, draws = self.settings.sigmas, self.settings.draws
        rises = np.full((len(sigmas), draws, len(loss)), np.nan)
        finite = len(sigmas)
        for draw in range(draws):
            for place in range(finite):
                point = noisy_point(space, sigmas[place], draw, self.asked.seed)
                losses = losses_at(space, point, sample.batches).numpy()
                losses += losses_at(space, mirrored(space, point), sample.batches).numpy()
                step(2)
                rises[place, draw] = losses / 2 - loss
                if not np.isfinite(rises[place, draw]).all():
                    finite = place
                    break
        return rises[:finite]

    def _climbed(
        self, name: str, radius: float, sample: Sample, loss: Rises, losses: Rises, space: Space, split: str
    ) -> list[pd.DataFrame]:
        """Return the rows of a maximum; none, and a sentence, if it is not finite."""
        if np.isfinite(losses).all():
            return [_rows(name, radius, 0, sample, loss, losses - loss)]
        self._end(f"within the radius {radius:g} ({name})", space, split)
        return []

    def _end(self, where: str, space: Space, split: str) -> None:
        self.ended.append(
            f"The loss of {self.subject} is not finite {where} in the {space.name} space on {split} data; there is no"
            " figure for it, nor for more noise."
        )


def _rows(measure: str, strength: float, draw: int, sample: Sample, loss: Rises, rise: Rises) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "measure": measure,
            "strength": strength,
            "draw": draw,
            "example": sample.examples,
            "group": sample.groups,
            "loss": loss,
            "rise": rise,
        }
    )


def _batch_names(sample: Sample) -> tuple[str, ...]:
    """Return a group for each row: its batch, whose examples share one maximum."""
    return tuple(f"batch {number}" for number, size in enumerate(sample.sizes) for _ in range(size))
