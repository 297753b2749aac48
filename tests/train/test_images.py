"""Methods on models of images: those that fit train and are read back, the others are refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ResNetConfig, ResNetModel

import lowland
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions
from lowland.models.find import find_model
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.table import load_data, task_fields
from lowland.train.check_fit import check_methods_fit
from lowland.train.job import Job
from tests.train.runs import small_job

TASK = "image-classification"


@pytest.fixture
def job(shapes: Path, vit: Path) -> Callable[..., Job]:
    """Makes a small job on drawn images."""
    task = {"name": TASK, "data": str(shapes)}
    data = load_data(task_fields(**task))

    def make(method: str, model: Path = vit) -> Job:
        return small_job(method, data, find_model(str(model)), task=task)

    return make


@pytest.mark.parametrize("method", ["dora", "pissa", "vera", "lora-plus"])
def test_a_run_answers_as_it_was_tested(shapes: Path, vit: Path, tmp_path: Path, method: str) -> None:
    recipe = Recipe(
        task={"name": TASK, "data": str(shapes)}, model=str(vit), methods=[method], seeds=[1], epochs=1, rank=2,
        dtype="fp32", out=str(tmp_path / "runs"),
    )  # fmt: skip
    (run,) = run_study(recipe)
    data = load_data(task_fields(TASK, data=str(shapes)))
    tested = read_predictions(run)
    answers = lowland.load(run).predict(list(data.splits["test"]["image"]))
    np.testing.assert_allclose(answers["p_disc"], tested["p_disc"], atol=1e-6)


def test_images_elsewhere_are_the_same_run(
    job: Callable[..., Job], shapes: Path, vit: Path, tmp_path: Path
) -> None:
    shutil.copytree(shapes, tmp_path / "elsewhere")
    task = {"name": TASK, "data": str(tmp_path / "elsewhere")}
    other = small_job("lora", load_data(task_fields(**task)), find_model(str(vit)), task=task)
    assert other.key == job("lora").key


def refused(job: Job) -> str:
    with pytest.raises(Mistake) as caught:
        check_methods_fit([job])
    return caught.value.problems[0]


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_noise_on_token_embeddings_is_refused(
    job: Callable[..., Job], request: pytest.FixtureRequest, kind: str
) -> None:
    expected = f"neftune adds noise to the embeddings of tokens; {TASK} reads images"
    assert refused(job("neftune+lora", request.getfixturevalue(kind))) == expected


def test_adapters_on_a_model_with_batch_norms_are_refused(
    job: Callable[..., Job], vit: Path, tmp_path: Path
) -> None:
    """Their running statistics would change in training, and be lost with the base."""
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(tmp_path / "resnet")
    shutil.copy(vit / "preprocessor_config.json", tmp_path / "resnet")
    assert "ResNetForImageClassification has batch norms (resnet.embedder" in refused(
        job("lora", tmp_path / "resnet")
    )
    for method in ("ema+full", "swa+full", "sam+full"):
        assert "whose statistics are those of other weights than" in refused(job(method, tmp_path / "resnet"))
    check_methods_fit([job("full", tmp_path / "resnet")])


def test_an_adapter_that_peft_saved_is_read(shapes: Path, vit: Path, tmp_path: Path) -> None:
    """PEFT has no task type for classifiers of images; the base's config says what it is."""
    base = AutoModelForImageClassification.from_pretrained(vit, num_labels=3)
    model = get_peft_model(
        base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    model.eval().save_pretrained(tmp_path / "peft")
    images = [Image.open(path) for path in sorted(shapes.glob("*/00*.png"))]
    pixels = AutoImageProcessor.from_pretrained(vit, backend="pil")(images, return_tensors="pt")
    with torch.no_grad():
        expected = model(**pixels).logits.softmax(-1)
    answers = lowland.load(tmp_path / "peft").predict(images)
    np.testing.assert_allclose(answers[[f"p_LABEL_{number}" for number in range(3)]], expected, atol=1e-6)
