"""What the benchmarks share: the shapes, the contestants, and timing in turns."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, set_seed

from lowland import fuse
from lowland.ground.provenance import code
from lowland.lora import LoRAConfig, add_lora
from lowland.models.formats import hold_base_in
from lowland.train.environment import environment


@dataclass(frozen=True)
class Shape:
    """A BERT without its pooler, and a batch for it."""

    layers: int
    width: int
    batch: int
    tokens: int


SHAPES = {
    "6x384, 8x64": Shape(layers=6, width=384, batch=8, tokens=64),
    "12x768, 8x128": Shape(layers=12, width=768, batch=8, tokens=128),
    "12x768, 16x256": Shape(layers=12, width=768, batch=16, tokens=256),
}
"""MiniLM's size, and BERT-base's with a small and a large batch."""
R, ALPHA = 8, 16


def backbone(shape: Shape, dropout: float = 0.0) -> BertModel:
    """A BERT of a shape in training mode, the same weights at every call; attention and dropout are BERT's own."""
    set_seed(0)
    config = BertConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        num_attention_heads=12,
        intermediate_size=4 * shape.width,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertModel(config, add_pooling_layer=False).train()


def full(shape: Shape, dtype: str, dropout: float) -> nn.Module:
    """Full fine-tuning: every weight is trained, in float32 (under autocast for bf16)."""
    return backbone(shape)


def frozen(shape: Shape, dtype: str, dropout: float) -> nn.Module:
    """The floor: the frozen base alone, forward, and backward to the embeddings' norm. It learns nothing of use."""
    model = backbone(shape).requires_grad_(False)
    if dtype == "bf16":
        hold_base_in(model, torch.bfloat16)
    model.embeddings.LayerNorm.weight.requires_grad_(True)
    return model


def lora(shape: Shape, dtype: str, dropout: float) -> nn.Module:
    """Ours: the base held in bf16 where that is the dtype, the adapters in float32."""
    model = add_lora(backbone(shape), LoRAConfig(r=R, alpha=ALPHA, dropout=dropout))
    if dtype == "bf16":
        hold_base_in(model, torch.bfloat16)
    return model


def peft_lora(shape: Shape, dtype: str, dropout: float) -> nn.Module:
    """PEFT's, as its documentation has it: a float32 base, under autocast for bf16."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=dropout, target_modules="all-linear")
    return get_peft_model(backbone(shape), config)


def fused(shape: Shape, dtype: str, dropout: float) -> nn.Module:
    """PEFT's, with our arithmetic."""
    model = peft_lora(shape, dtype, dropout)
    fuse(model)
    return model


CONTESTANTS: Mapping[str, Callable[[Shape, str, float], nn.Module]] = {
    "peft": peft_lora,
    "peft, fused": fused,
    "lora": lora,
    "full": full,
    "frozen base": frozen,
}
REFERENCE = "peft"


class Step:
    """One contestant's optimizer step: forward, backward, AdamW, on random tokens; every label is zero."""

    def __init__(self, name: str, shape: Shape, dtype: str, dropout: float) -> None:
        self.model = CONTESTANTS[name](shape, dtype, dropout)
        self.dtype = dtype
        self.tokens = torch.randint(0, 30_000, (shape.batch, shape.tokens))  # (batch, tokens)
        learned = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4)

    def __call__(self) -> None:
        """Take one step."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bf16"):
            hidden: Tensor = self.model(input_ids=self.tokens).last_hidden_state
        hidden.float().square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def in_turns(
    actions: Mapping[str, Callable[[], None]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each action, round by round, in a new random order each round, after one that is not counted."""
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name in order.sample(list(actions), len(actions)):
            started = clock()
            actions[name]()
            if number:
                seconds[name].append(clock() - started)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, float]:
    """Of each round's time to the reference's in the same round: the median."""
    return {
        name: round(median(one / other for one, other in zip(values, seconds[reference], strict=True)), 3)
        for name, values in seconds.items()
    }


def options(about: str) -> argparse.ArgumentParser:
    """The options that the benchmarks share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    return parser


def write(out: Path | None, what: str, rows: list[dict[str, Any]]) -> None:
    """The figures, with the machine and the code that they belong to."""
    found = {"benchmark": what, "environment": environment("as in the rows"), "code": code(), "rows": rows}
    found["shapes"] = {name: asdict(shape) for name, shape in SHAPES.items()}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
