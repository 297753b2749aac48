"""Predictions for a user's texts: those on the command line, or a table, whose columns are kept and can be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lowland.deploy.predict import Predictor, load, task_in
from lowland.deploy.settings import JSON_LINES, PredictSettings
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.progress import Remark, no_remark
from lowland.tasks.base import Task
from lowland.tasks.examples import Split
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.images import check_images, images_in
from lowland.tasks.readers.raw_table import RawTable
from lowland.tasks.readers.tables import pick_columns


@dataclass(frozen=True)
class Predictions:
    """Predictions for texts.

    Attributes:
        table: the columns of the texts (of a file: all its columns), then `predicted` and `p_<label>` for each label.
        scores: the task's scores by name, if labels were given.
    """

    table: pd.DataFrame
    scores: Mapping[str, float] | None = None

    def as_text(self, path: Path | None = None) -> str:
        """Return the content of a file with the table: JSON lines if its name ends in .jsonl, else CSV."""
        if path is not None and path.suffix.casefold() == JSON_LINES:
            return self.table.to_json(orient="records", lines=True, force_ascii=False, double_precision=4)
        return self.table.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def predict(settings: PredictSettings, remark: Remark = no_remark) -> Predictions:
    """Predict labels for the texts that the settings name.

    Args:
        settings: the model and the texts.
        remark: function that is called with a sentence if texts are longer than the model reads.

    Raises:
        Mistake: if the folder contains no model that can predict, or the file lacks what is needed.
    """
    if settings.data is None:
        return Predictions(_predict_texts(settings, remark))
    task, fields, usual_names = task_in(settings.run)
    check_source(task, settings.data)
    if settings.data.is_dir():
        return _predict_folder(settings, settings.data)
    names = chosen_names(usual_names, settings.text_column)
    separator = settings.separator or getattr(fields, "separator", None)
    header = not (settings.no_header or getattr(fields, "no_header", False))
    raw = read_form(settings.data, separator=separator, header=header)
    chats = task.chats_in(raw, {**names, "completion": getattr(fields, "completion_column", "completion")})
    if chats is None:
        columns = _inputs_in(raw, names, settings, header, task)
        table = raw.rows.reset_index(drop=True)
        cells = None if settings.label_column is None else list(table[settings.label_column])
    else:
        columns = table = chats
        cells = _targets_in_chats(settings, chats, task)
    if columns.empty:
        raise Mistake(f"{settings.data} holds no rows")
    predictor = load(settings.run, merge=settings.merge)
    inputs = {name: list(columns[name]) for name in task.columns_to_read if name in columns}
    _remark_on_length(predictor, inputs, remark)
    answers = predictor.answer(inputs)
    if clash := [name for name in table.columns if name in answers.columns]:
        raise Mistake(
            f"{settings.data} has a column {clash[0]!r} already, as the predictions have; rename it"
        )
    scores = None if cells is None else _scores(predictor, inputs, cells, answers)
    return Predictions(pd.concat([table, answers], axis=1), scores)


def _inputs_in(
    raw: RawTable, names: Mapping[str, str], settings: PredictSettings, header: bool, task: Task
) -> pd.DataFrame:
    """Return the input columns of a table of texts, and its labels; raise `Mistake` if they are wrong."""
    unchecked = () if task.targets_are_texts else ("label",)
    options = dict.fromkeys(names, f"--text-column {' '.join(name.upper() for name in names)}")
    return pick_columns(
        raw, {**names, "label": settings.label_column}, header=header, unchecked=unchecked, options=options
    )


def _targets_in_chats(settings: PredictSettings, chats: pd.DataFrame, task: Task) -> list[str] | None:
    """Return the completions of a file of chats, if they should be scored.

    Raises:
        Mistake: if another column is asked for, or a chat ends without a completion.
    """
    if settings.label_column is None:
        return None
    if settings.label_column != task.target_column:
        raise Mistake(
            f"{settings.data} contains chats, whose completions are the column {task.target_column}, not"
            f" {settings.label_column!r}; use --label-column {task.target_column}"
        )
    without = sum(target is None for target in chats[task.target_column])
    if without:
        raise Mistake(
            f"{plural(without, 'chat')} of {settings.data} {'ends' if without == 1 else 'end'} with the user's turn, so"
            " there is nothing to score against; leave out those, or --label-column"
        )
    return list(chats[task.target_column])


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


def check_source(task: Task, data: Path) -> None:
    """Check that a task reads what a file or a folder holds: texts, or images.

    Raises:
        Mistake: if it does not.
    """
    if data.is_dir() and task.reads != "image":
        raise Mistake(f"{data} is a folder; the task {task.name} reads {task.reads}s, from a file")
    if not data.is_dir() and task.reads == "image":
        raise Mistake(f"{data} is no folder; the task {task.name} reads images, from a folder")


def _predict_folder(settings: PredictSettings, folder: Path) -> Predictions:
    """Predict for the images in a folder and the folders in it, whose names are the column `folder`."""
    paths = images_in(folder)
    check_images(paths, str(folder))
    inner = [path.relative_to(folder).parts for path in paths]
    table = pd.DataFrame({"image": list(map(str, paths))})
    table["folder"] = [parts[0] if len(parts) > 1 else "" for parts in inner]
    if settings.label_column not in (None, "folder"):
        raise Mistake(
            f"a folder of images has no column {settings.label_column!r}; its column of labels is folder"
        )
    predictor = load(settings.run, merge=settings.merge)
    inputs = {"image": list(table["image"])}
    answers = predictor.answer(inputs)
    scores = (
        None if settings.label_column is None else _scores(predictor, inputs, list(table["folder"]), answers)
    )
    return Predictions(pd.concat([table, answers], axis=1), scores)


def _predict_texts(settings: PredictSettings, remark: Remark) -> pd.DataFrame:
    """Predict for the texts, or the images, on the command line; two texts for each pair."""
    predictor = load(settings.run, merge=settings.merge)
    reads = predictor.task.reads
    if (texts := getattr(settings, reads)) is None:
        raise Mistake(
            f"the task {predictor.task.name} reads {reads}s; give them with --{reads}, or with --data"
        )
    width = len(predictor.task.input_columns)
    columns = predictor.columns([texts[start : start + width] for start in range(0, len(texts), width)])
    _remark_on_length(predictor, columns, remark)
    return predictor.predict_columns(columns)


def _remark_on_length(predictor: Predictor, columns: Mapping[str, Sequence[str]], remark: Remark) -> None:
    if sentence := predictor.encode(columns).truncation.sentence(predictor.setup.max_length):
        remark(sentence)


def _scores(
    predictor: Predictor, inputs: Mapping[str, list[str]], cells: Sequence[Any], answers: pd.DataFrame
) -> dict[str, float]:
    """Return the task's scores of predictions against the targets in a column of the file.

    Raises:
        Mistake: if a cell holds no target of the task.
    """
    targets = predictor.task.targets(cells, inputs, predictor.setup)
    columns = {**{name: tuple(texts) for name, texts in inputs.items()}, **targets}
    empty = ("",) * len(cells)
    return predictor.task.summarise(Split(columns, np.arange(len(cells)), empty, empty), answers)
