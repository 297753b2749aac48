"""Folders of images: their layouts, copies, broken files, and the reading of every form."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import TaskData
from lowland.tasks.readers.images import image_problem, open_image
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.images import draw, draw_folder

TASK = "image-classification"


def load(folder: Path, **fields: str) -> TaskData:
    return load_data(task_fields(TASK, data=str(folder), **fields))


def problem_of(folder: Path, **fields: str) -> str:
    with pytest.raises(Mistake) as caught:
        load(folder, **fields)
    (problem,) = caught.value.problems
    return problem


def test_each_class_has_a_folder(shapes: Path) -> None:
    data = load(shapes)
    assert data.label_names == ("disc", "stripes")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 42, "validation": 6, "test": 12
    }  # fmt: skip
    for split in data.splits.values():
        assert [Path(path).parent.name for path in split["image"]] == list(split["label"])
        assert all(Path(path).is_file() for path in split["image"])
        assert sorted(split["label"]) == ["disc"] * (len(split) // 2) + ["stripes"] * (len(split) // 2)


def test_the_hash_is_that_of_the_files_and_not_of_the_folders_place(shapes: Path, tmp_path: Path) -> None:
    first = load(shapes)
    shutil.copytree(shapes, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").sha256 == first.sha256
    draw("disc", 999).save(tmp_path / "elsewhere" / "disc" / "007.png")
    assert load(tmp_path / "elsewhere").sha256 != first.sha256


def test_copies_of_a_file_are_never_in_two_splits(shapes: Path) -> None:
    for number in range(15):
        shutil.copy(shapes / "disc" / f"{number:03}.png", shapes / "disc" / f"copy {number}.png")
    place: dict[bytes, str] = {}
    for name, split in load(shapes).splits.items():
        for path in split["image"]:
            assert place.setdefault(Path(path).read_bytes(), name) == name


def test_one_image_in_two_classes_is_named(shapes: Path) -> None:
    shutil.copy(shapes / "disc" / "003.png", shapes / "stripes" / "x.png")
    (remark,) = load(shapes).remarks
    assert remark.startswith("1 example with different labels (2 rows), such as ")
    assert "disc/003.png" in remark


def test_folders_of_splits_decide(tmp_path: Path) -> None:
    for name, start in (("Train", 0), ("val", 100), ("test", 200), ("later", 300)):
        draw_folder(tmp_path / "data" / name, 6, start)
    shutil.copy(tmp_path / "data" / "test" / "disc" / "200.png", tmp_path / "data" / "Train" / "disc")
    data = load(tmp_path / "data")
    assert data.test_sets == ("test", "later")
    for name, folder in (("train", "Train"), ("validation", "val"), ("test", "test"), ("later", "later")):
        assert {Path(path).parents[1].name for path in data.splits[name]["image"]} == {folder}
        assert len(data.splits[name]) == 12
    assert data.dropped == 1


def test_a_class_may_be_named_train(tmp_path: Path) -> None:
    draw_folder(tmp_path / "data", 10)
    (tmp_path / "data" / "disc").rename(tmp_path / "data" / "train")
    assert load(tmp_path / "data").label_names == ("stripes", "train")


def test_a_test_set_may_have_a_folder_of_its_own(shapes: Path, tmp_path: Path) -> None:
    test = draw_folder(tmp_path / "later", 2, 100)
    data = load(shapes, test_data=str(test))
    assert {Path(path).parents[1].name for path in data.splits["test"]["image"]} == {"later"}
    assert data.source == "shapes + later"


def test_files_that_are_no_images_of_a_class_are_left_out_with_a_remark(shapes: Path) -> None:
    before = load(shapes)
    (shapes / "notes.txt").write_text("about")
    (shapes / "disc" / ".DS_Store").write_text("hidden")
    (shapes / "disc" / "Thumbs.db").write_text("no image")
    (shapes / "disc" / "inner").mkdir()
    shutil.move(shapes / "disc" / "029.png", shapes / "disc" / "inner" / "029.PNG")
    data = load(shapes)
    assert data.remarks == (
        "2 files in shapes that are no images of a class were left out, such as notes.txt",
    )
    assert data.sha256 == before.sha256


def with_broken_images(folder: Path) -> None:
    content = (folder / "stripes" / "004.png").read_bytes()
    (folder / "stripes" / "004.png").write_bytes(content[: len(content) // 2])
    (folder / "stripes" / "005.png").write_text("no image")
    (folder / "stripes" / "006.png").write_bytes(b"")


def without_class_folders(folder: Path) -> None:
    for path in list((folder / "disc").iterdir()):
        path.rename(folder / path.name)
    shutil.rmtree(folder / "disc")
    shutil.rmtree(folder / "stripes")


def with_few(folder: Path) -> None:
    for path in sorted((folder / "disc").iterdir())[4:]:
        path.unlink()


def with_few_different_ones(folder: Path) -> None:
    for path in sorted((folder / "disc").iterdir())[4:]:
        shutil.copy(folder / "disc" / "000.png", path)


def with_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "disc")


def with_classes_further_inside(folder: Path) -> None:
    (folder / "all").mkdir()
    for label in ("disc", "stripes"):
        (folder / label).rename(folder / "all" / label)


def with_other_files(folder: Path) -> None:
    for path in list((folder / "disc").iterdir()):
        path.rename(path.with_suffix(".tif"))


def without_a_test_folder(folder: Path) -> None:
    for name in ("train", "val"):
        draw_folder(folder / name, 6)
    with_one_class(folder)
    shutil.rmtree(folder / "stripes")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            with_broken_images,
            "stripes/004.png cannot be read (image file is truncated), and neither can 2 other images; repair or"
            " remove them",
        ),
        (
            without_class_folders,
            "shapes holds 30 images, but no folders; put the images of each class into a folder with its name",
        ),
        (with_few, "shapes: disc has 4 images; every class needs at least 5"),
        (
            with_few_different_ones,
            "disc has 4 images to take 'test' from, not counting copies; every label needs at least 5",
        ),
        (with_one_class, "shapes has one class folder only, stripes; a classifier needs two"),
        (
            with_classes_further_inside,
            "shapes has one class folder only, all; a classifier needs two; name the folder inside, if that has the"
            " classes",
        ),
        (
            with_other_files,
            "disc holds no images (.png, .jpg, .jpeg, .webp, .bmp, .gif), but 30 other files, such as 000.tif",
        ),
        (
            without_a_test_folder,
            "shapes has folders for splits (train, val), but none named test; add one, or rename that to test on",
        ),
    ],
)
def test_a_wrong_folder_is_one_sentence(shapes: Path, damage: Callable[[Path], None], sentence: str) -> None:
    damage(shapes)
    problem = problem_of(shapes)
    assert problem.endswith(sentence), problem


def test_what_is_no_folder_is_one_sentence(tmp_path: Path, texts: Path) -> None:
    layout = "a folder with a folder of images for each class"
    assert problem_of(texts) == f"{texts} is a file; name {layout}"
    lost = tmp_path / "lost"
    assert problem_of(lost) == f"the data folder {lost} does not exist; name {layout}"
    with pytest.raises(Mistake, match="needs images: --data FOLDER"):
        load_data(task_fields(TASK))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_every_form_is_read_as_rgb(tmp_path: Path, form: str) -> None:
    image = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn) for turn in (0, 90, 180)])
    path = tmp_path / f"a.{form.lower()}"
    image.save(path)
    read = np.asarray(open_image(path), dtype=int)
    assert read.shape == (256, 256, 3)
    assert np.abs(read - np.asarray(image, dtype=int)).mean() < 12  # JPEG, WEBP and GIF lose a little


def test_an_image_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    image.paste((255, 0, 0), (0, 0, 15, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    image.save(tmp_path / "a.png", exif=exif)
    read = open_image(tmp_path / "a.png")
    assert read.size == (20, 30)
    assert (read.getpixel((10, 5)), read.getpixel((10, 25))) == ((255, 0, 0), (0, 0, 0))


def test_other_modes_keep_their_colours(tmp_path: Path) -> None:
    gray = np.array([[0, 1000, 30000, 65535]], dtype=np.uint16)
    Image.fromarray(gray).save(tmp_path / "16.png")
    assert np.asarray(open_image(tmp_path / "16.png"))[0, :, 0].tolist() == [0, 3, 117, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=b"\x00\x80")
    assert np.asarray(open_image(tmp_path / "p.png")).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert open_image(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    red, green, blue = open_image(tmp_path / "a.gif").getpixel((0, 0))
    assert (red > 250, green, blue) == (True, 0, 0)


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp", "gif"])
def test_a_file_that_is_cut_off_is_seen_before_training(tmp_path: Path, form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{form}"
    Image.fromarray(noise).save(path)
    assert image_problem(str(path)) is None
    path.write_bytes(path.read_bytes()[:-900])
    assert str(image_problem(str(path))).startswith(f"{path} cannot be read (")


def test_a_name_that_is_not_utf8_is_one_sentence(shapes: Path) -> None:
    broken = os.fsencode(shapes / "disc") + b"/x\xff.png"
    shutil.copy(shapes / "disc" / "000.png", broken)
    assert problem_of(shapes) == f"the name of the file {broken!r} is not UTF-8; rename it"


def test_an_image_of_too_many_pixels_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # above it Pillow warns, above its double it refuses
    assert image_problem(str(tmp_path / "a.png")) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    assert "600 pixels" in str(image_problem(str(tmp_path / "a.png")))


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, shapes: Path, vit: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert 'pip install "lowland[images]"' in problem_of(shapes)
    with pytest.raises(Mistake, match="lowland\\[images\\]"):
        TASKS[TASK].load_reader(vit)


def test_reading_is_the_same_in_any_order_of_the_file_system(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(shapes)
    real = os.scandir

    class Backwards:
        def __init__(self, path: object) -> None:
            with real(path) as entries:  # type: ignore[call-overload]
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return iter(self.entries)  # type: ignore[return-value]

        def __exit__(self, *error: object) -> None:
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    assert load(shapes).sha256 == first.sha256
