"""Factors of an adapter from its folder alone, without its base model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import READABLE
from lowland.lora.config import pattern_matches
from lowland.lora.init_methods import init_problem
from lowland.lora.peft_config import CONFIG_FILE, other_kinds, read_json
from lowland.lora.peft_weights import is_adapter, read_unchecked
from lowland.lora.spectrum import LowRank

A_TO_B = {
    ".lora_A.weight": ".lora_B.weight",
    ".lora_embedding_A": ".lora_embedding_B",
}
"""Ends of the name of A, and of the B that belongs to it."""


@dataclass(frozen=True)
class AdapterFile:
    """Adapter as its folder holds it, whatever its state.

    Attributes:
        folder: the folder.
        config: content of `adapter_config.json`.
        tensors: all tensors by name, without PEFT's prefix and the adapter's name.
        factors: A and B of each layer that has both, as matrices that fit together.
        broken: layers with A or B alone, or with an A and a B that are no matrices that fit together.
        convolutions: adapted layers whose A is no matrix, such as convolutions; they are not measured.
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    factors: Mapping[str, LowRank]
    broken: tuple[str, ...]
    convolutions: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Kind of adapter in PEFT's words, such as LORA; "" if the config does not name it."""
        return str(self.config.get("peft_type") or "")

    @property
    def variants(self) -> list[str]:
        """Fields of its config, with their values, that make it more than plain LoRA or rsLoRA."""
        return other_kinds(self.config)

    @property
    def adds_product(self) -> bool:
        """Whether what it adds to W is s·BA: plain LoRA or rsLoRA, on the base's own weights."""
        return self.kind == "LORA" and not self.variants and init_problem(self.config) is None

    def rank_of(self, layer: str) -> int | None:
        """Return the rank that the config gives a layer; None if it has none."""
        rank = self._pattern("rank_pattern", layer, self.config.get("r"))
        return rank if isinstance(rank, int) and rank > 0 else None

    def alpha_of(self, layer: str) -> float | None:
        """Return the alpha that the config gives a layer; None if it has none."""
        alpha = self._pattern("alpha_pattern", layer, self.config.get("lora_alpha"))
        return float(alpha) if isinstance(alpha, int | float) else None

    def scaling_of(self, layer: str, rank: int) -> float:
        """Return the scale s of a layer: alpha / r, or alpha / sqrt(r) for rsLoRA; NaN if the config has no alpha.

        Args:
            layer: name of the layer.
            rank: its rank r.
        """
        if (alpha := self.alpha_of(layer)) is None:
            return math.nan
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def _pattern(self, field: str, layer: str, default: Any) -> Any:
        """Return the value of the first pattern that matches a layer; PEFT's rule."""
        patterns = self.config.get(field) or {}
        return next((value for key, value in patterns.items() if pattern_matches(key, layer)), default)


def read_adapter(folder: Path) -> AdapterFile:
    """Read an adapter's config and tensors; values that are not finite and layers without A or B are no errors here.

    Raises:
        Mistake: if a file is missing or damaged, or holds several adapters.
    """
    config = read_json(folder)
    tensors = read_unchecked(folder)
    names = {name for name in tensors if is_adapter(name)}
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    paired: set[str] = set()
    for a_end, b_end in A_TO_B.items():
        for name in sorted(names):
            layer = name.removesuffix(a_end)
            if name.endswith(a_end) and layer + b_end in names:
                pairs[layer] = tensors[name], tensors[layer + b_end]
                paired |= {name, layer + b_end}
    ends = (*A_TO_B, *A_TO_B.values())
    alone = {name.partition(".lora_")[0] for name in names - paired if name.endswith(ends)}
    convolutions = {layer for layer, (a, b) in pairs.items() if a.ndim > 2 and b.ndim > 2}
    unfit = {layer for layer, pair in pairs.items() if layer not in convolutions and not _fit(*pair)}
    whole = AdapterFile(
        folder, config, tensors, {}, tuple(sorted(alone | unfit)), tuple(sorted(convolutions))
    )
    try:
        factors = {
            layer: LowRank(a, b, whole.scaling_of(layer, len(a)))
            for layer, (a, b) in pairs.items()
            if layer not in unfit | convolutions
        }
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise Mistake(f"{folder / CONFIG_FILE} is damaged ({error})") from None
    return AdapterFile(folder, config, tensors, factors, whole.broken, whole.convolutions)


def _fit(a: Tensor, b: Tensor) -> bool:
    """Return whether A (r, in) and B (out, r) are matrices of floating-point numbers that can be multiplied."""
    return (
        a.ndim == b.ndim == 2
        and len(a) == b.shape[1]
        and a.numel() > 0
        and b.numel() > 0
        and {a.dtype, b.dtype} <= set(READABLE)
    )
