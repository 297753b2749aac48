"""Tasks of GLUE (Wang et al., 2019): their copies on the hub, and the names of their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable
from lowland.tasks.readers.originals import hub_errors


def name_labels(path: Path, table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return a table with names in place of a file's labels.

    Args:
        path: the file, for the error.
        table: its rows, with the column `label`.
        names: name of each label that the file may hold.

    Raises:
        Mistake: if a label is another one.
    """
    if not (unknown := table[~table["label"].isin(list(names))]).empty:
        raise Mistake(
            f"{path}, line {unknown.index[0] + 2}: the label is {unknown['label'].iloc[0]!r};"
            f" it must be {' or '.join(names)}"
        )
    return table.assign(label=table["label"].map(names))


def glue_from_hub(
    task: str, columns: Mapping[str, str], labels: Sequence[str], test: str
) -> Callable[[], tuple[pd.DataFrame, str]]:
    """Return a function that loads a task of GLUE from the hub: its table and its source.

    Args:
        task: GLUE's name of the task.
        columns: GLUE's name of each column of the table.
        labels: names of the labels 0, 1 and so on.
        test: GLUE's split that becomes the test set: "validation" where the labels of "test" are not public.
    """
    return partial(_load, task, columns, labels, test)


def _load(
    task: str, columns: Mapping[str, str], labels: Sequence[str], test: str
) -> tuple[pd.DataFrame, str]:
    from datasets import DownloadConfig, load_dataset  # type: ignore[attr-defined]

    with hub_errors(task, "nyu-mll/glue", "FOLDER of its files"):
        offline = DownloadConfig(local_files_only=not hub_reachable())
        parts = []
        for split, name in (("train", "train"), (test, "test")):
            loaded = load_dataset("nyu-mll/glue", task, split=split, download_config=offline)
            texts = {role: [text.strip() for text in loaded[column]] for role, column in columns.items()}
            parts.append(pd.DataFrame({**texts, "label": [labels[number] for number in loaded["label"]]}))
            parts[-1]["split"] = name
        return pd.concat(parts, ignore_index=True), f"hub, nyu-mll/glue, {task}"
