"""Load a pretrained model of images and its image processor from a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, plural, reason_of
from lowland.models.load import LoadedModel, load_with_head, outline_with_head, read_model_config

AUTO_CLASS = "AutoModelForImageClassification"
ABILITY = "classify images"
RGB = 3
"""Number of channels of the images that are read."""


def reads_images(config: Any) -> bool:
    """Return whether transformers has a classifier of images, and none of texts, for a config."""
    from transformers import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )

    of_images = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    return of_images and type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


def check_pillow() -> None:
    """Check that Pillow is installed.

    Raises:
        Mistake: if it is missing.
    """
    if importlib.util.find_spec("PIL") is None:
        raise Mistake('images are read by Pillow, which is not installed; pip install "lowland[images]"')


def load_image_processor(folder: Path) -> Any:
    """Load the image processor of a model's folder. It computes with Pillow and NumPy, with torchvision or without.

    Raises:
        Mistake: if the folder's model does not classify RGB images, or the folder holds no image processor.
    """
    check_pillow()
    from transformers import AutoImageProcessor

    config = read_model_config(folder)
    if not reads_images(config):
        raise Mistake(
            f"{folder} holds a model of type {config.model_type}, which does not classify images; give one that does"
            " with --model, such as google/vit-base-patch16-224-in21k or openai/clip-vit-base-patch32"
        )
    if (channels := getattr(getattr(config, "vision_config", config), "num_channels", RGB)) != RGB:
        raise Mistake(
            f"the model in {folder} takes {plural(channels, 'channel')} of an image; images are read in red,"
            " green and blue, so give a model of 3 channels"
        )
    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil")
    except (OSError, ValueError, ImportError) as error:
        raise Mistake(f"{folder} holds no image processor that can be read ({reason_of(error)})") from None


def load_image_classifier(folder: Path, label_names: Sequence[str]) -> LoadedModel:
    """Load a classifier of images with one output for each label, in float32; see `load_classifier`.

    Of a model of images and texts, such as CLIP, the vision tower is loaded alone.

    Raises:
        Mistake: if the folder holds no model that can classify images, or its weights do not fit its config.
    """
    return load_with_head(folder, AUTO_CLASS, ABILITY, label_names)


def outline_image_classifier(folder: Path) -> LoadedModel:
    """Build a folder's classifier of images on the meta device, without loading weights.

    Raises:
        Mistake: if the folder holds no model that can classify images.
    """
    return outline_with_head(folder, AUTO_CLASS, ABILITY)
