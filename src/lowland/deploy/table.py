"""Predictions for a user's texts: those on the command line, or a table, whose columns are kept and can be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.deploy.find import fields_of, finished_record
from lowland.deploy.predict import Predictor, load, merged_fields, merged_inputs
from lowland.deploy.settings import PredictSettings
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.progress import Remark, no_remark
from lowland.tasks.base import Split, TaskFields
from lowland.tasks.labels import canonical_labels
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.tables import read_table
from lowland.tasks.table import task_named


@dataclass(frozen=True)
class Predictions:
    """Predictions for texts.

    Attributes:
        table: the columns of the texts (of a file: all its columns), then `predicted` and `p_<label>` for each label.
        scores: the task's scores by name, if labels were given.
    """

    table: pd.DataFrame
    scores: Mapping[str, float] | None = None

    def as_text(self, file: Path | None = None) -> str:
        """Return the table as CSV; for a file whose name ends in .jsonl, a JSON object a line."""
        if file is None or file.suffix.casefold() != ".jsonl":
            return self.table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        return self.table.to_json(orient="records", lines=True, force_ascii=False, date_format="iso")


def predict(settings: PredictSettings, remark: Remark = no_remark) -> Predictions:
    """Predict labels for the texts that the settings name.

    Args:
        settings: the model and the texts.
        remark: function that is called with a sentence if texts are longer than the model reads.

    Raises:
        Mistake: if the folder contains no model that can predict labels, or the file lacks what is needed.
    """
    if settings.data is None:
        return Predictions(_predict_texts(settings, remark))
    fields, usual_names = _of_model(settings.run)
    names = chosen_names(usual_names, settings.text_column)
    separator = settings.separator or getattr(fields, "separator", None)
    header = not (settings.no_header or getattr(fields, "no_header", False))
    roles = {**names, "label": settings.label_column}
    columns = read_table(settings.data, roles, separator=separator, header=header)
    table = read_form(settings.data, separator=separator, header=header).rows
    if columns.empty:
        raise Mistake(f"{settings.data} holds no rows")
    predictor = load(settings.run, merge=settings.merge)
    inputs = {name: list(columns[name]) for name in names}
    _remark_on_length(predictor, inputs, remark)
    answers = predictor.answer(inputs)
    if clash := [name for name in table.columns if name in answers.columns]:
        raise Mistake(
            f"{settings.data} has a column {clash[0]!r} already, as the predictions have; rename it"
        )
    scores = None if settings.label_column is None else _scores(predictor, inputs, columns["label"], answers)
    return Predictions(pd.concat([table.reset_index(drop=True), answers], axis=1), scores)


def chosen_names(names: Mapping[str, str], chosen: Sequence[str] | None) -> dict[str, str]:
    """Return the names of the input columns in a file: the chosen ones, else the usual ones.

    Args:
        names: usual name in a file of each input column.
        chosen: names of columns in the file to read instead, in the same order; None for the usual ones.

    Raises:
        Mistake: if the number of names is wrong.
    """
    if chosen is None:
        return dict(names)
    if len(chosen) != len(names):
        raise Mistake(
            f"text_column names {plural(len(chosen), 'column')}; the task reads {len(names)}: {', '.join(names)}"
        )
    return dict(zip(names, chosen, strict=True))


def _predict_texts(settings: PredictSettings, remark: Remark) -> pd.DataFrame:
    """Predict for the texts on the command line, two for each pair."""
    predictor = load(settings.run, merge=settings.merge)
    width, texts = len(predictor.task.input_columns), settings.text or ()
    columns = predictor.columns([texts[start : start + width] for start in range(0, len(texts), width)])
    _remark_on_length(predictor, columns, remark)
    return predictor.predict_columns(columns)


def _remark_on_length(predictor: Predictor, columns: Mapping[str, Sequence[str]], remark: Remark) -> None:
    if sentence := predictor.encode(columns).truncation.sentence(predictor.setup.max_length):
        remark(sentence)


def _of_model(folder: Path) -> tuple[TaskFields | None, dict[str, str]]:
    """Return the task fields of the run that a model comes from, and the names of the input columns in its file.

    The fields are None for a folder with only an adapter.
    """
    if (folder / "record.json").is_file():
        fields = fields_of(finished_record(folder))
        return fields, task_named(fields.name).input_names(fields)
    return (merged_fields(folder) if (folder / "config.json").is_file() else None), merged_inputs(folder)


def _scores(
    predictor: Predictor, inputs: Mapping[str, list[str]], labels: pd.Series, answers: pd.DataFrame
) -> dict[str, float]:
    """Return the task's scores of predictions against labels.

    Raises:
        Mistake: if a label is none of the model's.
    """
    task = predictor.task
    names = canonical_labels(labels) if task.has_classes else [str(target) for target in labels]
    if task.has_classes and (unknown := sorted(set(names) - set(predictor.setup.label_names))):
        raise Mistake(
            f"the label {unknown[0]!r} is none of the model's, which are {', '.join(predictor.setup.label_names)}; name"
            " another column with --label-column, or leave it out"
        )
    columns = {**{name: tuple(texts) for name, texts in inputs.items()}, task.target_column: tuple(names)}
    empty = ("",) * len(names)
    return task.summarise(Split(columns, np.arange(len(names)), empty, empty), answers)
