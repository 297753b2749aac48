"""Classification of images: one image, one label of several, a head with one output for each label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream
from lowland.models.images import load_image_classifier, load_image_processor, outline_image_classifier
from lowland.models.load import LoadedModel
from lowland.tasks.classification import Classification
from lowland.tasks.examples import Batch, Encoded, Purpose, Setup, Split, TaskData, TaskFields
from lowland.tasks.readers.images import LAYOUT, check_classes, image_problem, open_image, read_image_folder
from lowland.tasks.splits import Roles, make_splits

DRAWN = 64
"""Number of images that are drawn for a model without data."""

IMAGE_ROLES = Roles(inputs=("image",), shown="name", noun="image")


@dataclass(frozen=True)
class ImageClassification(Classification):
    """Classification of images, with accuracy and F1. A split's column `image` holds the paths of the files."""

    input_columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[str] = "image"

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return lowland's name for classifiers of images; PEFT has none, and writes null."""
        return "IMAGE_CLS"

    def load(self, fields: TaskFields) -> TaskData:
        """Read a folder of images and split it, stratified by label; equal files are copies of each other."""
        if fields.data is None:
            before = "test_data is given without data; " if fields.test_data else ""
            raise Mistake(f"{before}task {self.name} needs images: --data FOLDER, {LAYOUT}")
        table, remarks = read_image_folder(Path(fields.data))
        source = Path(fields.data).name
        if fields.test_data is not None:
            table, further = _with_test_data(table, Path(fields.test_data))
            source, remarks = f"{source} + {Path(fields.test_data).name}", [*remarks, *further]
        check_classes(Path(fields.data), table["label"])
        hashed = table.rename(columns={"sha256": "image"})
        data = make_splits(hashed, source, fields, roles=IMAGE_ROLES)
        splits = {name: _with_paths(split, table["path"]) for name, split in data.splits.items()}
        return replace(data, splits=splits, remarks=(*remarks, *data.remarks))

    def load_reader(self, folder: Path) -> Any:
        """Load the model's image processor."""
        return load_image_processor(folder)

    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load a classifier of images with one output for each label."""
        return load_image_classifier(folder, setup.label_names)

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build a classifier of images on the meta device, without weights."""
        return outline_image_classifier(folder)

    def input_problem(self, value: Any) -> str | None:
        """Return why a file or an image of Pillow's cannot be read; None if it can."""
        return image_problem(value)

    def sample_inputs(self) -> tuple[Mapping[str, Sequence[Any]], str]:
        """Draw images of coloured squares."""
        return {"image": [_drawn(number) for number in range(DRAWN)]}, "images drawn by lowland"

    def encode(self, columns: Mapping[str, Sequence[Any]], setup: Setup, purpose: Purpose) -> Encoded:
        """Return the images as they are given; the collator reads them, so that no data set stands in memory."""
        rows: dict[str, Sequence[Any]] = {"image": list(columns["image"])}
        if purpose != "predict":
            rows["labels"] = self.label_ids(columns, setup)
        return Encoded(rows, np.arange(len(rows["image"])))

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Read the images of a batch, and turn them into pixel values."""
        return ImageCollator(setup.tokenizer)


@dataclass(frozen=True)
class ImageCollator:
    """Function that reads the images of a batch and stacks what the model's image processor makes of them.

    Attributes:
        processor: the image processor: it resizes, crops and normalises.
    """

    processor: Any

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """Return `pixel_values` (n, 3, height, width), and `labels` (n,) if the rows have them."""
        import torch

        batch = dict(self.processor([open_image(row["image"]) for row in rows], return_tensors="pt"))
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        return batch


def _with_test_data(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the training images and those of a folder with the test set, with their splits."""
    test, remarks = read_image_folder(folder)
    if "split" in table or "split" in test:
        raise Mistake(
            f"test_data is {folder}, but {'data' if 'split' in table else folder} has folders for splits; give only one"
            " of the two"
        )
    parts = [table.assign(split="train"), test.assign(split="test")]
    return pd.concat(parts, ignore_index=True), remarks


def _with_paths(split: Split, paths: pd.Series) -> Split:
    """Return a split of hashes with the files' paths in their place."""
    return replace(split, columns={**split.columns, "image": tuple(paths.iloc[split.examples])})


def _drawn(number: int) -> Any:
    """Return an image of 8 x 8 squares in random colours."""
    from PIL import Image

    colours = stream(0, "drawn image", number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1))
