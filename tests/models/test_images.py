"""Models of images: which are known, their processors, their heads, and the towers that are loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification

from lowland.ground.mistakes import Mistake
from lowland.lora import LoRAConfig, add_lora, find_head, lora_layers
from lowland.models.find import find_model
from lowland.models.formats import hold_base_in
from lowland.models.images import load_image_classifier, load_image_processor, reads_images
from lowland.models.load import load_tokenizer, read_model_config
from lowland.models.positions import token_limit
from tests.images import VISION

PIXELS = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_models_of_images_are_known_by_their_config(vit: Path, clip: Path, tiny_model: Path) -> None:
    assert [reads_images(read_model_config(folder)) for folder in (vit, clip, tiny_model)] == [
        True,
        True,
        False,
    ]


def test_of_clip_the_vision_tower_is_loaded_alone(clip: Path) -> None:
    loaded = load_image_classifier(clip, ["a", "b"])
    assert (loaded.fresh_modules, loaded.remarks) == (("classifier",), ())
    assert find_head(loaded.model) == ("classifier",)
    saved = load_file(clip / "model.safetensors")
    own = {name: value for name, value in loaded.model.state_dict().items() if "classifier" not in name}
    assert all(torch.equal(value, saved[name]) for name, value in own.items())
    assert not any("text" in name for name in own)


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_all_linear_are_the_layers_of_attention_and_mlp(kind: str, request: pytest.FixtureRequest) -> None:
    model = load_image_classifier(request.getfixturevalue(kind), ["a", "b"]).model
    add_lora(model, LoRAConfig(r=2, modules_to_save=("classifier",)))
    names = [name for name, _ in lora_layers(model)]
    assert len(names) == 2 * 6  # not the convolution that embeds the patches, and not the head
    assert not any("embed" in name or "classifier" in name for name in names)


def save_classifier(folder: Path, names: list[str], vit: Path) -> Path:
    config = ViTConfig(
        **VISION, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    ViTForImageClassification(config).save_pretrained(folder)
    shutil.copy(vit / "preprocessor_config.json", folder)
    return folder


def test_a_head_of_the_same_labels_is_kept_by_name(tmp_path: Path, vit: Path) -> None:
    folder = save_classifier(tmp_path / "model", ["Stripes", "Disc"], vit)
    loaded = load_image_classifier(folder, ["disc", "stripes"])
    assert (loaded.fresh_modules, loaded.remarks) == ((), ())
    before = ViTForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits, other = (model(pixel_values=PIXELS).logits for model in (loaded.model.eval(), before))
    assert torch.equal(logits, other[:, [1, 0]])


def test_a_head_of_other_labels_is_drawn_anew(tmp_path: Path, vit: Path) -> None:
    loaded = load_image_classifier(
        save_classifier(tmp_path / "model", ["a", "b", "c"], vit), ["disc", "stripes"]
    )
    assert loaded.fresh_head == ("classifier",)
    (remark,) = loaded.remarks
    assert remark.startswith(
        "the base model is a classifier of a, b, c, and the data's labels are disc, stripes"
    )


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_a_base_held_in_bf16_computes_as_one_in_fp32(kind: str, request: pytest.FixtureRequest) -> None:
    """Class token and position embeddings are added in fp32: autocast does not round them."""
    model = load_image_classifier(request.getfixturevalue(kind), ["a", "b"]).model.eval()
    add_lora(model, LoRAConfig(r=2, modules_to_save=("classifier",)))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        logits = model(pixel_values=PIXELS).logits
        assert torch.equal(hold_base_in(model, torch.bfloat16)(pixel_values=PIXELS).logits, logits)
    held = [parameter.dtype for name, parameter in model.named_parameters() if "fc1.base.weight" in name]
    assert held == [torch.bfloat16] * 2


def test_a_text_model_has_no_image_processor_and_the_other_way_round(vit: Path, tiny_model: Path) -> None:
    with pytest.raises(Mistake, match="holds a model of type bert, which does not classify images"):
        load_image_processor(tiny_model)
    with pytest.raises(Mistake, match="reads images, not texts; train it with --task image-classification"):
        load_tokenizer(vit)


def test_a_missing_image_processor_is_one_sentence(tmp_path: Path, vit: Path) -> None:
    shutil.copytree(vit, tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    with pytest.raises(Mistake, match="holds no image processor that can be read") as caught:
        load_image_processor(tmp_path / "model")
    assert len(caught.value.problems) == 1


def test_a_model_of_gray_images_is_refused(tmp_path: Path, vit: Path) -> None:
    ViTForImageClassification(ViTConfig(**VISION, num_channels=1)).save_pretrained(tmp_path / "gray")
    shutil.copy(vit / "preprocessor_config.json", tmp_path / "gray")
    with pytest.raises(Mistake, match="takes 1 channel of an image; images are read in red, green and blue"):
        load_image_processor(tmp_path / "gray")


def test_the_image_processor_is_part_of_the_models_hash(tmp_path: Path, vit: Path) -> None:
    shutil.copytree(vit, tmp_path / "model")
    path = tmp_path / "model" / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"resample": 2', '"resample": 3'))
    first, other = find_model(str(vit)), find_model(str(tmp_path / "model"))
    assert first.sha256 == other.sha256
    assert first.files_sha256 != other.files_sha256


def test_an_image_processor_sets_no_limit_of_tokens(vit: Path) -> None:
    assert token_limit(load_image_processor(vit), read_model_config(vit), 512) == 512
