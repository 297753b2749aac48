"""Data sets of several original files: `--data FOLDER` reads each file for its split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.tasks.classification import Classification
from lowland.tasks.examples import TEST, TRAIN, TaskFields

SplitFiles = Mapping[str, str]
"""Split of each of a data set's files, by the file's name."""
FilesOf = Callable[[Path], SplitFiles]
"""Function that names a data set's files in a folder."""


@dataclass(frozen=True)
class FolderClassification(Classification):
    """Classification of a data set whose original files may be given as a folder.

    Args:
        files: function that takes the folder and returns the split of each file; None for data without such files.
    """

    files: FilesOf | None = None

    def read_tables(self, fields: TaskFields) -> tuple[pd.DataFrame, str]:
        """Return the table that the fields ask for; of a folder, the data set's files in it.

        Raises:
            Mistake: if the fields do not go together, or a file is missing or cannot be read.
        """
        folder = Path(fields.data or "")
        if fields.data is None or self.files is None or self.read is None or not folder.is_dir():
            return super().read_tables(fields)
        if fields.test_data is not None:
            raise Mistake(f"test_data is given, but the folder {folder} holds the test set; leave it out")
        files = self.files(folder)
        if missing := [name for name in files if not (folder / name).is_file()]:
            raise Mistake(
                f"the folder {folder} lacks {', '.join(missing)}; the files of task {self.name} are"
                f" {', '.join(files)}"
            )
        parts = [self.read(folder / name, fields).assign(split=split) for name, split in files.items()]
        return pd.concat(parts, ignore_index=True), " + ".join(files)


def train_and_test(train: str, test: str) -> FilesOf:
    """Return the function for a data set with one training file and one test file of these names."""
    return lambda folder: {train: TRAIN, test: TEST}
