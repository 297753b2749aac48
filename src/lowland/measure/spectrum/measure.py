"""Spectra of the curvature of runs: a long table with eigenvalues, traces and densities, each with its error."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psutil
import torch
from torch import Tensor

from lowland.deploy.runs import check_weights
from lowland.deploy.study_runs import TrainedRun, read_runs
from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.ground.progress import Progress
from lowland.measure.space import ADAPTER, Space
from lowland.measure.spectrum.estimates import Explored, explore
from lowland.measure.spectrum.products import PRODUCTS
from lowland.measure.spectrum.settings import SpectrumSample, SpectrumSettings
from lowland.measure.subject import Sample, Subject, load_subject, missing_splits
from lowland.train.methods import method_named

LOSS, EIGENVALUE, SMALLEST, TRACE, DENSITY = "loss", "eigenvalue", "smallest_eigenvalue", "trace", "density"
"""Names of the quantities."""
BYTES = 4
"""Bytes of a number of Lanczos' vectors."""
COLUMNS = (
    "task", "run", "method", "seed", "split", "examples", "probes", "space", "matrix", "quantity", "index", "at",
    "value", "error",
)  # fmt: skip
"""Columns of the table. `examples` is the number of examples of the loss, `probes` that of the random vectors of trace
and density; `at` is the eigenvalue at which a density is given."""

Row = Mapping[str, object]


@dataclass(frozen=True)
class Spectra:
    """Spectra of the runs of one study.

    Attributes:
        table: a row for each run, space, matrix, quantity and index, with `COLUMNS`.
        split: part of the data that the loss is taken over.
        examples: number of its examples in the sample.
    """

    table: pd.DataFrame
    split: str
    examples: int

    @property
    def methods(self) -> list[str]:
        """Labels of the methods."""
        return list(dict.fromkeys(self.table["method"]))


def measure_spectrum(
    settings: SpectrumSettings, sample: SpectrumSample | None = None, *, progress: Progress | None = None
) -> Spectra:
    """Measure the spectra of runs, one at a time, in float32.

    Args:
        settings: the runs and the matrices.
        sample: the examples.
        progress: reports the products that are done.

    Raises:
        Mistake: if the runs are not of one study or cannot be loaded, one has no such space or split, or a loss is not
            finite.
    """
    progress, sample = progress or Progress(), sample or SpectrumSample()
    runs = read_runs(settings.runs)
    if problems := _unfit(runs, settings):
        raise Mistake(*problems)
    rows: list[Row] = []
    examples = 0
    for number, run in enumerate(runs, start=1):
        subject = load_subject(run.folder, progress.remark)
        spaces = _spaces(subject, settings)
        drawn = subject.sample(
            settings.split,
            limit=sample.limit,
            batch_size=sample.batch_size,
            data=sample.data,
            test_data=sample.test_data,
        )
        examples = len(np.unique(drawn.examples))
        label = f"{run}, run {number} of {len(runs)}"
        progress.say(label)
        total = len(spaces) * len(settings.matrices) * settings.products
        with progress.bar(total, unit="products", label=label) as bar:
            for space in spaces:
                rows += _measure(subject, space, drawn, settings, sample.seed, bar.step)
        del subject, spaces, drawn
        gc.collect()  # models hold themselves in cycles
    return Spectra(pd.DataFrame(rows, columns=list(COLUMNS)), settings.split, examples)


def _unfit(runs: Sequence[TrainedRun], settings: SpectrumSettings) -> list[str]:
    """Return sentences on runs that cannot be measured, and on an unknown reference."""
    methods = list(dict.fromkeys(run.record.method for run in runs))
    reference = settings.reference
    problems = [] if reference in (None, *methods) else [one_of("reference", reference, methods)]
    problems += missing_splits(runs, [settings.split])
    for run in runs:
        if method_named(run.record.asked["method"]["name"]).counts_words:
            problems.append(
                f"{run.folder} is a run of {run.record.method}, which trains no network; leave it out"
            )
            continue
        with gathering(problems):
            check_weights(run.folder, run.record)
    return problems


def _spaces(subject: Subject, settings: SpectrumSettings) -> list[Space]:
    """Return the spaces to measure; that of an adapter is left out where there is none, unless it is the only one.

    Raises:
        Mistake: if there is none to measure, or one has fewer weights than eigenvalues are asked for.
    """
    names = [name for name in settings.spaces if name != ADAPTER or name in subject.spaces]
    spaces = [subject.space(name) for name in names or settings.spaces]
    if problems := [
        f"top is {settings.top}, and the {space.name} space of {subject.folder} has {space.dimension} weights, and as"
        " many eigenvalues; lower --top"
        for space in spaces
        if settings.top > space.dimension
    ]:
        raise Mistake(*problems)
    if problems := _too_large(spaces, settings.steps):
        raise Mistake(*problems)
    return spaces


def _too_large(spaces: Sequence[Space], steps: int) -> list[str]:
    """Return a sentence for each space in which so many steps of Lanczos do not fit into memory."""
    free = psutil.virtual_memory().available
    sizes = {space.name: BYTES * steps * space.dimension for space in spaces}
    return [
        f"steps is {steps:,}, for which Lanczos keeps as many vectors of the {name} space: {size / 2**30:,.0f} GiB, and"
        f" {free / 2**30:.0f} GiB are free; lower --steps"
        for name, size in sizes.items()
        if size > free
    ]


def _measure(
    subject: Subject,
    space: Space,
    sample: Sample,
    settings: SpectrumSettings,
    seed: int,
    step: Callable[[], None],
) -> list[Row]:
    """Return the rows of one run in one space."""
    with torch.no_grad():
        losses = torch.cat([space.losses(space.center, batch) for batch in sample.batches]).double()
    if not losses.isfinite().all():
        raise Mistake(
            f"the loss of the run in {subject.folder} is not finite at its trained weights; leave it out"
        )
    record = subject.record
    about = {
        "task": record.task,
        "run": subject.folder.name,
        "method": record.method,
        "seed": record.seed,
        "split": settings.split,
        "examples": len(np.unique(sample.examples)),
        "probes": settings.probes,
        "space": space.name,
    }
    error = float(losses.std() / np.sqrt(len(losses)))
    rows: list[Row] = [{**about, "matrix": "", **_row(LOSS, 1, float(losses.mean()), error)}]
    for matrix in settings.matrices:

        def product(vector: Tensor, matrix: str = matrix) -> Tensor:
            image = PRODUCTS[matrix](space, sample.batches, vector)
            if not image.isfinite().all():
                raise Mistake(
                    f"derivatives of the loss of the run in {subject.folder} are not finite; leave it out"
                )
            step()
            return image

        explored = explore(
            product,
            next(iter(space.center.values())).new_empty(space.dimension),
            steps=settings.steps,
            probes=settings.probes,
            probe_steps=settings.probe_steps,
            seed=seed,
        )
        rows += [{**about, "matrix": matrix, **row} for row in _rows(explored, settings.top)]
    return rows


def _rows(explored: Explored, top: int) -> list[Row]:
    """Return the rows of one matrix."""
    ritz, trace, grid = explored.ritz, explored.trace(), explored.grid()
    density = explored.density(grid)
    largest = zip(ritz.values[:top], ritz.residuals[:top], strict=True)
    return [
        *(_row(EIGENVALUE, number, value, error) for number, (value, error) in enumerate(largest, start=1)),
        _row(SMALLEST, 1, ritz.values[-1], ritz.residuals[-1]),
        _row(TRACE, 1, float(trace.value), float(trace.error)),
        *(
            _row(DENSITY, number, value, error, at)
            for number, (at, value, error) in enumerate(
                zip(grid, density.value, density.error, strict=True), 1
            )
        ),
    ]


def _row(quantity: str, index: int, value: float, error: float, at: float = float("nan")) -> Row:
    return {"quantity": quantity, "index": index, "at": at, "value": value, "error": error}
