"""Images that tests draw, and tiny models of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {**SIZES, "image_size": 16, "patch_size": 4}
SHAPES = ("disc", "stripes")


def draw(label: str, number: int, size: int = 24) -> Image.Image:
    """Draw a disc or stripes, in colours and at a place that depend on the number alone."""
    generator = np.random.default_rng([SHAPES.index(label), number])
    back, front = (tuple(map(int, generator.integers(low, low + 100, 3))) for low in (0, 150))
    image = Image.new("RGB", (size, size), back)
    pen = ImageDraw.Draw(image)
    x, y = map(int, generator.integers(0, size // 3, 2))
    if label == "disc":
        pen.ellipse((x, y, x + size // 2, y + size // 2), fill=front)
    else:
        for row in range(y % 6, size, 6):
            pen.rectangle((0, row, size, row + 2), fill=front)
    return image


def draw_folder(folder: Path, count: int = 30, start: int = 0) -> Path:
    """Draw images of each shape into a folder for each."""
    for label in SHAPES:
        (folder / label).mkdir(parents=True)
        for number in range(start, start + count):
            draw(label, number).save(folder / label / f"{number:03}.png")
    return folder


def save_vit(folder: Path) -> Path:
    """Save a tiny ViT without a head, with its image processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ViTModel(ViTConfig(**VISION)).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    """Save a tiny CLIP, with both towers and its image processor."""
    text = {**SIZES, "vocab_size": 64, "max_position_embeddings": 20, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return folder
