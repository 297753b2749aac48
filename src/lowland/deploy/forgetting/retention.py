"""Retention: scores of the base model and of tuned models on texts that they were not tuned on."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.deploy.find import CAUSAL_LM, Base, base_of_run, token_limit_of
from lowland.deploy.forgetting.measure import Measured, measure, score_of
from lowland.deploy.forgetting.settings import ColumnsOfTexts, RetentionSettings
from lowland.deploy.forgetting.states import Frozen, Step
from lowland.deploy.forgetting.texts import OtherTexts, read_other_texts
from lowland.deploy.load import load_base
from lowland.deploy.predict import load
from lowland.deploy.study_runs import TrainedRun, read_runs
from lowland.ground.mistakes import Mistake, gathering, one_of, plural
from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord
from lowland.train.methods import method_named

BASE = "base"
"""Name of the base model among the methods."""
COLUMNS = ("example", "seed", "method", "score", "text")
"""Columns of the table of scores."""


@dataclass(frozen=True)
class Retention:
    """Scores of a base model and of its tuned versions on the same texts.

    Attributes:
        table: a row for each method, seed and text, with `COLUMNS`. The base model's rows are repeated for each seed.
        score: name of the score.
        source: file of the texts.
        figures: figures of each method, by name: means over its seeds. The base model comes first.
        seeds: number of seeds of each method; of the base model 1.
        majority: share of the texts that have the most frequent label; None without labels.
    """

    table: pd.DataFrame
    score: str
    source: Path
    figures: Mapping[str, Mapping[str, float]]
    seeds: Mapping[str, int]
    majority: float | None

    @property
    def methods(self) -> list[str]:
        """Labels of the tuned methods."""
        return [name for name in self.figures if name != BASE]

    @property
    def n_texts(self) -> int:
        """Number of texts."""
        return int(self.table["example"].nunique())


def measure_retention(
    settings: RetentionSettings, columns: ColumnsOfTexts | None = None, *, progress: Progress | None = None
) -> Retention:
    """Measure the base model and each tuned model on the texts of a file, one model at a time, in float32.

    Args:
        settings: the runs and the file.
        columns: its columns; default: text, and label if it is there.
        progress: reports the texts that are done.

    Raises:
        Mistake: if the runs are not of one study or have no weights, the file cannot be used, or the models have no
            loss on texts and the file has no labels.
    """
    progress = progress or Progress()
    problems: list[str] = []
    runs: Sequence[TrainedRun] = ()
    texts: OtherTexts | None = None
    with gathering(problems):
        runs = read_runs(settings.runs, "retention reads texts")
        problems += _unfit_runs(runs, settings.reference)
    with gathering(problems):
        texts = read_other_texts(settings.data, columns or ColumnsOfTexts(), progress.remark)
    if problems or texts is None:
        raise Mistake(*problems)
    base = base_of_run(runs[0].folder, runs[0].record)
    check_measurable(base, texts, runs[0].record)
    length = token_limit_of(base, int(runs[0].record.asked["max_length"]))
    progress.say(
        f"{plural(len(runs), 'run')} and their base model on {plural(len(texts), 'text')} of {texts.source}"
    )
    with progress.bar(len(texts) * (1 + len(runs)), unit="texts") as bar:
        of_base = measure_base(base, length, texts, bar.step, progress)
        measured = [_measure_run(run, texts, bar.step) for run in runs]
    return _retention(texts, of_base, runs, measured)


def check_measurable(base: Base, texts: OtherTexts | None, record: RunRecord) -> None:
    """Check that models of a kind can be measured on texts, if there are any.

    Raises:
        Mistake: if the texts have no labels, and the models are no decoders with a language-model head.
    """
    if texts is not None and texts.labels is None and base.kind != CAUSAL_LM:
        raise Mistake(
            f"{texts.source} has no labels, and a model for {record.task} has no language-model head, so its loss on"
            " texts cannot be computed; name a column of labels with --label-column, and a probe is fitted"
        )


def measure_base(base: Base, length: int, texts: OtherTexts, step: Step, progress: Progress) -> Measured:
    """Measure a base model, which is loaded for it alone; remark on texts that are longer than it reads."""
    frozen = Frozen(load_base(base).model, base.tokenizer, length)
    if sentence := frozen.truncation(texts.texts).sentence(length):
        progress.remark(sentence)
    measured = measure(frozen, texts, step)
    del frozen
    gc.collect()
    return measured


def _measure_run(run: TrainedRun, texts: OtherTexts, step: Step) -> Measured:
    """Measure the model of a run, which is loaded for it alone."""
    predictor = load(run.folder)
    frozen = Frozen(predictor.model, predictor.setup.tokenizer, predictor.setup.max_length)
    measured = measure(frozen, texts, step)
    del predictor, frozen
    gc.collect()  # the next model is loaded into the memory of this one
    return measured


def _unfit_runs(runs: Sequence[TrainedRun], reference: str | None) -> list[str]:
    """Return sentences on runs without hidden states or with the base model's name, and on an unknown reference."""
    methods = list(dict.fromkeys(run.record.method for run in runs))
    problems = [] if reference in (None, *methods) else [one_of("reference", reference, methods)]
    for run in runs:
        if method_named(run.record.asked["method"]["name"]).counts_words:
            problems.append(
                f"{run.folder} is a run of {run.record.method}, which trains no language model and so forgets nothing;"
                " leave it out"
            )
        if run.record.method == BASE:
            problems.append(
                f"{run.folder} is a run with the label {BASE}, which here names the base model; leave it out, or train"
                " it with another label"
            )
    return problems


def _retention(
    texts: OtherTexts, of_base: Measured, runs: Sequence[TrainedRun], measured: Sequence[Measured]
) -> Retention:
    """Return the table of scores and the figures of each method."""
    seeds = sorted({run.record.seed for run in runs})
    parts = [_rows(texts, BASE, seed, of_base) for seed in seeds]
    figures: dict[str, Mapping[str, float]] = {BASE: of_base.figures}
    counts = {BASE: 1}
    for method in dict.fromkeys(run.record.method for run in runs):
        own = {
            run.record.seed: result
            for run, result in zip(runs, measured, strict=True)
            if run.record.method == method
        }
        parts += [_rows(texts, method, seed, result) for seed, result in sorted(own.items())]
        figures[method] = {
            name: float(np.mean([result.figures[name] for result in own.values()]))
            for name in of_base.figures
        }
        counts[method] = len(own)
    table = pd.concat(parts, ignore_index=True)
    return Retention(table, score_of(texts), texts.source, figures, counts, texts.majority)


def _rows(texts: OtherTexts, method: str, seed: int, measured: Measured) -> pd.DataFrame:
    columns = {
        "example": texts.examples,
        "seed": seed,
        "method": method,
        "score": measured.scores,
        "text": texts.texts,
    }
    return pd.DataFrame(columns)[list(COLUMNS)]
