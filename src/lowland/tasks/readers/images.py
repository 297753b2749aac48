"""Images: found in a folder for each class, checked before training, and opened as RGB when a batch needs them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, plural, reason_of
from lowland.models.images import check_pillow
from lowland.tasks.examples import TEST, TRAIN
from lowland.tasks.readers.cells import SURROGATE
from lowland.tasks.splits import SPLIT_NAMES

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
"""Endings of the files that are read, in any case; of an animation the first frame."""
LEAST = 5
"""Smallest number of images in a class: some to train on, and one each for validation and test."""
LAYOUT = "a folder with a folder of images for each class"


def open_image(image: str | Path | Image) -> Image:
    """Return an image in RGB, upright as its EXIF orientation says, without its alpha channel.

    Gray values of 16 bits keep their 8 upper bits; Pillow's own conversion would cut them off at 255.

    Args:
        image: a file, or an image of Pillow's.

    Raises:
        Mistake: if the file cannot be read.
    """
    if not isinstance(image, str | Path):
        return _as_rgb(image)
    with _reading(image) as opened:
        return _as_rgb(opened)


def image_problem(image: Any) -> str | None:
    """Return why an image cannot be read, as the end of the sentence "the image …"; None if it can.

    A file is decoded to its end, since it may be cut off.
    """
    if not isinstance(image, str | Path):
        return None if hasattr(image, "convert") else f"is a {type(image).__name__}; give a file's path"
    try:
        with _reading(image) as opened:
            opened.draft("RGB", (1, 1))  # a JPEG is decoded to an eighth of its size, in less time
            opened.load()
    except Mistake as mistake:
        return mistake.problems[0].removeprefix("the image ")
    return None


def check_images(images: Sequence[Any], source: str) -> None:
    """Check that all images can be read.

    Args:
        images: files.
        source: where they come from, for the sentence.

    Raises:
        Mistake: with the first one that cannot be read, and the number of the others.
    """
    with ThreadPoolExecutor() as threads:  # Pillow decodes in parallel
        problems = [problem for problem in threads.map(image_problem, images) if problem is not None]
    if problems:
        more = len(problems) - 1
        others = f", and neither can {plural(more, 'other image')}" if more else ""
        raise Mistake(f"{source}: {problems[0]}{others}; repair or remove {'them' if more else 'it'}")


def images_in(folder: Path) -> list[Path]:
    """Return the image files in a folder and the folders in it, sorted; hidden ones are left out.

    Raises:
        Mistake: if there are none.
    """
    paths = [path for path in _files_in(folder) if path.suffix.casefold() in ENDINGS]
    if not paths:
        raise Mistake(f"the folder {folder} holds no images ({', '.join(ENDINGS)})")
    return paths


def read_image_folder(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a folder with a folder of images for each class, or folders `train` and `test` of that form.

    Returns:
        A row for each image, sorted by path: `path`, `name` (the path in the folder), `sha256` of the file, `label`,
        and `split` if the folder has splits; and sentences on files that were left out.

    Raises:
        Mistake: if there is no such folder, a class has no images, or an image cannot be read.
    """
    _check_folder(root)
    splits = _splits_of(root)
    rows: list[dict[str, str]] = []
    others: list[Path] = []
    for split, folder in splits.items():
        for label, paths in _classes_of(folder, others).items():
            place = {"split": split} if split else {}
            rows += [
                {"path": str(path), "name": str(path.relative_to(root)), "label": label, **place}
                for path in paths
            ]
    table = pd.DataFrame(rows)
    check_images(list(table["path"]), str(root))
    with ThreadPoolExecutor() as threads:
        table["sha256"] = list(threads.map(_sha256, table["path"]))
    return table, _remarks(root, others)


@contextmanager
def _reading(path: str | Path) -> Iterator[Image]:
    """Open a file; turn Pillow's errors, of which there are many kinds, into one sentence."""
    check_pillow()
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on large images and odd metadata
            with Image.open(path) as opened:
                yield opened
    except FileNotFoundError:
        raise Mistake(f"the image {path} does not exist") from None
    except Exception as error:
        foreign = type(error).__name__ == "UnidentifiedImageError"
        reason = "its content is no image that Pillow knows" if foreign else reason_of(error)
        raise Mistake(f"the image {path} cannot be read ({reason})") from None


def _as_rgb(image: Image) -> Image:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode == "P":
        upright = upright.convert("RGBA")  # with the palette's transparency, which RGB would warn of
    return upright.convert("RGB")


def _check_folder(root: Path) -> None:
    if not root.exists():
        raise Mistake(f"the data folder {root} does not exist; name {LAYOUT}")
    if not root.is_dir():
        raise Mistake(f"{root} is a file; name {LAYOUT}")


def _splits_of(root: Path) -> Mapping[str, Path]:
    """Return the folders of the splits by name; a folder without splits has the name ""."""
    folders = {folder.name: folder for folder in _folders_in(root)}
    meaning = {name: SPLIT_NAMES.get(name.casefold(), name) for name in folders}
    train = next((folders[name] for name, split in meaning.items() if split == TRAIN), None)
    if train is None or not _folders_in(train):  # "train" may be a class, too
        return {"": root}
    if TEST not in meaning.values():
        names = ", ".join(folders)
        raise Mistake(
            f"{root} has folders for splits ({names}), but none named test; add one, or rename that to test on"
        )
    return {meaning[name]: folder for name, folder in folders.items()}


def _classes_of(folder: Path, others: list[Path]) -> dict[str, list[Path]]:
    """Return the images by class; add the files that are none to `others`."""
    classes = _folders_in(folder)
    beside = [path for path in folder.iterdir() if path.is_file() and not _is_hidden(path)]
    if not classes:
        images = sum(path.suffix.casefold() in ENDINGS for path in beside)
        holds = f"{plural(images, 'image')}, but no folders" if images else "no folders"
        raise Mistake(f"{folder} holds {holds}; put the images of each class into a folder with its name")
    others += sorted(beside)
    images_of: dict[str, list[Path]] = {}
    for inner in classes:
        files = list(_files_in(inner))
        images_of[inner.name] = [path for path in files if path.suffix.casefold() in ENDINGS]
        rest = [path for path in files if path.suffix.casefold() not in ENDINGS]
        if not images_of[inner.name]:
            holds = f", but {plural(len(rest), 'other file')}, such as {rest[0].name}" if rest else ""
            raise Mistake(f"the class folder {inner} holds no images ({', '.join(ENDINGS)}){holds}")
        others += rest
    return images_of


def check_classes(root: Path, labels: pd.Series) -> None:
    """Check that there are at least two classes, and enough images of each.

    Args:
        root: the folder of images.
        labels: the label of each image.

    Raises:
        Mistake: if there are not.
    """
    counts = labels.value_counts(sort=False).to_dict()
    if len(counts) == 1:
        (label,) = counts
        deeper = (root / str(label)).is_dir() and _folders_in(root / str(label))
        hint = "; name the folder inside, if that has the classes" if deeper else ""
        raise Mistake(f"{root} has one class folder only, {label}; a classifier needs two{hint}")
    few = [f"{label} has {plural(count, 'image')}" for label, count in counts.items() if count < LEAST]
    if few:
        raise Mistake(f"{root}: {', '.join(few)}; every class needs at least {LEAST}")


def _remarks(root: Path, others: Sequence[Path]) -> list[str]:
    if not others:
        return []
    count, example = plural(len(others), "file"), others[0].relative_to(root)
    return [f"{count} in {root.name} that are no images of a class were left out, such as {example}"]


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))


def _files_in(folder: Path) -> Iterable[Path]:
    """Return the files in a folder and in the folders in it, sorted by their paths in it.

    Raises:
        Mistake: if the path of a file is not UTF-8.
    """
    paths = (path for path in folder.rglob("*") if path.is_file())
    inner = {path: path.relative_to(folder) for path in paths}
    shown = [path for path, part in inner.items() if not any(_is_hidden(Path(name)) for name in part.parts)]
    if broken := [path for path in shown if SURROGATE.search(str(path))]:
        raise Mistake(f"the name of the file {os.fsencode(broken[0])!r} is not UTF-8; rename it")
    return sorted(shown, key=lambda path: inner[path].as_posix())


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
