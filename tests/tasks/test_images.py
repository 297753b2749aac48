"""Classification of images on tiny models, from the command line and in Python."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessorPil

import lowland
from lowland.ground.record_files import read_predictions, read_record
from lowland.tasks.examples import Setup, TaskData
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.images import draw_folder

TASK = "image-classification"


@pytest.fixture
def lowland_run(lowland: Callable[..., tuple]) -> Callable[..., tuple]:
    """The command line; `lowland` is the name of the package here."""
    return lowland


def load(folder: Path) -> TaskData:
    return load_data(task_fields(TASK, data=str(folder)))


def test_the_model_gets_the_pixels_of_its_image_processor(shapes: Path, vit: Path) -> None:
    task, data = TASKS[TASK], load(shapes)
    fields = task_fields(TASK, data=str(shapes))
    setup = Setup(fields, task.load_reader(vit), 512, data.label_names)
    encoded = task.encode(data.splits["test"].columns, setup, "evaluate")
    batch = task.collator(setup)([encoded[3], encoded[8]])
    images = [Image.open(data.splits["test"]["image"][row]) for row in (3, 8)]
    processor = ViTImageProcessorPil.from_pretrained(vit)
    assert torch.equal(batch["pixel_values"], processor(images, return_tensors="pt")["pixel_values"])
    assert batch["pixel_values"].shape == (2, 3, 16, 16)
    assert [data.label_names[number] for number in batch["labels"]] == [
        data.splits["test"]["label"][row] for row in (3, 8)
    ]


def images_of(data: TaskData, name: str = "test") -> list[str]:
    return list(data.splits[name]["image"])


def compare(run: Callable[..., tuple], shapes: Path, model: Path, *options: str) -> tuple[int, str, str]:
    where = ("--task", TASK, "--data", str(shapes), "--model", str(model))
    return run("compare", *where, "--seeds", "1", "--epochs", "8", "--dtype", "fp32", *options)


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_a_study_runs_from_the_command_line(
    lowland_run: Callable[..., tuple], request: pytest.FixtureRequest, shapes: Path, tmp_path: Path, kind: str
) -> None:
    """Compare, predict, merge with proof, and check: as a user would."""
    model = request.getfixturevalue(kind)
    (tmp_path / "study.yaml").write_text("methods: [{full: {lr: 2e-3}}, lora, flat-lora]\n")
    code, out, err = compare(lowland_run, shapes, model, "--config", str(tmp_path / "study.yaml"))
    assert code == 0, err
    runs = sorted((tmp_path / "runs").glob(f"{TASK}-*"))
    assert len(runs) == 3
    data = load(shapes)
    for run in runs:
        record, tested = read_record(run), read_predictions(run)
        assert record.scores["test"]["accuracy"] >= 0.75  # half would be right by chance
        assert record.data["sha256"] == data.sha256
        answers = lowland.load(run).predict(images_of(data))
        assert list(answers) == ["image", "predicted", "p_disc", "p_stripes"]
        assert list(answers["predicted"]) == list(tested["predicted"])
        np.testing.assert_allclose(answers["p_disc"], tested["p_disc"], atol=1e-5)
    assert f"lowland predict {runs[0].parent}" in out
    assert "--image …, or --data FOLDER" in out
    flat = next(run for run in runs if "-flat-lora-" in run.name)
    check_predictions(lowland_run, flat, draw_folder(tmp_path / "new", 5, 100))
    check_merging(lowland_run, flat, tmp_path / "merged", images_of(data))
    code, out, err = lowland_run("check", "--adapter", str(flat))
    assert (code, out.count("FAIL")) == (0, 0), out
    assert "on 8 images" in out
    code, out, err = lowland_run("stress", "adapter", str(flat))
    assert code == 2
    assert err.splitlines() == [
        f"lowland: stress adapter damages texts, and the runs are of {TASK}, which reads images;"
        " give runs of a task of texts"
    ]


def check_predictions(lowland_run: Callable[..., tuple], run: Path, folder: Path) -> None:
    """Files, and a folder whose folders are the labels, are predicted as in Python."""
    paths = [str(folder / "disc" / "100.png"), str(folder / "stripes" / "103.png")]
    code, out, err = lowland_run("predict", str(run), "--image", *paths)
    assert code == 0, err
    expected = lowland.load(run).predict(paths)
    assert out == expected.to_csv(index=False, float_format="%.4f")
    opened = lowland.load(run).predict([Image.open(path) for path in paths])
    assert list(opened["p_disc"]) == list(expected["p_disc"])
    code, out, err = lowland_run("predict", str(run), "--data", str(folder), "--label-column", "folder")
    assert code == 0, err
    assert err.startswith("10 rows: accuracy ")
    table = pd.read_csv(io.StringIO(out))
    assert list(table) == ["image", "folder", "predicted", "p_disc", "p_stripes"]
    assert list(table["folder"]) == ["disc"] * 5 + ["stripes"] * 5
    assert f"accuracy {(table['folder'] == table['predicted']).mean():.4f}" in err


def check_merging(lowland_run: Callable[..., tuple], run: Path, out: Path, images: list[str]) -> None:
    """The proof is on the run's own images, and the merged model answers as the run, and as transformers'."""
    code, text, err = lowland_run("merge", str(run), "--out", str(out))
    assert code == 0, err
    assert f"6 images: validation images of the run's task {TASK}" in text
    plain = lowland.load(run).predict(images)
    merged = lowland.load(out).predict(images)
    pd.testing.assert_frame_equal(merged, plain, atol=1e-5)
    model = AutoModelForImageClassification.from_pretrained(out).eval()
    processor = AutoImageProcessor.from_pretrained(out, backend="pil")
    pixels = processor([Image.open(path).convert("RGB") for path in images], return_tensors="pt")
    with torch.no_grad():
        logits = model(**pixels).logits
    assert [model.config.id2label[int(number)] for number in logits.argmax(-1)] == list(plain["predicted"])


def test_an_adapter_without_its_run_is_known_by_its_base(
    lowland_run: Callable[..., tuple], shapes: Path, vit: Path, tmp_path: Path
) -> None:
    code, _, err = lowland_run(
        "train",
        "--task",
        TASK,
        "--data",
        str(shapes),
        "--model",
        str(vit),
        "--epochs",
        "1",
        "--dtype",
        "fp32",
    )
    assert code == 0, err
    (run,) = (tmp_path / "runs").glob(f"{TASK}-*")
    images = images_of(load(shapes))
    plain, alone = (lowland.load(folder).predict(images) for folder in (run, run / "adapter"))
    np.testing.assert_array_equal(plain[["p_disc", "p_stripes"]], alone[["p_LABEL_0", "p_LABEL_1"]])
    code, out, err = lowland_run("merge", str(run / "adapter"), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    assert "64 images: images drawn by lowland" in out
    code, out, err = lowland_run(
        "merge", str(run), "--out", str(tmp_path / "merged2"), "--data", str(shapes / "disc")
    )
    assert code == 0, err
    assert f"30 images: images of {shapes / 'disc'}" in out


def test_a_new_model_is_checked_on_drawn_images(lowland_run: Callable[..., tuple], vit: Path) -> None:
    code, out, _ = lowland_run("check", "--model", str(vit), "--rank", "2")
    assert (code, out.count("FAIL")) == (0, 0), out
    assert "12 on 12 of 13 linear layers" in out


def test_a_model_of_the_other_kind_is_one_sentence(
    lowland_run: Callable[..., tuple], shapes: Path, vit: Path, tiny_model: Path
) -> None:
    code, _, err = lowland_run("train", "--task", TASK, "--data", str(shapes))
    assert code == 2
    assert err.splitlines()[-1].startswith(
        f"lowland: {tiny_model} holds a model of type bert, which does not classify images; give one that does"
    )
    code, _, err = lowland_run("train", "--model", str(vit))
    assert code == 2
    assert err.splitlines()[-1].startswith(f"lowland: the model in {vit} reads images, not texts;")


def test_inputs_of_the_other_kind_are_one_sentence(
    lowland_run: Callable[..., tuple], shapes: Path, vit: Path, texts: Path, tmp_path: Path
) -> None:
    options = ("--task", TASK, "--data", str(shapes), "--model", str(vit), "--epochs", "1")
    assert lowland_run("train", *options)[0] == 0
    (run,) = (tmp_path / "runs").glob(f"{TASK}-*")
    assert lowland_run("train")[0] == 0
    (of_texts,) = (tmp_path / "runs").glob("classification-*")
    image = shapes / "disc" / "000.png"
    (tmp_path / "broken.png").write_text("no image")
    for folder, options, sentence in (
        (run, ("--text", "a"), f"the task {TASK} reads images; give them with --image, or with --data"),
        (of_texts, ("--image", str(image)), "the task classification reads texts; give them with --text"),
        (run, ("--data", str(texts)), f"{texts} is no folder; the task {TASK} reads images, from a folder"),
        (of_texts, ("--data", str(shapes)), f"{shapes} is a folder; the task classification reads texts"),
        (run, ("--image", "lost.png"), "input 1: the image lost.png does not exist"),
        (run, ("--image", str(tmp_path / "broken.png")), "input 1: the image"),
        (run, ("--data", str(tmp_path / "runs")), "runs holds no images"),
        (run, ("--data", str(shapes), "--label-column", "x"), "a folder of images has no column 'x'"),
    ):
        code, out, err = lowland_run("predict", str(folder), *options)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert sentence in err
