"""Noise on the merged full weight, as an input of the forward pass. W is never written.

With W' = W + s·BA (out, in), the noise of Flat-LoRA (Li et al., 2025) is

    eps_ij ~ N(0, sigma² / n · ‖W'_i‖²),    n = in_features, row i = one output unit,

so the noise on a layer's output is about sigma times as large as the output, whatever the layer's width. Each optimizer
step has one draw, a pure function of (seed, step, layer name). It is read from a bank (`bank.py`) in the forward pass
and again in the backward pass (`product.py`), so nothing has to be kept or subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.lora.scratch import scratch


class LayerNoise:
    """Noise of one layer in one optimizer step: eps = scale · E, with E standard normal from the bank.

    The rows' norms are computed in the step's first forward pass. W has been loaded there (gathered, dequantised, in
    the processor's cache), because W + eps is computed next.

    Args:
        strength: (out, 1), ± sigma / sqrt(n); the sign is that of the row of E.
        blocks: E by rows, without its signs: views of the bank.
        norms: function that returns ‖W'_i‖ (out, 1) for W (out, in); for None it reads W from the layer.
    """

    def __init__(
        self, strength: Tensor, blocks: tuple[Tensor, ...], norms: Callable[[Tensor | None], Tensor]
    ) -> None:
        self.strength, self.blocks, self.norms = strength, blocks, norms
        self._scale: Tensor | None = None

    @property
    def scale(self) -> Tensor:
        """The scale (out, 1), ± sigma / sqrt(n) · ‖W'_i‖; in 16 bits if the bank has 16 bits."""
        return self.scale_of(None)

    def scale_of(self, weight: Tensor | None) -> Tensor:
        """Return `scale` (out, 1), computed from W (out, in) if it is given."""
        if self._scale is not None:
            return self._scale
        with torch.no_grad():
            scale = self._rounded(self.strength * self.norms(weight))
        if not torch.compiler.is_compiling():
            self._scale = scale
        return scale

    def _rounded(self, scale: Tensor) -> Tensor:
        dtype = self.blocks[0].dtype
        return scale.to(dtype) if dtype.itemsize == 2 else scale

    def added_to(self, weight: Tensor) -> Tensor:
        """Return W + eps (out, in), rounded once, in scratch memory that the next call overwrites."""
        scale = self.scale_of(weight)
        total = scratch(weight, torch.promote_types(weight.dtype, scale.dtype))
        return self._add(weight, scale, total)

    def add_to_merged(self, merged: Tensor) -> Tensor:
        """Add eps to W' (out, in) in place and return it."""
        if self._scale is None:
            self._scale = self._rounded(self.strength * row_norms(merged))
        return self._add(merged, self._scale, merged)

    def _add(self, weight: Tensor, scale: Tensor, total: Tensor) -> Tensor:
        if len(self.blocks) == 1:
            return torch.addcmul(weight, scale, self.blocks[0], out=total)
        heights = [len(block) for block in self.blocks]
        parts = zip(*(full.split(heights) for full in (total, weight, scale)), self.blocks, strict=True)
        for part, rows, factor, block in parts:
            torch.addcmul(rows, factor, block, out=part)
        return total

    def eps(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return eps (out, in) in `dtype` (default: the scale's dtype)."""
        heights = [len(block) for block in self.blocks]
        pairs = zip(self.scale.to(dtype or self.scale.dtype).split(heights), self.blocks, strict=True)
        return torch.cat([scale * block.to(scale.dtype) for scale, block in pairs])


@dataclass(frozen=True, eq=False)
class TokenNoise:
    """Noise of the same variance, drawn for each token's output: z_ti = c_i ‖x_t‖ zeta_ti, zeta standard normal.

    This is local reparameterisation (Kingma et al., 2015, arXiv 1506.02557). Tokens do not share one eps.

    Attributes:
        scale: c (out, 1), sigma / sqrt(n) · ‖W'_i‖.
        seed: seed of zeta; inputs of the same shape get the same zeta.
    """

    scale: Tensor
    seed: int

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # its own generator breaks a compiler's graph
    def for_input(self, x: Tensor) -> Tensor:
        """Return z (..., out) for x (..., in)."""
        generator = torch.Generator(x.device).manual_seed(self.seed)
        shape = (*x.shape[:-1], len(self.scale))
        zeta = torch.randn(shape, generator=generator, device=x.device, dtype=self.scale.dtype)
        z: Tensor = x.to(zeta.dtype).norm(dim=-1, keepdim=True) * self.scale[:, 0] * zeta
        return z


def merged_norms(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Return ‖W'_i‖ (out, 1) of W' = W + s·BA, in float32 or wider.

    Args:
        weight: W (out, in).
        a: A (r, in).
        b: B (out, r).
        scaling: s.
    """
    a, b = a.to(weight.dtype), b.to(weight.dtype)
    if torch.compiler.is_compiling():
        return row_norms(torch.addmm(weight, b, a, alpha=scaling))
    return row_norms(torch.addmm(weight, b, a, alpha=scaling, out=scratch(weight)))


def row_norms(weight: Tensor) -> Tensor:
    """Return ‖W_i‖ (out, 1), in float32 or wider."""
    dtype = at_least_float32(weight.dtype)
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True, dtype=dtype)
    return norms


def bank_dtype(weight: torch.dtype) -> torch.dtype:
    """Return the bank's dtype for a weight's: 16 bits for 16 bits, so that W + eps takes one pass and one rounding."""
    return weight if weight.itemsize == 2 else torch.float32


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32, or the dtype itself if it is wider."""
    return torch.promote_types(dtype, torch.float32)
