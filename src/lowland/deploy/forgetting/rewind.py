"""Rewind: scale the adapter of a run, choose the scale on validation data, and test it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lowland.deploy.find import Adapted, find_adapted
from lowland.deploy.forgetting.measure import Measured, measure, score_of
from lowland.deploy.forgetting.retention import check_measurable, measure_base
from lowland.deploy.forgetting.settings import ColumnsOfTexts, RewindSettings
from lowland.deploy.forgetting.states import Frozen, Step
from lowland.deploy.forgetting.texts import OtherTexts, read_other_texts
from lowland.deploy.predict import Predictor, load
from lowland.deploy.runs import data_of, finished_record
from lowland.ground.listing import no_such_run
from lowland.ground.mistakes import Mistake, gathering, plural
from lowland.ground.progress import Progress
from lowland.ground.records import RunRecord
from lowland.lora import scaled_lora
from lowland.tasks.examples import VALIDATION, Split, TaskData

AS_TRAINED = 1.0
"""Factor of the scale with which the adapter was trained."""
ROUNDING = 1e-6
"""Difference of a score from the recorded one that may be rounding."""


@dataclass(frozen=True)
class ScaledTest:
    """Test of a run whose adapter is scaled.

    Attributes:
        scores: the task's scores, by test set.
        class_scores: scores of each class, by test set.
        predictions: a row for each test example, as a record keeps them.
    """

    scores: dict[str, dict[str, float]]
    class_scores: dict[str, dict[str, dict[str, float]]]
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Rewound:
    """Run whose adapter was tried with several scales.

    Attributes:
        run: folder of the run.
        record: its record.
        validation: scores on the validation data, by scale.
        n_validation: number of validation examples.
        chosen: scale with the best score on them; of equal ones the smallest.
        tests: tests with the chosen scale and with the adapter as trained, by scale.
        retention: figures on texts of another task, by scale; empty if none were given.
        retention_of_base: the same of the base model; None without texts.
        retention_score: name of the score on these texts; None without them.
    """

    run: Path
    record: RunRecord
    validation: Mapping[float, Mapping[str, float]]
    n_validation: int
    chosen: float
    tests: Mapping[float, ScaledTest]
    retention: Mapping[float, Mapping[str, float]]
    retention_of_base: Mapping[str, float] | None
    retention_score: str | None

    @property
    def score(self) -> str:
        """Name of the score that the scale is chosen by."""
        return next(iter(self.validation[self.chosen]))


def rewind(
    settings: RewindSettings, columns: ColumnsOfTexts | None = None, *, progress: Progress | None = None
) -> Rewound:
    """Scale the adapter of a run by each factor, and score it on the run's validation data.

    The best scale and the adapter as trained are then tested once. Data are those of the record, compared by SHA-256;
    the model computes in the number format of its run, as in `lowland predict`. Retention is measured in float32.

    Args:
        settings: the run, the scales, and maybe a file of texts of another task.
        columns: columns of that file; default: text, and label if it is there.
        progress: reports the texts that are done.

    Raises:
        Mistake: if the run has no LoRA adapter, its data cannot be read as they were, or the texts cannot be used.
    """
    progress = progress or Progress()
    problems: list[str] = []
    texts: OtherTexts | None = None
    adapted: Adapted | None = None
    data: TaskData | None = None
    with gathering(problems):
        texts = _other_texts(settings, columns or ColumnsOfTexts(), progress)
    with gathering(problems):
        adapted = find_lora(settings.run)
    if adapted is not None and (record := adapted.record) is not None:
        with gathering(problems):
            data = data_of(settings.run, record, settings.data, settings.test_data)
        with gathering(problems):
            check_measurable(adapted.base, texts, record)
    if problems or adapted is None or data is None:
        raise Mistake(*problems)
    return _rewind(settings, adapted, data, texts, progress)


def _other_texts(settings: RewindSettings, columns: ColumnsOfTexts, progress: Progress) -> OtherTexts | None:
    """Read the texts of another task, if a file is named; raise `Mistake` if only its columns are."""
    if settings.retention is not None:
        return read_other_texts(settings.retention, columns, progress.remark)
    if columns.model_fields_set:
        option = min(columns.model_fields_set).replace("_", "-")
        raise Mistake(f"--{option} speaks of the file of --retention, which is not given; add it")
    return None


def find_lora(folder: Path) -> Adapted:
    """Find the LoRA adapter of a run.

    Raises:
        Mistake: if the folder holds no finished run, or one whose output is not linear in the scale of its adapter.
    """
    if not (folder / "record.json").is_file():
        raise Mistake(
            no_such_run(folder)
            or f"{folder} is no run (record.json); name the folder of one, whose validation data decide on the scale"
        )
    record = finished_record(folder)
    wanted = "rewind scales adapters of LoRA (lora, flat-lora, rslora, lora-plus, pissa); give such a run"
    if (folder / "model").is_dir():
        raise Mistake(f"{folder} is a run of {record.method}, which has no adapter to scale; {wanted}")
    adapted = find_adapted(folder)
    if not adapted.is_lowland_lora:
        raise Mistake(
            f"{folder} is a run of {record.method}, whose adapter is more than s·BA, so scaling s is not exact;"
            f" {wanted}"
        )
    return adapted


def _rewind(
    settings: RewindSettings, adapted: Adapted, data: TaskData, texts: OtherTexts | None, progress: Progress
) -> Rewound:
    record, scales = adapted.record, settings.scale
    assert record is not None
    validation = data.splits[VALIDATION]
    models = 0 if texts is None else len(scales) + 1
    progress.say(
        f"{plural(len(scales), 'scale')} on {plural(len(validation), 'validation example')} of {data.task}"
    )
    with progress.bar(len(validation) * len(scales) + models * len(texts or ()), unit="texts") as bar:
        of_base = (
            None
            if texts is None
            else measure_base(adapted.base, adapted.max_length, texts, bar.step, progress)
        )
        predictor = load(settings.run)
        scores = {scale: _score(predictor, validation, scale, bar.step) for scale in scales}
        best = choose_scale({scale: next(iter(values.values())) for scale, values in scores.items()})
        tests = {scale: _test(predictor, data, scale) for scale in sorted({best, AS_TRAINED})}
        retained = {} if texts is None else _retention(predictor, texts, scales, bar.step)
    for sentence in _other_scores(record, tests[AS_TRAINED]):
        progress.remark(sentence)
    return Rewound(
        run=settings.run,
        record=record,
        validation=scores,
        n_validation=len(validation),
        chosen=best,
        tests=tests,
        retention={scale: measured.figures for scale, measured in retained.items()},
        retention_of_base=None if of_base is None else of_base.figures,
        retention_score=None if texts is None else score_of(texts),
    )


def choose_scale(scores: Mapping[float, float]) -> float:
    """Choose the scale with the highest score; of equal ones the smallest, which changes the base model least."""
    return max(scores, key=lambda scale: (scores[scale], -scale))


def _score(predictor: Predictor, split: Split, scale: float, step: Step) -> dict[str, float]:
    """Return the task's scores of a split with a scaled adapter, the primary score first."""
    scores = predictor.task.summarise(split, _answer(predictor, split, scale))
    step(len(split))
    return scores


def _answer(predictor: Predictor, split: Split, scale: float) -> pd.DataFrame:
    """Return the predictions for a split with a scaled adapter."""
    names = [name for name in predictor.task.columns_to_read if name in split.columns]
    with scaled_lora(predictor.model, scale):
        return predictor.answer({name: split[name] for name in names})


def _test(predictor: Predictor, data: TaskData, scale: float) -> ScaledTest:
    """Test a scaled adapter on all test sets."""
    task, tables = predictor.task, []
    scores: dict[str, dict[str, float]] = {}
    class_scores: dict[str, dict[str, dict[str, float]]] = {}
    for name in data.test_sets:
        split = data.splits[name]
        answers = _answer(predictor, split, scale)
        scores[name] = task.summarise(split, answers)
        class_scores[name] = task.summarise_classes(split, answers)
        tables.append(task.predictions(name, split, answers))
    return ScaledTest(scores, class_scores, pd.concat(tables, ignore_index=True))


def _retention(
    predictor: Predictor, texts: OtherTexts, scales: Sequence[float], step: Step
) -> dict[float, Measured]:
    """Measure the model with each scale on texts of another task; the predictor cannot be used afterwards."""
    frozen = Frozen(predictor.model, predictor.setup.tokenizer, predictor.setup.max_length)
    measured = {}
    for scale in scales:
        with scaled_lora(predictor.model, scale):
            measured[scale] = measure(frozen, texts, step)
    return measured


def _other_scores(record: RunRecord, test: ScaledTest) -> list[str]:
    """Return a sentence for each test set on which the adapter as trained does not score as its record says."""
    sentences = []
    for name, scores in test.scores.items():
        score, value = next(iter(scores.items()))
        recorded = record.scores.get(name, {}).get(score)
        if recorded is not None and abs(recorded - value) > ROUNDING:
            sentences.append(
                f"with scale 1, {score} on {name} is {value:.4f}, and the record says {recorded:.4f}; another machine"
                " may round otherwise"
            )
    return sentences
