"""Noise on the merged full weight, as an input of the forward pass. W is never written.

With W' = W + s·BA (out, in), the noise of Flat-LoRA (Li et al., 2025) is

    eps_ij ~ N(0, sigma² / n · ‖W'_i‖²),    n = in_features, row i = one output unit,

so a layer adds about sigma times its output's own size, whatever its width. Each optimizer step has one draw, a pure
function of (seed, step, layer name): it is read from a bank (`bank.py`) in the forward pass and again in the backward
pass (`product.py`), and there is nothing to keep and nothing to subtract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from lowland.lora.scratch import scratch


class LayerNoise:
    """One layer's noise of one optimizer step: eps = scale · E, with E standard normal from the bank.

    The rows' norms are computed in the step's first forward pass: there W is at hand (gathered, dequantised, in the
    processor's cache), since W + eps is needed next.

    Args:
        strength: (out, 1), ± sigma / sqrt(n); the sign is that of the row of E.
        blocks: E by rows, without its signs: views of the bank.
        norms: gives ‖W'_i‖ (out, 1) for W (out, in), or for the layer's own where it is given None.
    """

    def __init__(
        self, strength: Tensor, blocks: tuple[Tensor, ...], norms: Callable[[Tensor | None], Tensor]
    ) -> None:
        self.strength, self.blocks, self.norms = strength, blocks, norms
        self._scale: Tensor | None = None

    @property
    def scale(self) -> Tensor:
        """(out, 1), ± sigma / sqrt(n) · ‖W'_i‖; in 16 bits where the bank is."""
        return self.scale_of(None)

    def scale_of(self, weight: Tensor | None) -> Tensor:
        """The same, with W (out, in) at hand."""
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
        """W + eps (out, in), with one rounding, in scratch memory: to be used at once."""
        scale = self.scale_of(weight)
        total = scratch(weight, torch.promote_types(weight.dtype, scale.dtype))
        return self._add(weight, scale, total)

    def add_to_merged(self, merged: Tensor) -> Tensor:
        """W' + eps (out, in), in place of W'."""
        if self._scale is None:
            self._scale = self._rounded(self.strength * row_norms(merged))
        return self._add(merged, self._scale, merged)

    def _add(self, weight: Tensor, scale: Tensor, total: Tensor) -> Tensor:
        if len(self.blocks) == 1:
            return torch.addcmul(weight, scale, self.blocks[0], out=total)
        heights = [len(block) for block in self.blocks]
        parts = zip(*(one.split(heights) for one in (total, weight, scale)), self.blocks, strict=True)
        for part, rows, factor, block in parts:
            torch.addcmul(rows, factor, block, out=part)
        return total

    def draw(self, dtype: torch.dtype | None = None) -> Tensor:
        """eps (out, in) alone, in `dtype` (default: that of the scale)."""
        heights = [len(block) for block in self.blocks]
        pairs = zip(self.scale.to(dtype or self.scale.dtype).split(heights), self.blocks, strict=True)
        return torch.cat([scale * block.to(scale.dtype) for scale, block in pairs])


@dataclass(frozen=True, eq=False)
class TokenNoise:
    """The same variance drawn for each output instead: z_ti = c_i ‖x_t‖ zeta_ti, zeta standard normal.

    Local reparameterisation (Kingma et al., 2015, arXiv 1506.02557): tokens do not share one eps any more.

    Attributes:
        scale: c (out, 1), sigma / sqrt(n) · ‖W'_i‖.
        seed: of zeta, which is the same for inputs of the same shape.
    """

    scale: Tensor
    seed: int

    @torch.compiler.disable  # a generator of its own breaks a compiler's graph
    def of(self, x: Tensor) -> Tensor:
        """z (..., out) for x (..., in)."""
        generator = torch.Generator(x.device).manual_seed(self.seed)
        shape = (*x.shape[:-1], len(self.scale))
        zeta = torch.randn(shape, generator=generator, device=x.device, dtype=self.scale.dtype)
        return x.to(zeta.dtype).norm(dim=-1, keepdim=True) * self.scale[:, 0] * zeta


def merged_norms(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """‖W'_i‖ (out, 1) of W' = W + s·BA, in float32 at least.

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
    """‖W_i‖ (out, 1), in float32 at least."""
    return torch.linalg.vector_norm(weight, dim=1, keepdim=True, dtype=wide(weight.dtype))


def bank_dtype(weight: torch.dtype) -> torch.dtype:
    """Of the bank for a weight: 16 bits for 16 bits, so that W + eps takes one pass and one rounding."""
    return weight if weight.itemsize == 2 else torch.float32


def wide(dtype: torch.dtype) -> torch.dtype:
    """Float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may lie in shares on several processes (FSDP2): gathered."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
